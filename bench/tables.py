"""Tables of figures, for a terminal without colours and for a Markdown page."""

from __future__ import annotations

import re
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.table import Table as RichTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from rich.console import Console


@dataclass(frozen=True)
class Table:
    """Rows under a title; the first column names what the row is about."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def show(self, console: Console) -> None:
        """Print it."""
        table = RichTable(title=self.title, title_justify="left", title_style="", box=SIMPLE)
        for number, column in enumerate(self.columns):
            longest = max(map(len, column.split()))
            table.add_column(
                column,
                justify="right" if number else "left",
                no_wrap=not number,
                min_width=longest,
            )
        for row in self.rows:
            table.add_row(*row)
        console.print(table)
        for note in self.notes:
            console.print(note)
        if self.notes:
            console.print()

    def markdown(self) -> str:
        """Return it as Markdown."""
        lines = [
            f"**{self.title}**",
            "",
            _line(self.columns),
            _line("---" for _ in self.columns),
            *map(_line, self.rows),
        ]
        if self.notes:
            lines += ["", *(f"- {note}" for note in self.notes)]
        return "\n".join(lines) + "\n"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def spread(values: Sequence[float]) -> str:
    """Return the median, and the least and the most where they differ from it."""
    if not values:
        return "-"
    middle, least, most = (number(f(values)) for f in (statistics.median, min, max))
    return middle if least == most else f"{middle} ({least} to {most})"


def reach(values: Sequence[int]) -> str:
    """Return the least and the most."""
    if not values:
        return "-"
    least, most = min(values), max(values)
    return f"{least}" if least == most else f"{least} to {most}"


def number(value: float) -> str:
    """Return a figure with as many digits as mean something."""
    if value == int(value) or value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def write_markdown(page: Path, sections: dict[str, list[Table]]) -> None:
    """Put each section between its markers in the page, and leave all else as it is.

    A section whose markers are not there is added at the end.
    """
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    for name, tables in sections.items():
        begin, end = f"<!-- begin: bench {name} -->", f"<!-- end: bench {name} -->"
        body = "\n".join(table.markdown() for table in tables)
        block = f"{begin}\n{body}{end}"
        known = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        if known.search(text):
            text = known.sub(lambda _: block, text)  # noqa: B023  (used at once)
        else:
            text = f"{text.rstrip()}\n\n{block}\n".lstrip()
    page.write_text(text, encoding="utf-8")
