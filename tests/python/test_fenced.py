"""From 6.0, which can only be shut down: nothing is lost, and until then nothing is changed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Callable

import pytest
import redis
import redis_baton as rb

from tests.python.common import Given, Pair, config_of, fails, put, records_of
from tests.support.controller import Controller
from tests.support.gate import FENCE, PROMOTION, SHUTDOWN, Gate
from tests.support.load import Load
from tests.support.servers import Instance, eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ServerFactory
    from tests.python.conftest import PairFactory
    from tests.support.certificates import Certificates


@pytest.fixture
def pair(pair_of: PairFactory) -> Pair:
    return pair_of("redis-6.0", "redis-7.0")


def through(gate: Gate) -> str:
    return f"redis://127.0.0.1:{gate.port}"


def taken(port: int) -> bool:
    try:
        with redis.Redis(port=port, socket_timeout=1) as client:
            return bool(client.set("written", "1"))
    except redis.RedisError:
        return False


def guarded(pair: Pair) -> list[str]:
    return [record["outcome"] for record in records_of(pair) if record["record"] == "guarded"]


def assert_serves(server: Instance, before: dict[str, str]) -> None:
    """See that the source serves as before: the pause is short, and can't be ended early."""
    eventually(lambda: taken(server.port), "writes flow at the source", within=3)
    assert server.role == "master"
    assert config_of(server) == before


def assert_holds(target: Instance, keys: int) -> None:
    """See that it has these keys, when the one that ends the pause has expired."""
    eventually(lambda: target.client().dbsize() == keys, f"{keys} keys", within=2)


@pytest.mark.parametrize("new", ["redis-7.0", "redis-8.0", "valkey-9.1"])
def test_under_load(pair_of: PairFactory, new: str) -> None:
    pair = pair_of("redis-6.0", new)
    public = pair.source.port
    put(pair.source, 1000)
    found = rb.preflight(**pair.given)
    assert (found.ok, found.strategy) == (True, "fenced")
    assert [f.level for f in found.findings if f.code == "irreversible"] == ["warning"]
    with Load(port=public, rate=4000) as load:
        done = rb.upgrade(**pair.given, quiet_for=0.1)
        eventually(lambda: load.mark().acknowledged > 4000, "writes flow at the new one")
        report = load.stop(verify_port=public)
    assert (done.stage, done.serving, done.parked) == ("retired", f"127.0.0.1:{public}", None)
    assert (report.lost, report.wrong, report.errors) == (0, 0, {}), report
    assert report.disconnects_per_connection == {1: 16}, report
    eventually(lambda: not pair.source.alive, "it has ended")
    assert (pair.target.role, pair.target.current_port) == ("master", public)
    assert pair.target.call("EXISTS", "redis-baton:deadline") == 0

    # What was raised on the new one is restored by retire, as ever.
    assert rb.upgrade(**pair.given, until="retire").changed is True
    for until in ("wait_quiescent", "retire"):
        again = rb.upgrade(**pair.given, until=until, quiet_for=0.1)
        assert (again.changed, again.actions, again.stage) == (False, [], "retired")
    assert rb.switchover(**pair.given).changed is False
    with pytest.raises(rb.Refused) as failure:
        rb.rollback(**pair.given)
    assert failure.value.reason == "not_warm"
    assert "no way back" in str(failure.value)


def test_without_a_takeover(pair: Pair) -> None:
    pair.follow()
    port = pair.target.port
    done = rb.switchover(**pair.given, redirect="none")
    assert (done.serving, done.parked, done.warm) == (f"127.0.0.1:{port}", None, False)
    eventually(lambda: not pair.source.alive, "it has ended")
    assert (pair.target.role, pair.target.current_port) == ("master", port)
    assert_holds(pair.target, 200)
    assert rb.switchover(**pair.given, redirect="none").changed is False
    with pytest.raises(rb.Refused) as failure:
        rb.rollback(**pair.given)
    assert failure.value.reason == "not_warm"


