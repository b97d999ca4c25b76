"""What may be typed for a duration or a size."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from typing import NoReturn

    Kind = click.ParamType[Any]  # before click 8.5 it takes no type
    Choice = click.Choice[str]
else:
    Kind = click.ParamType
    Choice = click.Choice

SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
# As in a server's configuration file, but a letter alone is the power of two that people mean.
BYTES = {
    "": 1,
    "b": 1,
    "k": 1 << 10,
    "kb": 1 << 10,
    "m": 1 << 20,
    "mb": 1 << 20,
    "g": 1 << 30,
    "gb": 1 << 30,
}


class Measure(Kind):
    """A number with a unit, or one without, which is in the first unit."""

    def __init__(self, name: str, units: dict[str, float] | dict[str, int], example: str) -> None:
        """Name it, with its units."""
        self.name = name
        self._units = units
        self._example = example

    def convert(
        self,
        value: Any,  # noqa: ANN401 # as click has it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float | int:
        """Return the number in the first unit."""
        whole = all(isinstance(factor, int) for factor in self._units.values())
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            self._wrong(value, param, ctx)
        if not isinstance(value, str):
            return value
        read = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", value.lower())
        if read is None or read[2] not in self._units:
            self._wrong(value, param, ctx)
        found = float(read[1]) * self._units[read[2]]
        return int(found) if whole else found

    def _wrong(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> NoReturn:
        self.fail(f"{value!r} is not a {self.name}, such as {self._example}", param, ctx)

    def shown(self, value: float) -> str:
        """Return a default as it could be typed."""
        for unit, factor in sorted(self._units.items(), key=lambda item: -item[1]):
            if unit and value >= factor and value % factor == 0:
                return f"{value // factor:.0f}{unit}"
        return f"{value:g}{'s' if 's' in self._units else ''}"


DURATION = Measure("duration", SECONDS, "1.5, 250ms, 90s, 5m or 2h")
SIZE = Measure("size", BYTES, "65536, 64kb, 256mb or 1gb")


class StepName(Choice):
    """The name of a step, as a verb or as in Python: `wait-synced` or `wait_synced`."""

    def convert(
        self,
        value: Any,  # noqa: ANN401 # as click has it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str:
        """Return it as in Python."""
        found: str = super().convert(str(value).replace("_", "-"), param, ctx)
        return found.replace("-", "_")
