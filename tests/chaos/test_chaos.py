"""Every fault at the commands of the cut. The whole sweep is `make chaos`."""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.chaos.proxy import KINDS, WHENS, Fault
from tests.chaos.scenario import Plan, Result, run
from tests.support.servers import OWN_BINARIES, find

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAIR = ("redis-7.0", "redis-8.0")
POINTS = {
    "pause": "pause/source:CLIENT-PAUSE#1",
    "demote": "demote/source:EXEC#1",
    "promote": "promote/target:EXEC#1",
    "unpause": "confirm/source:CLIENT-UNPAUSE#1",
    "canary": "confirm/target:DEL#1",
    "rewrite": "rewrite/target:CONFIG-REWRITE#1",
}
# Holding the line for longer than any limit takes long: where it hurts most.
LONG = {"demote", "promote"}
# They mostly wait.
AT_A_TIME = 6


def _plans(name: str) -> dict[str, Plan]:
    return {
        f"{kind}-{when}-{name}": Plan(*PAIR, "switchover", Fault(kind, when, POINTS[name]))
        for kind, when in itertools.product(KINDS, WHENS)
        if kind != "hold_long" or name in LONG
    }


@pytest.fixture(autouse=True)
def _servers() -> None:
    for name in PAIR:
        if find(name) is None:
            message = f"{name} is not on this machine: {OWN_BINARIES}"
            if os.environ.get("REDIS_BATON_REQUIRE_SERVERS") == "1":
                pytest.fail(message, pytrace=False)
            pytest.skip(message)


# A scenario takes up to a minute where a server stays dead for its guard.
@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", POINTS)
def test_every_fault_at(name: str, tmp_path: Path) -> None:
    plans = _plans(name)
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        results = pool.map(run, plans.values(), [tmp_path / plan for plan in plans])
        wrong = [line for plan, result in zip(plans, results) for line in _problems(plan, result)]
    assert not wrong, "\n".join(wrong)


def _problems(plan: str, result: Result) -> Iterator[str]:
    problems = result.problems if result.fired else ["the fault never came", *result.problems]
    if problems:
        yield f"{plan}: {'; '.join(problems)}: {result.path}"
        yield f"  again: {result.plan.command}"
