"""Every fault at the commands of the cut. The whole sweep is `make chaos`."""

from __future__ import annotations

import itertools
import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.chaos.proxy import KINDS, WHENS, Fault
from tests.chaos.scenario import Plan, Result, run
from tests.support.servers import OWN_BINARIES, find

if TYPE_CHECKING:
    from collections.abc import Iterator

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
# What is known to be wrong, and why. To be emptied, not to be added to.
REFUSED = "promoted, and restarted from its old file, the target is refused for good"
NOT_SAVED = "the demoted one's file is not saved after its line was cut, nor by a rerun"
KNOWN = {
    "kill_target-before-rewrite": REFUSED,
    "kill_target-after-rewrite": NOT_SAVED,
    "hold_long-after-demote": NOT_SAVED,
    "cut-after-demote": NOT_SAVED,
    "cut-before-unpause": NOT_SAVED,
    "cut-after-unpause": NOT_SAVED,
}
# They mostly wait.
AT_A_TIME = 6
PLANS = {
    f"{kind}-{when}-{name}": Plan(*PAIR, "switchover", Fault(kind, when, point))
    for (name, point), kind, when in itertools.product(POINTS.items(), KINDS, WHENS)
    if kind != "hold_long" or name in LONG
}

Running = dict[str, "Future[Result]"]


@pytest.fixture(scope="module")
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """Run those that were asked for, several at a time."""
    for name in PAIR:
        if find(name) is None:
            message = f"{name} is not on this machine: {OWN_BINARIES}"
            if os.environ.get("REDIS_BATON_REQUIRE_SERVERS") == "1":
                pytest.fail(message, pytrace=False)
            pytest.skip(message)
    asked = [
        item.callspec.params.get("name")
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and item.path == request.path
        and hasattr(item, "callspec")
    ]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        yield {
            name: pool.submit(run, plan, tmp_path_factory.mktemp("chaos"))
            for name, plan in PLANS.items()
            if name in asked
        }
        pool.shutdown(cancel_futures=True)


def _cases() -> Iterator[object]:
    for name in PLANS:
        # Some of them are races, which may go well.
        known = [pytest.mark.xfail(reason=KNOWN[name], strict=False)] if name in KNOWN else []
        yield pytest.param(name, marks=known, id=name)


@pytest.mark.parametrize("name", list(_cases()))
def test_fault(name: str, running: Running) -> None:
    result = running[name].result()
    assert result.fired, "the fault never came"
    assert not result.problems, f"{result.path}\nagain: {result.plan.command}"
