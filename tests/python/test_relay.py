"""A relay takes the source's address over: nothing is lost, and whoever dies, clients arrive."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis_baton as rb

from tests.python.common import Given, Pair, assert_probe_saw_no_harm, config_of
from tests.support.controller import Controller, lives
from tests.support.gate import PROMOTION, Gate
from tests.support.load import Load, LoadReport
from tests.support.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import ServerFactory
    from tests.python.conftest import PairFactory


class Led:
    """A pair whose clients a relay leads."""

    def __init__(self, pair: Pair, socket: Path) -> None:
        self.pair = pair
        self.socket = socket
        self.redirect = {"relay": {"socket": str(socket)}}

    def switch(self, **options: Any) -> rb.Switchover:  # noqa: ANN401 # any option there is
        """Make the target the master."""
        return rb.switchover(**self.pair.given, redirect=self.redirect, **options)

    @property
    def look(self) -> rb.Relay:
        """Return how the relay is."""
        return rb.relay(**self.pair.given)

    @property
    def process(self) -> int:
        """The relay's process."""
        found: int = self.look.before["relay"]["pid"]
        return found

    def has_all(self) -> bool:
        """Whether all connections of a load come through the relay."""
        return len(self.look.connections) == 16

    def end(self) -> None:
        """End the relay, if there is one."""
        if (self.look.before.get("relay")) is not None:
            rb.relay(**self.pair.given, end=True, force=True)


@pytest.fixture
def led(pair_of: PairFactory, tmp_path: Path) -> Iterator[Led]:
    yield from led_of(pair_of(), tmp_path)


def led_of(pair: Pair, folder: Path) -> Iterator[Led]:
    led = Led(pair, folder / "relay.sock")
    try:
        yield led
    finally:
        led.end()


def check(report: LoadReport, *, cut: int = 1) -> None:
    assert (report.wrong_replies, report.errors) == (0, {})
    assert set(report.disconnects_per_connection) == {cut}


@pytest.mark.parametrize(("old", "new"), [("redis-7.0", "redis-8.0"), ("valkey-8.1", "valkey-9.1")])
def test_there_again_and_back(pair_of: PairFactory, tmp_path: Path, old: str, new: str) -> None:
    for led in led_of(pair_of(old, new), tmp_path):
        pair = led.pair
        pair.follow()
        public, own = pair.source.port, pair.target.port
        before = config_of(pair.source)
        with Load(port=public, rate=3000) as load:
            planned = led.switch(dry_run=True)
            assert any("relay" in action and "forward" in action for action in planned.actions)
            assert (pair.roles, led.socket.exists()) == (("master", "slave"), False)
            done = led.switch(probe=True)
            assert (done.warm, done.serving) == (True, f"127.0.0.1:{public}")
            assert_probe_saw_no_harm(done.probe, "refused")
            assert pair.ports != (public, own)
            assert pair.target.current_port == own
            assert pair.roles == ("slave", "master")
            again = led.switch()
            assert (again.changed, again.actions) == (False, [])
            assert not rb.switchover(**pair.given).changed, "the journal knows the way"
            assert rb.status(**pair.given).serving == f"127.0.0.1:{public}"
            relay = led.look
            assert relay.leads_to == f"127.0.0.1:{own}"
            eventually(led.has_all, "all have come")
            check(load.mark())
            back = rb.rollback(**pair.given)
            assert back.warm
            assert pair.ports == (public, own)
            assert not led.look.running
            report = load.stop()
            check(report, cut=2)
            assert (report.lost, report.wrong) == (0, 0)
        changed = {name for name, value in config_of(pair.source).items() if before[name] != value}
        assert changed <= {"replicaof", "slaveof", "save"}
        assert not rb.rollback(**pair.given).changed
        assert led.switch().changed, "and there once more"
        assert pair.roles == ("slave", "master")


def test_from_one_that_is_shut_down_for_it(pair_of: PairFactory, tmp_path: Path) -> None:
    for led in led_of(pair_of("redis-6.0", "redis-7.0"), tmp_path):
        pair = led.pair
        pair.follow()
        with Load(port=pair.source.port, rate=1000) as load:
            led.switch()
            eventually(led.has_all, "all have come")
            report = load.stop()
        check(report)
        assert (report.lost, report.wrong) == (0, 0)
        assert pair.target.role == "master"
        assert led.look.running


