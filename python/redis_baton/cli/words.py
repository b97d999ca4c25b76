"""Figures and text as people read them."""

from __future__ import annotations

import shutil
import textwrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

KILO = 1024
UNITS = ("bytes", "kB", "MB", "GB", "TB")
MINUTE, DAY = 60, 24  # in seconds; in hours
WIDEST = 100


def size(count: float) -> str:
    """Return bytes in the largest unit of which there is one."""
    for unit in UNITS:
        if count < KILO or unit == UNITS[-1]:
            break
        count /= KILO
    return f"{count:.0f} {unit}" if unit == UNITS[0] or count >= 100 else f"{count:.1f} {unit}"  # noqa: PLR2004 # three digits


def number(count: float) -> str:
    """Return a whole number with its thousands apart."""
    return f"{count:,.0f}"


def counted(count: int, what: str) -> str:
    """Return so many of something: `1 key`, `2 keys`."""
    return f"{number(count)} {what}{'' if count == 1 else 's'}"


def seconds(count: float) -> str:
    """Return seconds as `0.4 s`, `12 s`, `3:25`, `1:03:25` or `12 days`."""
    if count < MINUTE:
        return f"{count:.1f} s"
    minutes, rest = divmod(round(count), MINUTE)
    hours, minutes = divmod(minutes, MINUTE)
    if hours >= 2 * DAY:
        return f"{hours // DAY} days"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def milliseconds(microseconds: float | None) -> str:
    """Return microseconds in milliseconds; of nothing, nothing."""
    return f"{(microseconds or 0) / 1000:.1f} ms"


def verb_of(step: str) -> str:
    """Return a step's name as it is typed."""
    return step.replace("_", "-")


def width() -> int:
    """Return how wide text may be: the terminal, 80 without one, and never too wide to read."""
    return min(shutil.get_terminal_size((80, 24)).columns, WIDEST)


def wrapped(text: str, first: str = "", rest: str | None = None) -> str:
    """Return the text in lines that fit, the first one after `first`, the others under it."""
    return textwrap.fill(
        text,
        width=width() - 1,
        initial_indent=first,
        subsequent_indent=" " * len(first) if rest is None else rest,
        break_on_hyphens=False,
        break_long_words=False,
    )


def table(rows: Sequence[Sequence[Any]], indent: str = "  ", right: Sequence[int] = ()) -> str:
    """Return rows in columns as wide as they need, those in `right` set to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = [
        "  ".join(
            cell.rjust(wide) if at in right else cell.ljust(wide)
            for at, (cell, wide) in enumerate(zip(row, widths))
        )
        for row in cells
    ]
    return "\n".join((indent + line).rstrip() for line in lines)