def test_a_target_that_hangs_until_the_pause_is_over_changes_nothing(pair: Pair) -> None:
    pair.follow()
    before = config_of(pair.source)

    def hang() -> None:
        """Let the pause end before the target comes back."""
        pair.target.freeze()
        threading.Timer(0.6, pair.target.thaw).start()

    with (
        Gate(pair.source.port, FENCE, hang) as gate,
        Load(port=pair.source.port) as load,
    ):
        given = Given(**{**pair.given, "source": through(gate)})
        with pytest.raises(rb.BatonError) as failure:
            rb.switchover(**given, attempts=1, max_latency=1)
        eventually(lambda: taken(pair.source.port), "writes flow")
        report = load.stop()
    assert (failure.value.reason, failure.value.state) == ("lag_too_high", "undone")
    assert_serves(pair.source, before)
    assert (report.lost, report.disconnects, report.errors) == (0, 0, {}), report
    assert pair.target.role == "slave"
    rb.switchover(**pair.given)
    eventually(lambda: not pair.source.alive, "and then it works")


def test_a_shutdown_that_comes_after_the_pause_is_refused_by_the_server(pair: Pair) -> None:
    """The controller hangs with the shutdown in its hand; meanwhile the source took writes."""
    pair.follow()
    before = config_of(pair.source)
    with Gate(pair.source.port, SHUTDOWN) as gate:
        given = Given(**{**pair.given, "source": through(gate)})
        failed: list[rb.BatonError] = []

        def switch() -> None:
            try:
                rb.switchover(**given, attempts=1)
            except rb.BatonError as error:
                failed.append(error)

        controller = threading.Thread(target=switch)
        controller.start()
        assert gate.reached.wait(20)
        eventually(lambda: taken(pair.source.port), "the pause is over", within=3)
        gate.open()
        controller.join(20)
    assert not controller.is_alive()
    assert [error.state for error in failed] == ["undone"]
    assert_serves(pair.source, before)
    assert pair.target.role == "slave"


def killed_at(gate: Gate, given: Given) -> None:
    with Controller("switchover", dict(given)) as controller:
        assert gate.reached.wait(20)
        controller.kill()


def test_a_controller_killed_before_the_shutdown_leaves_the_source_as_it_was(pair: Pair) -> None:
    pair.follow()
    before = config_of(pair.source)
    with Gate(pair.source.port, SHUTDOWN) as gate:
        killed_at(gate, Given(**{**pair.given, "source": through(gate)}))
        eventually(lambda: bool(guarded(pair)), "the guard has done its part")
        assert guarded(pair) == ["the handover was called off: the source serves as before"]
        assert_serves(pair.source, before)
    assert pair.target.role == "slave"
    assert rb.switchover(**pair.given).changed


def test_a_controller_killed_after_the_shutdown_is_finished_by_its_guard(pair: Pair) -> None:
    pair.follow()
    public = pair.source.port
    with Gate(pair.target.port, PROMOTION) as gate:
        given = Given(**{**pair.given, "target": through(gate)})
        killed_at(gate, given)
        eventually(lambda: taken(public), "writes flow at the new one", within=5)
        eventually(lambda: bool(guarded(pair)), "the guard has done its part")
        assert guarded(pair) == ["the handover was finished: the target serves"]
    assert not pair.source.alive
    assert (pair.target.role, pair.target.current_port) == ("master", public)
    assert_holds(pair.target, 201)


@pytest.mark.parametrize("redirect", ["takeover", "none"])
def test_without_a_guard_a_rerun_finishes_it(pair: Pair, redirect: Any) -> None:  # noqa: ANN401
    pair.follow()
    with Gate(pair.target.port, PROMOTION) as gate:
        given = Given(**{**pair.given, "target": through(gate)})
        with Controller("switchover", {**given, "guard": False, "redirect": redirect}) as killed:
            assert gate.reached.wait(20)
            killed.kill()
        eventually(lambda: not pair.source.alive, "it has ended")
        assert pair.target.role == "slave"
        done = rb.switchover(**given, redirect=redirect)
        assert done.changed
        if redirect == "none":
            assert rb.switchover(**given, redirect=redirect).changed is False
    if redirect == "takeover":  # now nothing listens at the target's first address any more
        assert rb.switchover(**given, redirect=redirect).changed is False
    port = pair.source.port if redirect == "takeover" else pair.target.port
    assert (pair.target.role, pair.target.current_port) == ("master", port)
    assert_holds(pair.target, 200)