def test_a_rerun_starts_one_again_that_was_killed(led: Led) -> None:
    pair = led.pair
    pair.follow()
    led.switch()
    os.kill(led.process, signal.SIGKILL)
    eventually(lambda: not led.look.running, "it is gone")
    assert rb.switchover(**pair.given, dry_run=True).changed
    assert not led.look.running
    again = rb.switchover(**pair.given)
    assert [action for action in again.actions if "relay" not in action] == []
    with redis.Redis(port=pair.source.port) as client:
        assert client.set("key", "value")
    rb.retire(**pair.given)
    assert not pair.source.alive
    assert rb.relay(**pair.given).running, "it stays until it is ended"
    with redis.Redis(port=pair.source.port) as client:
        assert client.ping()
        with pytest.raises(rb.Refused) as refused:
            rb.relay(**pair.given, end=True)
        assert (refused.value.reason, refused.value.state) == ("relay_in_use", "unchanged")
    eventually(lambda: not led.look.connections, "nobody is connected")
    assert rb.relay(**pair.given, end=True, dry_run=True).changed
    ended = rb.relay(**pair.given, end=True)
    assert (ended.changed, ended.running, ended.ended) == (True, False, True)
    assert not rb.relay(**pair.given, end=True).changed
    assert not rb.switchover(**pair.given).changed, "what was ended stays so"
    assert rb.status(**pair.given).serving == f"127.0.0.1:{pair.target.port}"


def test_the_guard_does_the_rest(led: Led) -> None:
    pair = led.pair
    pair.follow()
    with Gate(pair.target.port, PROMOTION) as gate:
        given = Given(**{**pair.given, "target": f"redis://127.0.0.1:{gate.port}"})
        try:
            wishes = {**given, "redirect": "relay", "pause_budget": 20.0}
            with Controller("switchover", wishes) as controller:
                assert gate.reached.wait(20)
                [guard] = controller.guards
                controller.kill()
            eventually(lambda: not lives(guard), "the guard has ended")
            with redis.Redis(port=pair.source.port) as client:
                assert client.set("key", "value")
            assert pair.roles == ("slave", "master")
            assert not rb.switchover(**given).changed
        finally:
            rb.relay(**given, end=True, force=True)


def test_a_source_behind_something_else_is_refused(led: Led) -> None:
    """Only its own port can be taken over."""
    pair = led.pair
    pair.follow()
    with Gate(pair.source.port) as gate:
        given = Given(**{**pair.given, "source": f"redis://127.0.0.1:{gate.port}"})
        with pytest.raises(rb.Refused) as refused:
            rb.switchover(**given, redirect=led.redirect)
    assert refused.value.reason == "redirect_failed"
    assert "forwards to it already" in str(refused.value)


def test_a_handover_that_fails_leaves_no_relay(led: Led) -> None:
    """The source serves as before, at its port."""
    pair = led.pair
    pair.follow()
    public = pair.source.port
    with Load(port=public, rate=1000) as load:
        # Nobody catches up who stands still.
        pair.target.freeze()
        quick = {"patience": 0.5, "attempts": 1, "pause_budget": 0.05}
        try:
            with pytest.raises(rb.BatonError) as failed:
                led.switch(**quick)
        finally:
            pair.target.thaw()
        assert failed.value.state in {"unchanged", "undone"}
        report = load.stop()
    assert (report.lost, report.disconnects) == (0, 0)
    assert (pair.source.role, pair.source.current_port) == ("master", public)
    assert not led.socket.exists()


def test_what_stands_against_it(server: ServerFactory, journal_dir: Path, tmp_path: Path) -> None:
    pair = Pair(server("redis-7.0"), server("redis-8.0"), journal_dir)

    def found(**wish: object) -> str:
        checked = rb.preflight(**pair.given, redirect={"relay": wish})
        return " / ".join(f.found for f in checked.findings if f.level == "blocker")

    assert found() == ""
    assert "path of the relay's socket" in found(socket=str(tmp_path / ("x" * 120)))
    for wrong in ({"relay": {"port": 3}}, {"relay": 3}, "relais", {"relay": {"idle": -1}}):
        with pytest.raises(rb.InvalidInput):
            rb.preflight(**pair.given, redirect=wrong)  # type: ignore[arg-type]
