"""One controller at a time on a server: who comes second is told, or cuts the first one off."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Callable

import pytest
import redis_baton as rb

from tests.python.common import Given, Pair, fails, records_of
from tests.support.controller import Controller
from tests.support.gate import DEMOTION, PROMOTION, Gate

if TYPE_CHECKING:
    from tests.support.servers import Instance

CHANGING: list[Callable[..., Any]] = [
    rb.replicate,
    rb.switchover,
    rb.promote,
    rb.rollback,
    rb.retire,
    rb.upgrade,
]
LOOKING: list[Callable[..., Any]] = [
    rb.preflight,
    rb.status,
    rb.verify,
    rb.clients,
    rb.wait_synced,
]


def through(gate: Gate) -> str:
    return f"redis://127.0.0.1:{gate.port}"


@pytest.mark.parametrize("step", CHANGING, ids=lambda step: step.__name__)
def test_every_step_that_changes_a_server_keeps_out(pair: Pair, step: Callable[..., Any]) -> None:
    pair.follow()
    server: Instance = pair.source if CHANGING.index(step) % 2 else pair.target
    with server.client() as other:
        other.client_setname("redis-baton:another")
        with fails(rb.Refused, "locked", pair.source, pair.target) as caught:
            step(**pair.given)
        assert "another controller" in caught.message
        assert "break_lock" in caught.error.remedy
        if step is not rb.retire:  # which is refused anyway
            assert step(**pair.given, dry_run=True).elapsed < 10  # to look is free
        assert other.ping()


def test_looking_is_free(pair: Pair) -> None:
    pair.follow()
    with pair.source.client() as other:
        other.client_setname("redis-baton:another")
        for step in LOOKING:
            assert step(**pair.given).changed is False


def test_a_controller_that_was_killed_holds_no_lock(pair: Pair) -> None:
    pair.follow()
    with Gate(pair.source.port, DEMOTION) as gate:
        given = Given(**{**pair.given, "source": through(gate)})
        wishes = {**given, "guard": False, "pause_budget": 20}
        with Controller("switchover", wishes) as controller:
            assert gate.reached.wait(20)
            with pytest.raises(rb.Refused) as failure:
                rb.switchover(**given)
            assert failure.value.reason == "locked"
            controller.kill()
        done = rb.switchover(**given)
        assert (done.changed, done.warm) == (True, True)


def test_of_two_at_once_one_does_it(pair: Pair) -> None:
    pair.follow()
    outcomes: list[object] = []

    def switch() -> None:
        try:
            outcomes.append(rb.switchover(**pair.given).changed)
        except rb.BatonError as error:
            outcomes.append(error.reason)

    threads = [threading.Thread(target=switch) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # The others wait for a second: they see it done, are told who does it, or are cut with all
    # other clients while they wait.
    assert outcomes.count(True) == 1, outcomes
    assert set(outcomes) <= {True, False, "locked", "connection_lost", "unreachable"}
    assert pair.roles == ("slave", "master")
    assert rb.status(**pair.given).warm is True


def test_one_that_was_cut_off_can_not_go_on(pair: Pair) -> None:
    """It hangs between demotion and promotion; another one finishes; then it wakes up."""
    pair.follow()
    failed: list[rb.BatonError] = []
    with Gate(pair.target.port, PROMOTION) as gate:
        given = Given(**{**pair.given, "target": through(gate)})

        def hang() -> None:
            try:
                rb.switchover(**given, guard=False)
            except rb.BatonError as error:
                failed.append(error)

        first = threading.Thread(target=hang)
        first.start()
        assert gate.reached.wait(20)
        done = rb.rollback(**given, break_lock=True)
        assert any("was broken" in warning for warning in done.warnings)
        assert pair.roles == ("master", "slave")
        pair.source.call("SET", "taken", "by the source")
        gate.open()
        first.join(20)
    assert not first.is_alive()
    assert len(failed) == 1
    # What it had sent is never carried out, nor what it would have sent next.
    assert pair.roles == ("master", "slave")
    assert pair.ports == (pair.source.port, pair.target.port)
    assert rb.switchover(**pair.given).warm
    assert pair.target.call("GET", "taken") == "by the source"


def test_one_that_was_cut_off_before_it_began_leaves_the_journal_alone(pair: Pair) -> None:
    """Its hook is slow; another one hands over meanwhile; what it gives up then is only its own."""
    pair.follow()
    begun, gone_on = threading.Event(), threading.Event()
    failed: list[rb.BatonError] = []

    def slow(_: dict[str, object]) -> None:
        begun.set()
        assert gone_on.wait(20)

    def hang() -> None:
        try:
            rb.switchover(**pair.given, guard=False, hooks={"before": slow})
        except rb.BatonError as error:
            failed.append(error)

    first = threading.Thread(target=hang)
    first.start()
    assert begun.wait(20)
    assert rb.switchover(**pair.given, break_lock=True).warm
    gone_on.set()
    first.join(20)
    assert not first.is_alive()
    assert len(failed) == 1
    assert rb.status(**pair.given).stage == "switched"
    assert rb.report(**pair.given).outcome == "switched"
    assert "undone" not in [record["record"] for record in records_of(pair)]
    # So it is known what a source that is down means.
    pair.source.stop()
    assert rb.status(**pair.given).stage == "retired"