def test_a_target_that_dies_before_the_shutdown_changes_nothing(pair: Pair) -> None:
    pair.follow()
    before = config_of(pair.source)
    with Gate(pair.source.port, FENCE, pair.target.kill) as gate:
        given = Given(**{**pair.given, "source": through(gate)})
        with pytest.raises(rb.BatonError) as failure:
            rb.switchover(**given)
    assert failure.value.state in ("undone", "interrupted")
    eventually(lambda: taken(pair.source.port), "writes flow at the source", within=3)
    assert pair.source.role == "master"
    changed = {name for name, value in config_of(pair.source).items() if before[name] != value}
    assert changed == set()


def test_a_target_that_dies_after_the_shutdown_never_serves_unasked(
    server: ServerFactory, journal_dir: Path
) -> None:
    pair = Pair(server("redis-6.0"), server("redis-7.0", appendonly=True), journal_dir)
    pair.follow()
    with Gate(pair.target.port, PROMOTION) as gate:
        given = Given(**{**pair.given, "target": through(gate)})
        with Controller("switchover", {**given, "guard": False}) as controller:
            assert gate.reached.wait(20)
            pair.target.kill()
            assert controller.wait() != 0
        assert not pair.source.alive
        with pytest.raises(rb.BatonError) as failure:
            rb.switchover(**given)
        assert failure.value.state in ("unchanged", "interrupted")
        pair.target.start()
        assert_holds(pair.target, 200)
        # It is a master again, with data of its own: whether it has all, nobody can tell any more.
        with pytest.raises(rb.Refused) as refusal:
            rb.switchover(**given)
    assert (refusal.value.reason, refusal.value.state) == ("history_lost", "interrupted")
    assert "start the source again" in refusal.value.remedy
    assert pair.target.current_port == pair.target.port


def test_no_right_to_monitor(server: ServerFactory, journal_dir: Path) -> None:
    source, target = server("redis-6.0"), server("redis-7.0")
    source.call("ACL", "SETUSER", "ops", "on", ">secret", "~*", "+@all", "-monitor")
    put(source, 100)
    given = Given(
        source=f"redis://ops:secret@{source.address}", target=target.url, journal_dir=journal_dir
    )
    before = config_of(source)
    with fails(rb.Refused, "permission_denied", target) as caught:
        rb.replicate(**given)
    assert "ACL SETUSER ops +monitor" in caught.error.remedy
    # Nor where it is taken from the user later.
    source.call("ACL", "SETUSER", "ops", "+monitor")
    rb.replicate(**given)
    rb.wait_synced(**given)
    source.call("ACL", "SETUSER", "ops", "-monitor")
    with pytest.raises(rb.BatonError) as failure:
        rb.switchover(**given)
    assert failure.value.state in ("unchanged", "undone")
    assert "monitor" in str(failure.value).lower()
    assert_serves(source, before)
    assert target.role == "slave"


def test_over_tls_it_is_refused(
    server: ServerFactory, certificates: Certificates, journal_dir: Path
) -> None:
    source, target = (server(name, tls=certificates) for name in ("redis-6.0", "redis-7.0"))
    ends: list[rb.Endpoint] = [
        rb.Endpoint("127.0.0.1", one.port, tls=True, ca_certs=str(certificates.ca))
        for one in (source, target)
    ]
    given = Given(source=ends[0], target=ends[1], journal_dir=journal_dir)
    steps: list[Callable[..., Any]] = [rb.replicate, rb.upgrade]
    for step in steps:
        with fails(rb.Refused, "source_too_old", target) as caught:
            step(**given)
        assert "TLS" in caught.message
    assert source.role == "master"
