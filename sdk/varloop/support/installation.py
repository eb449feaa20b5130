"""This installation of varloop: what an extra needs, how to get it, and where the pages of the docs are."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

__all__ = ["AGAIN", "extras", "install_line", "pages"]

AGAIN = "install varloop again, from its checkout or wheel: pip install --force-reinstall PATH"
"""what to do about an installation that lacks parts"""


def extras() -> dict[str, list[str]]:
    """What each extra needs, as requirements for pip, from varloop's own metadata."""
    needs: dict[str, list[str]] = {}
    for line in metadata.requires("varloop") or ():
        requirement, _, marker = line.partition(";")
        for extra in re.findall(r"extra == ['\"]([\w-]+)['\"]", marker):
            if not requirement.startswith("varloop["):  # an extra that is made of others
                needs.setdefault(extra, []).append(requirement.strip())
    return needs


def install_line(extra: str) -> str:
    """The command that adds an extra to this very installation.

    It names the packages rather than varloop, so it holds for a checkout, a wheel and an index alike.
    """
    return "pip install " + " ".join(f"'{requirement}'" for requirement in extras()[extra])


def pages() -> dict[str, Path]:
    """The pages of the docs by name: those that were installed, or those of the checkout."""
    package = Path(__file__).parents[1]
    installed = package / "docs"
    folder = installed if installed.is_dir() else package.parents[1] / "docs"
    return {page.stem: page for page in sorted(folder.glob("*.md"))}
