"""Finds the functions that are installed: entry points of the group ``varloop.functions``."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import entry_points

from varloop.app import App, Pipelines
from varloop.errors import UsageError
from varloop.support.installation import AGAIN

__all__ = ["load_pipelines"]

GROUP = "varloop.functions"


def load_pipelines(apps: Iterable[App] = ()) -> Pipelines:
    """The installed functions, merged with apps of the caller's own.

    :raises UsageError: if none is installed.
    """
    installed = [point.load() for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)]
    if not installed:
        raise UsageError("no functions are installed", hint=AGAIN)
    return Pipelines([*installed, *apps])
