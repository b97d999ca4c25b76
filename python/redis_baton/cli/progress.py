"""What is known of a step while it runs, from its events. Both views read it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from .words import number, seconds, size, verb_of

Event = dict[str, Any]
CALLS = ("upgrade",)  # whose first event is followed by those of its steps


@dataclass
class Bar:
    """Something that goes on to a known end, or to one that the server does not tell."""

    what: str
    done: float
    total: float | None
    rate: str
    left: float | None
    unit: str

    @property
    def share(self) -> float | None:
        """How much of it is done, between 0 and 1."""
        return min(self.done / self.total, 1.0) if self.total else None

    @property
    def text(self) -> str:
        """It in words."""
        show = size if self.unit == "bytes" else number
        parts = [self.what, show(self.done)]
        if self.total:
            parts += [f"of {show(self.total)}{'' if self.unit == 'bytes' else ' ' + self.unit}"]
            parts += [f"({self.share:.0%})"]
        elif self.unit != "bytes":
            parts += [self.unit]
        if self.rate:
            parts += [self.rate]
        if self.left is not None:
            parts += [f"{seconds(self.left)} left"]
        return " ".join(parts)


@dataclass
class Progress:
    """How things stand."""

    step: str = ""
    in_call: bool = False
    """Whether it is one of several steps of one call."""
    began: float = field(default_factory=time.monotonic)
    step_began: float = field(default_factory=time.monotonic)
    bar: Bar | None = None
    waiting: str = ""
    phases: list[tuple[str, int]] = field(default_factory=list)
    samples: dict[str, Event] = field(default_factory=dict)
    probe: Event = field(default_factory=dict)

    def take(self, event: Event) -> None:
        """Take an event in."""
        kind = event["event"]
        if kind == "step":
            self.step, self.step_began = verb_of(event["step"]), time.monotonic()
            self.bar, self.waiting, self.phases = None, "", []
            self.in_call = self.in_call or self.step in CALLS
        elif kind in BARS:
            self.bar, self.waiting = BARS[kind](event), ""
        elif kind == "waiting":
            self.waiting = f"for {event['wanted']}: {event['found']}"
        elif kind == "phase":
            self.bar, self.waiting = None, ""
            self.phases.append((event["name"], event["microseconds"]))
        elif kind == "sample":
            self.samples[event["side"]] = event
        elif kind == "probe":
            self._add(event)

    def _add(self, event: Event) -> None:
        so_far = self.probe or {"reads": 0, "writes": 0, "errors": {}, "longest_gap_us": 0}
        errors = dict(so_far["errors"])
        for error, count in event["errors"].items():
            errors[error] = errors.get(error, 0) + count
        self.probe = {
            "reads": so_far["reads"] + event["reads"],
            "writes": so_far["writes"] + event["writes"],
            "errors": errors,
            "median_us": event["median_us"],
            "longest_gap_us": max(so_far["longest_gap_us"], event["longest_gap_us"]),
        }

    @property
    def step_seconds(self) -> float:
        """How long the present step runs."""
        return time.monotonic() - self.step_began

    @property
    def cut(self) -> str:
        """The phases of the handover in one line."""
        return ", ".join(
            f"{name} {microseconds / 1000:.1f} ms" for name, microseconds in self.phases
        )

    @property
    def probe_text(self) -> str:
        """What the probe has seen so far."""
        probe = self.probe
        if not probe:
            return ""
        wrong = ", ".join(f"{count} {error}" for error, count in probe["errors"].items())
        # First what counts: a narrow terminal cuts off the rest.
        return (
            f"longest gap {probe['longest_gap_us'] / 1000:.1f} ms, "
            f"median {(probe['median_us'] or 0) / 1000:.1f} ms, {wrong or 'no errors'}, "
            f"{number(probe['writes'])} writes, {number(probe['reads'])} reads"
        )


def _sync(event: Event) -> Bar | None:
    if event["stage"] == "streaming":
        return None  # the sync is over
    rate = f"{size(event['rate'])}/s" if event["rate"] else ""
    return Bar(event["stage"], event["bytes"], event["total"], rate, event["seconds_left"], "bytes")


def _comparing(event: Event) -> Bar:
    rate = f"{number(event['rate'])}/s" if event["rate"] else ""
    return Bar("comparing", event["done"], event["total"], rate, event["seconds_left"], "keys")


def _saving(event: Event) -> Bar:
    rate = f"{number(event['rate'])}/s" if event["rate"] else ""
    what = f"{event['stage']} the {event['file'].upper()}"
    if event["stage"] == "waiting":
        what = f"waiting to write the {event['file'].upper()}"
    return Bar(what, event["keys"] or 0, event["total"], rate, event["seconds_left"], "keys")


BARS = {"sync": _sync, "comparing": _comparing, "saving": _saving}
