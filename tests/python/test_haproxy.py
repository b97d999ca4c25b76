"""Clients that come through a HAProxy, which lets them wait and then sends them elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable

import pytest
import redis
import redis_baton as rb

from tests.python.common import Given, Pair, assert_probe_saw_no_harm, records_of, state_of
from tests.support.controller import Controller, lives
from tests.support.gate import DEMOTION, PAUSE, PROMOTION, Gate
from tests.support.haproxy import NAME, REFUSES, HAProxy, find_haproxy
from tests.support.load import Load
from tests.support.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.python.conftest import PairFactory

Proxies = Callable[..., HAProxy]


@pytest.fixture
def proxy_of(tmp_path: Path) -> Iterator[Proxies]:
    """Start HAProxies in front of a pair: one server each for the two, or only one."""
    running: list[HAProxy] = []

    def start(pair: Pair, *, name: str = NAME, one: bool = False, **options: Any) -> HAProxy:  # noqa: ANN401
        program = find_haproxy(name)
        if program is None:
            pytest.skip(f"HAProxy is not on this machine: tests/support/fetch-servers {name}")
        servers = {"old": pair.source.address, "new": pair.target.address}
        if one:
            servers = {"redis": pair.source.address}
        folder = tmp_path / f"proxy-{len(running)}"
        running.append(HAProxy(program, folder, servers, disabled=["new"], **options))
        return running[-1].start()

    yield start
    for proxy in running:
        proxy.close()


def through(*proxies: HAProxy, **more: object) -> dict[str, Any]:
    """Return the options that name these."""
    sockets = [str(proxy.socket) for proxy in proxies]
    return {"redirect": {"haproxy": {"sockets": sockets, **more}}}


def state(proxy: HAProxy) -> list[tuple[str, ...]]:
    """Return who gets clients at which address, and how many connections may come."""
    head, *rows = proxy.command("show servers state").splitlines()[1:]
    names = ("srv_name", "srv_addr", "srv_port", "srv_admin_state", "srv_op_state")
    found = [dict(zip(head.split()[1:], row.split())) for row in rows if row]
    limits = proxy.command("show stat -1 1 -1").splitlines()[1:]
    return [
        *(tuple(row[name] for name in names) for row in found),
        *((row.split(",")[0], row.split(",")[6]) for row in limits if row),
    ]


def served_through(proxy: HAProxy) -> int:
    """Return the port of the server that a write through it arrives at."""
    with redis.Redis(port=proxy.port, socket_timeout=5) as client:
        client.set("through", "it")
        return int(client.info("server")["tcp_port"])


@pytest.mark.parametrize(
    ("old", "new", "name", "layout"),
    [
        ("redis-7.0", "redis-8.0", NAME, {"one": True}),
        ("valkey-8.1", "valkey-9.1", NAME, {"inter": "50ms"}),
        ("redis-7.0", "redis-8.0", REFUSES, {"check": False, "split": True}),
        ("redis-6.0", "redis-8.0", NAME, {"one": True, "check": False}),
    ],
)
def test_there_and_back_under_load(
    pair_of: PairFactory, proxy_of: Proxies, old: str, new: str, name: str, layout: dict[str, Any]
) -> None:
    """A connection is cut once each way, waits, and never sees an error."""
    pair = pair_of(old, new)
    proxy = proxy_of(pair, name=name, **layout)
    pair.follow()
    way = through(proxy, frontends=["clients"] if layout.get("split") else [])
    fenced = old == "redis-6.0"
    with Load(port=proxy.port, rate=5000) as load:
        done = rb.switchover(**pair.given, **way, probe=f"redis://{proxy.address}")
        assert done.serving == pair.target.address
        assert_probe_saw_no_harm(done.probe, *(["refused"] if name == REFUSES else []))
        lasting = [warning for warning in done.warnings if "reloaded" in warning]
        assert len(lasting) == 1
        assert str(pair.target.port) in lasting[0] or "server new without" in lasting[0]
        again = rb.switchover(**pair.given, **way)
        assert (again.changed, again.actions) == (False, [])
        assert served_through(proxy) == pair.target.port
        first = load.mark()
        assert first.disconnects_per_connection == {1: 16}
        if not fenced:
            back = rb.rollback(**pair.given)
            assert (back.changed, back.serving) == (True, pair.source.address)
            assert served_through(proxy) == pair.source.port
        report = load.stop()
    print(f"{old} to {new}: {first.longest_gap_ms} ms, back {report.longest_gap_ms} ms")
    assert (report.lost, report.wrong, report.errors) == (0, 0, {})
    assert name == REFUSES or report.refused_connects == 0
    assert report.disconnects_per_connection == {1 if fenced else 2: 16}
    assert ("1", "0") not in {row[1:] for row in state(proxy)}


@pytest.mark.parametrize("one", [False, True])
def test_a_dry_run_tells_it_nothing(pair: Pair, proxy_of: Proxies, one: bool) -> None:
    proxy = proxy_of(pair, one=one)
    pair.follow()
    before = state(proxy), state_of(pair.source), state_of(pair.target)
    done = rb.switchover(**pair.given, **through(proxy), dry_run=True)
    assert (state(proxy), state_of(pair.source), state_of(pair.target)) == before
    assert any("set maxconn frontend redis 0" in action for action in done.actions)
    assert rb.preflight(**pair.given, **through(proxy)).ok


def test_what_stands_against_it(pair: Pair, proxy_of: Proxies, tmp_path: Path) -> None:
    fine, split = proxy_of(pair), proxy_of(pair, split=True)
    viewer = proxy_of(pair, level="operator")

    def found(way: dict[str, Any]) -> list[str]:
        findings = rb.preflight(**pair.given, **way).findings
        ours = [finding for finding in findings if finding.code == "redirect_failed"]
        assert all(finding.server.startswith("HAProxy ") for finding in ours)
        assert {finding.level for finding in ours} <= {"blocker"}
        return [finding.found for finding in ours]

    assert found(through(fine)) == []
    by_tcp = {"haproxy": {"sockets": [fine.tcp_socket]}}
    assert found({"redirect": by_tcp}) == []
    by_name = {"source_servers": ["redis/old"], "target_servers": ["redis/new"]}
    assert found(through(fine, **by_name)) == []
    assert found(through(viewer)) == ["its socket may not change anything"]
    assert found(through(split)) == ["which frontends lead to its backend redis can't be told"]
    assert found(through(split, frontends=["clients"])) == []
    assert found(through(split, frontends=["client"]))[-1] == "there is no client"
    assert "none of its servers" in found(through(fine, backends=["other"]))[0]
    nowhere = {"haproxy": {"sockets": [str(tmp_path / "nothing")]}}
    assert "can't be reached" in found({"redirect": nowhere})[0]
    fine.command("set server redis/old state maint")
    assert found(through(fine)) == ["its server redis/old is down or in maintenance"]
    fine.command("set maxconn frontend redis 0")
    assert found(through(fine))[-1] == "its frontend redis lets nobody in"
    [warned] = [
        finding
        for finding in rb.preflight(**pair.given, **through(proxy_of(pair, name=REFUSES))).findings
        if finding.code == "redirect_failed"
    ]
    assert (warned.level, "2726" in warned.found) == ("warning", True)
    pair.follow()
    with pytest.raises(rb.Refused) as refused:
        rb.switchover(**pair.given, **through(fine))
    assert (refused.value.reason, refused.value.state) == ("redirect_failed", "unchanged")


@pytest.mark.parametrize(
    "wish",
    [
        "haproxy",
        {"haproxy": {}},
        {"haproxy": {"sockets": []}},
        {"haproxy": {"sockets": ["here"]}},
        {"haproxy": {"sockets": ["/run/haproxy.sock"], "socket": "x"}},
    ],
)
def test_a_wish_that_can_not_be_meant(wish: Any) -> None:  # noqa: ANN401
    with pytest.raises(rb.InvalidInput, match="redirect: "):
        rb.preflight(source="redis://127.0.0.1:1", target="redis://127.0.0.1:2", redirect=wish)


@pytest.mark.parametrize("one", [False, True])
def test_one_that_dies_in_the_pause_is_no_loss(pair: Pair, proxy_of: Proxies, one: bool) -> None:
    """Clients of the other one are let in again, at the server that serves as before."""
    stays, dies = proxy_of(pair, one=one), proxy_of(pair, one=one)
    pair.follow()
    before = state(stays)
    with (
        Load(port=stays.port, rate=2000) as load,
        Gate(pair.source.port, PAUSE, meanwhile=dies.kill) as gate,
    ):
        given = Given(**{**pair.given, "source": f"redis://127.0.0.1:{gate.port}"})
        with pytest.raises(rb.BatonError) as raised:
            rb.switchover(**given, **through(stays, dies))
        assert (raised.value.reason, raised.value.state) == ("redirect_failed", "undone")
        assert state(stays) == before
        assert pair.roles == ("master", "slave")
        assert "can't be reached" in str(raised.value)
        dies.start()
        assert rb.switchover(**pair.given, **through(stays, dies)).warm
        report = load.stop()
    assert (report.lost, report.errors, report.refused_connects) == (0, {}, 0)
    assert served_through(dies) == served_through(stays) == pair.target.port


def killed_at(gate: Gate, given: Given, **wishes: Any) -> list[int]:  # noqa: ANN401
    """Kill a controller when it has come to the gate; return its guards' processes."""
    with Controller("switchover", {**given, "pause_budget": 20.0, **wishes}) as controller:
        assert gate.reached.wait(20)
        guards = controller.guards
        controller.kill()
    return guards


