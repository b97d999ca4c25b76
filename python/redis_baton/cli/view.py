"""What is seen while a step runs, on standard error: lines, or a picture that moves.

A view draws only when an event comes, in the caller's own thread: nothing of it runs beside the
cut, where events are held back. And what can't be shown stops no step: the terminal may be closed.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import click
from rich.console import Console, Group
from rich.live import Live as RichLive
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .parameters import as_typed
from .progress import CALLS, Progress
from .words import number, seconds, size, wrapped

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import RenderableType
    from typing_extensions import Self

    from .progress import Event

DRAW_EVERY = 0.1
SAY_EVERY = 5.0
BAR_WIDTH = 40


class View:
    """Shows no progress but what is to be known: for `--quiet`, and what the others share."""

    def __init__(self, *, verbose: bool = False) -> None:
        """With `verbose`, the commands sent are shown too."""
        self.progress = Progress()
        self._verbose = verbose

    def __call__(self, event: Event) -> None:
        """Take an event in, and show what there is to see of it."""
        if event["event"] == "step":
            self._end_step()
        self.progress.take(event)
        with suppress(OSError):
            self.show(event)

    def _end_step(self) -> None:
        if self.progress.step and self.progress.step not in CALLS:
            with suppress(OSError):
                self.show_ended(self.progress)

    def show(self, event: Event) -> None:
        """Show an event."""
        if event["event"] == "warning":
            click.echo(f"warning: {as_typed(event['warning'])}", err=True)

    def show_ended(self, progress: Progress) -> None:
        """Show that a step has ended."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._end_step()


class Lines(View):
    """A line for what is new, and for what goes on one every few seconds."""

    def __init__(self, *, verbose: bool = False) -> None:
        super().__init__(verbose=verbose)
        self._said = 0.0
        self._last = ""

    def show(self, event: Event) -> None:
        """Show an event."""
        kind, progress = event["event"], self.progress
        if kind == "step":
            self._said, self._last = 0.0, ""
            if progress.in_call and event["step"] not in CALLS:
                self._say(f"{progress.step} ...")
        elif kind == "warning":
            self._say(f"  warning: {as_typed(event['warning'])}")
        elif kind == "hook":
            self._say(f"  {hook_text(event)}")
        elif kind == "monitor":
            self._say(f"  MONITOR for {seconds(event['seconds'])} at most: {event['cost']}")
        elif kind == "action" and self._verbose:
            self._say(f"  sent to {event['action']}")
        elif kind in ("sync", "comparing", "saving") and progress.bar:
            self._sometimes(progress.bar.what, progress.bar.text)
        elif kind == "waiting":
            self._sometimes(event["wanted"], f"waiting {progress.waiting}")

    def show_ended(self, progress: Progress) -> None:
        """Show that a step has ended."""
        if progress.cut:
            self._say(f"  {progress.cut}")
        if progress.in_call:
            self._say(f"{progress.step}: {seconds(progress.step_seconds)}")

    def _sometimes(self, what: str, text: str) -> None:
        now = time.monotonic()
        if what != self._last or now - self._said >= SAY_EVERY:
            self._last, self._said = what, now
            self._say(f"  {text}")

    def _say(self, text: str) -> None:
        click.echo(text, err=True)


class Live(View):
    """A picture of both servers and of what goes on, under the steps that are done."""

    def __init__(self, console: Console, *, verbose: bool = False) -> None:
        super().__init__(verbose=verbose)
        self._console = console
        self._live = RichLive(
            console=console, auto_refresh=False, transient=True, redirect_stdout=False
        )
        self._drawn = 0.0
        self._has_printed = False
        self._mark = "✓" if console.encoding.lower().startswith("utf") else "ok"

    def show(self, event: Event) -> None:
        """Show an event."""
        kind = event["event"]
        if kind == "warning":
            self._print(Text(wrapped(f"warning: {as_typed(event['warning'])}", "    "), "yellow"))
        elif kind == "hook":
            self._print(Text(f"    {hook_text(event)}", "red" if event["failed"] else "dim"))
        elif kind == "action" and self._verbose:
            self._print(Text(wrapped(event["action"], "    ", "      "), "dim"))
        now = time.monotonic()
        if kind == "step" or now - self._drawn >= DRAW_EVERY:
            self._drawn = now
            self._live.update(self._picture(), refresh=True)

    def show_ended(self, progress: Progress) -> None:
        """Leave a line about it above the picture."""
        if progress.in_call:
            line = Text("  ")
            line.append(f"{self._mark} ", "green")
            line.append(f"{progress.step:<16}")
            line.append(seconds(progress.step_seconds), "dim")
            self._print(line)
        if progress.cut:
            self._print(Text(wrapped(progress.cut, "    "), "dim"))

    def _print(self, text: Text) -> None:
        self._has_printed = True
        self._console.print(text)

    def _picture(self) -> RenderableType:
        progress = self.progress
        parts: list[RenderableType] = []
        if progress.step and progress.step not in CALLS:
            head = Text("  ")
            head.append(f"> {progress.step:<16}", "bold cyan")
            head.append(seconds(progress.step_seconds), "dim")
            parts.append(head)
        if progress.bar:
            parts.append(Text(f"    {progress.bar.text}", no_wrap=True, overflow="ellipsis"))
            if progress.bar.share is not None:
                bar = ProgressBar(total=1, completed=progress.bar.share, width=BAR_WIDTH)
                parts.append(Padding(bar, (0, 0, 0, 4)))
        elif progress.waiting:
            parts.append(Text(f"    waiting {progress.waiting}", no_wrap=True, overflow="ellipsis"))
        if progress.samples:
            parts += [Text(), self._servers()]
        if progress.probe_text:
            parts.append(
                Text(f"    probe: {progress.probe_text}", no_wrap=True, overflow="ellipsis")
            )
        return Group(*parts)

    def _servers(self) -> Table:
        made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        made.add_column("    server")
        made.add_column("role")
        for name in ("ops/s", "clients", "memory", "keys", "behind"):
            made.add_column(name, justify="right")
        for side in ("source", "target"):
            sample = self.progress.samples.get(side)
            if sample is None:
                continue
            lag = sample["lag_bytes"]
            made.add_row(
                f"    {side}",
                sample["role"],
                number(sample["ops_per_second"]),
                number(sample["clients"]),
                size(sample["memory_bytes"]),
                number(sample["keys"]),
                "" if lag is None else size(lag),
            )
        return made

    def __enter__(self) -> Self:
        with suppress(OSError):
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        with suppress(OSError):
            self._live.update(Group(), refresh=True)
            self._live.stop()
            if self._has_printed:
                self._console.print()


def hook_text(event: Event) -> str:
    """Return what came of a hook."""
    took = f"{event['microseconds'] / 1000:.0f} ms"
    if event["failed"]:
        return f"hook {event['moment']} ({event['hook']}) failed after {took}: {event['failed']}"
    return f"hook {event['moment']} ({event['hook']}): {took}"


def view_for(*, quiet: bool, verbose: bool) -> View:
    """Return the one that suits where standard error goes."""
    if quiet:
        return View()
    console = Console(stderr=True, highlight=False)
    if sys.stderr.isatty() and not console.is_dumb_terminal:
        return Live(console, verbose=verbose)
    return Lines(verbose=verbose)
