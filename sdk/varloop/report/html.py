"""HTML and SVG that cannot be broken by what they show: text is escaped unless it was made here."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

__all__ = ["Html", "el", "join", "raw"]

VOID = frozenset(("meta", "input", "br"))


class Html(str):
    """Markup that may stand as it is."""

    __slots__ = ()


Child = str | int | float | None | Iterable["Child"]


def el(tag: str, *children: Child, **attributes: str | float | bool | None) -> Html:
    """An element. ``class_`` is class and other ``_`` are ``-``; attributes that are None or False are left out."""
    given = "".join(
        f" {_name(name)}" if value is True else f' {_name(name)}="{escape(_text(value))}"'
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    if tag in VOID:
        return Html(f"<{tag}{given}>")
    return Html(f"<{tag}{given}>{join(*children)}</{tag}>")


def join(*children: Child) -> Html:
    """Pieces one after the other."""
    parts = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, str):
            parts.append(child if isinstance(child, Html) else escape(child))
        elif isinstance(child, int | float):
            parts.append(_text(child))
        else:
            parts.append(join(*child))
    return Html("".join(parts))


def raw(text: str) -> Html:
    """Markup from one of varloop's own files."""
    return Html(text)


def _name(name: str) -> str:
    return name.rstrip("_").replace("_", "-")


def _text(value: str | float) -> str:
    """Numbers of drawings to a hundredth of a pixel."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