def test_a_guard_lets_clients_in_at_the_promoted_one(pair: Pair, proxy_of: Proxies) -> None:
    proxy = proxy_of(pair)
    pair.follow()
    with (
        Load(port=proxy.port, rate=2000) as load,
        Gate(pair.target.port, PROMOTION) as gate,
    ):
        given = Given(**{**pair.given, "target": f"redis://127.0.0.1:{gate.port}"})
        guards = killed_at(gate, given, **through(proxy))
        eventually(lambda: not any(map(lives, guards)), "the guard has ended")
        assert served_through(proxy) == pair.target.port
        assert rb.switchover(**given, **through(proxy)).changed is False
        report = load.stop()
    assert (report.lost, report.errors, report.refused_connects) == (0, {}, 0)
    assert report.disconnects_per_connection == {1: 16}


@pytest.mark.parametrize("one", [False, True])
def test_killed_while_clients_are_held(pair: Pair, proxy_of: Proxies, one: bool) -> None:
    """The guard lets them in again; where that is gone too, the rerun does."""
    proxy = proxy_of(pair, one=one)
    pair.follow()
    before = state(proxy)
    with Gate(pair.source.port, DEMOTION) as gate:
        given = Given(**{**pair.given, "source": f"redis://127.0.0.1:{gate.port}"})
        guards = killed_at(gate, given, **through(proxy))
        eventually(lambda: not any(map(lives, guards)), "the guard has ended")
        assert state(proxy) == before
        assert served_through(proxy) == pair.source.port
        assert records_of(pair)[-1]["record"] == "guarded"
    with Gate(pair.source.port, DEMOTION) as gate:
        given = Given(**{**pair.given, "source": f"redis://127.0.0.1:{gate.port}"})
        assert killed_at(gate, given, guard=False, **through(proxy)) == []
        assert state(proxy) != before
        # Who wants the old one to serve gets that.
        back = rb.rollback(**given)
        assert (back.changed, back.serving, state(proxy)) == (
            True,
            f"127.0.0.1:{gate.port}",
            before,
        )
        assert rb.rollback(**given).changed is False
    with Gate(pair.source.port, DEMOTION) as gate:
        given = Given(**{**pair.given, "source": f"redis://127.0.0.1:{gate.port}"})
        assert killed_at(gate, given, guard=False, **through(proxy)) == []
        assert state(proxy) != before
        gate.open()
        assert rb.preflight(**given, **through(proxy)).ok
        assert rb.switchover(**given, **through(proxy)).warm
    assert served_through(proxy) == pair.target.port


@pytest.mark.parametrize(("one", "name"), [(False, REFUSES), (True, NAME)])
def test_one_that_was_started_anew_is_told_again(
    pair: Pair, proxy_of: Proxies, one: bool, name: str
) -> None:
    """Between the two transactions it comes back as its file says: open, and to the old one."""
    proxy = proxy_of(pair, name=name, one=one, check=False)
    pair.follow()

    def anew() -> None:
        proxy.kill()
        proxy.start()

    with Gate(pair.target.port, PROMOTION, meanwhile=anew) as gate:
        given = Given(**{**pair.given, "target": f"redis://127.0.0.1:{gate.port}"})
        assert rb.switchover(**given, **through(proxy)).warm
    assert served_through(proxy) == pair.target.port
