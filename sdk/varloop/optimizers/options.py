"""Options of optimizers: frozen structs, one per optimizer, and how their faults are found."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from varloop.spec import converted, fault_text

__all__ = ["Fraction", "NotNegative", "Options", "Positive", "Repeats", "faults"]

LARGEST = 1e12
"""more than any option in radians can mean; refuses infinity too"""

Positive = Annotated[float, msgspec.Meta(gt=0, le=LARGEST)]
NotNegative = Annotated[float, msgspec.Meta(ge=0, le=LARGEST)]
Fraction = Annotated[float, msgspec.Meta(ge=0, lt=1)]
Repeats = Annotated[int, msgspec.Meta(ge=1, le=1000)]


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of the options of an optimizer; each field's docstring gives unit, default and why."""


def faults(kind: type[Options], given: dict[str, Any]) -> list[str]:
    """Every fault of some options, each ``name: what is wrong``.

    :param kind: the struct that the options shall become.
    """
    known = {field.name: field for field in msgspec.structs.fields(kind)}
    expected = ", ".join(known)
    found = [f"{name}: unknown option, expected one of {expected}" for name in given if name not in known]
    for name in given.keys() & known.keys():
        try:
            converted(given[name], known[name].type)
        except msgspec.ValidationError as error:
            found.append(fault_text(name, known[name].type, given[name], error))
    if not found:
        try:
            converted(given, kind)
        except msgspec.ValidationError as error:  # options that do not go together
            found.append(str(error))
    return sorted(found)
