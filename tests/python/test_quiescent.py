"""Whether the source is still used: `wait_quiescent`, and `promote`, which depends on it."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Callable

import pytest
import redis
import redis_baton as rb
from redis_baton import Refused, TimedOut

from tests.python.common import SECRET, Given, connected_to, fails, state_of
from tests.support.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import ServerFactory
    from tests.python.common import Pair
    from tests.python.conftest import PairFactory
    from tests.support.certificates import Certificates
    from tests.support.servers import Instance

# One that does not count commands by connection, and one that does.
PAIRS = [("redis-7.0", "redis-8.0"), ("valkey-8.1", "valkey-9.1")]


def test_promote(pair: Pair) -> None:
    pair.follow()
    ports = pair.ports
    before = state_of(pair.target)
    dry = rb.promote(**pair.given, dry_run=True)
    assert (dry.changed, dry.promoted) == (True, False)
    assert state_of(pair.target) == before
    done = rb.promote(**pair.given)
    assert (done.changed, done.promoted) == (True, True)
    assert (pair.roles, pair.ports) == (("master", "master"), ports)
    again = rb.promote(**pair.given)
    assert (again.changed, again.promoted) == (False, True)


def test_promote_while_the_source_is_in_use(pair: Pair, writer: Callable[[Instance], None]) -> None:
    pair.follow()
    writer(pair.source)
    with fails(Refused, "source_in_use") as caught:
        rb.promote(**pair.given)
    assert "the-writer" in caught.message
    assert pair.roles == ("master", "slave")
    assert rb.promote(**pair.given, force=True).promoted
    assert pair.target.role == "master"


def test_wait_quiescent_says_who_still_writes(
    pair: Pair, writer: Callable[[Instance], None]
) -> None:
    pair.follow()
    writer(pair.source)
    with fails(TimedOut, "not_quiet") as caught:
        rb.wait_quiescent(**pair.given, quiet_for=0.5, wait_timeout=0.5)
    assert "the-writer" in caught.message
    assert "incrby" in caught.message
    looked = rb.wait_quiescent(**pair.given, quiet_for=0.5, dry_run=True)
    assert not looked.quiet
    assert looked.commands["incrby"] > 0
    assert [client.name for client in looked.active] == ["the-writer"]
    with fails(Refused, "only_copy"):
        rb.retire(**pair.given)


def test_too_short_a_wait_is_not_taken_for_traffic(pair: Pair) -> None:
    with fails(TimedOut, "not_quiet") as caught:
        rb.wait_quiescent(**pair.given, quiet_for=30, wait_timeout=0.2)
    assert "application commands" not in caught.message
    assert caught.error.remedy == "give a longer wait_timeout"


@contextmanager
def stream(server: Instance, key: str) -> Iterator[None]:
    """Write all the time, which a replica of that server gets too."""
    stop = threading.Event()

    def write() -> None:
        with server.client() as client:
            while not stop.wait(0.001):
                client.incr(key)

    thread = threading.Thread(target=write)
    thread.start()
    yield
    stop.set()
    thread.join()


@contextmanager
def first_then(server: Instance, then: Callable[[], None]) -> Iterator[Callable[[Any], None]]:
    """Ask something until the first event that somebody was seen; do `then` once.

    What is sent before the first look can't be seen.
    """
    stop = threading.Event()

    def knock() -> None:
        with server.client() as client:
            while not stop.wait(0.01):
                client.exists("a-knock")

    def on_event(event: dict[str, Any]) -> None:
        if event["event"] == "waiting" and not stop.is_set():
            stop.set()
            thread.join()
            then()

    thread = threading.Thread(target=knock)
    thread.start()
    yield on_event
    stop.set()
    thread.join()


@pytest.mark.parametrize("pair_names", PAIRS, ids=" to ".join)
def test_what_is_sent_is_counted_to_the_command(
    pair_of: PairFactory, pair_names: tuple[str, str]
) -> None:
    pair = pair_of(*pair_names)
    pair.follow()

    def client(name: str) -> redis.Redis:
        return redis.Redis(port=pair.source.current_port, client_name=name)

    def write() -> None:
        with client("writer") as app:
            for n in range(25):
                app.set(f"a:{n}", n)
            app.mget("a:1", "a:2")
            app.ping()
        sentinel.publish("__sentinel__:hello", "as a sentinel does")

    with client("sentinel-1-cmd") as sentinel, first_then(pair.source, write) as on_event:
        sentinel.ping()
        done = rb.wait_quiescent(**pair.given, quiet_for=0.4, on_event=on_event)
    assert done.quiet
    assert done.quiet_seconds >= 0.4
    commands = done.commands
    assert commands.pop("exists") > 0
    assert commands == {"set": 25, "mget": 1}

    def read() -> None:
        with client("reader") as app:
            for _ in range(7):
                app.get("a:1")
            for _ in range(3):
                with pytest.raises(redis.ReadOnlyError):
                    app.set("a:1", 1)

    # On a replica the stream is counted together with what clients send.
    rb.switchover(**pair.given)
    with stream(pair.target, "counter"), first_then(pair.source, read) as on_event:
        done = rb.wait_quiescent(**pair.given, quiet_for=0.4, on_event=on_event)
    assert done.quiet
    commands = done.commands
    assert commands.pop("exists") > 0
    assert commands == {"get": 7, "set": 3}


def test_each_client_is_told_with_its_number(pair_of: PairFactory) -> None:
    pair = pair_of("valkey-8.1", "valkey-9.1")
    pair.follow()
    with redis.Redis(port=pair.source.port, client_name="app-1") as app:
        app.ping()

        def send() -> None:
            for n in range(12):
                app.set(f"a:{n}", n)

        with first_then(pair.source, send) as on_event:
            done = rb.wait_quiescent(**pair.given, quiet_for=0.3, on_event=on_event)
    (client,) = [client for client in done.active if client.name == "app-1"]
    assert (client.calls, client.command, client.user) == (12, "set", "default")
    assert client.library.startswith("redis-py")
    assert client.commands == {}


def monitors(server: Instance) -> list[str]:
    return [one["addr"] for one in connected_to(server) if "O" in one["flags"]]


@contextmanager
def secretive(server: Instance, **login: Any) -> Iterator[None]:  # noqa: ANN401 # as redis-py takes it
    """Write what nobody may read, as `app-1` over TCP, all the time."""
    stop, begun = threading.Event(), threading.Event()

    def write() -> None:
        with redis.Redis(port=server.current_port, client_name="app-1", **login) as app:
            while not stop.wait(0.001):
                app.set("a", SECRET)
                app.eval("return redis.call('get', KEYS[1])", 1, "a")
                begun.set()

    thread = threading.Thread(target=write)
    thread.start()
    assert begun.wait(10)
    yield
    stop.set()
    thread.join()


def test_monitor_shows_who_sends_what_and_nothing_of_it(pair: Pair) -> None:
    pair.follow()
    events: list[dict[str, Any]] = []
    with secretive(pair.source):
        looked = rb.wait_quiescent(
            **pair.given, monitor=20, monitor_lines=60, dry_run=True, on_event=events.append
        )
        with pytest.raises(TimedOut) as raised:
            rb.wait_quiescent(
                **pair.given, monitor=0.3, quiet_for=0.1, wait_timeout=0.1, on_event=events.append
            )
    (client,) = looked.active
    assert client.name == "app-1"
    assert set(client.commands) == {"set", "eval"}
    assert 30 < sum(client.commands.values()) <= 60
    (warning,) = looked.warnings
    assert "MONITOR ended after 60 lines" in warning
    assert next(event for event in events if event["event"] == "monitor")["cost"]
    assert f"{client.address} app-1 (" in str(raised.value)
    assert " set" in str(raised.value)
    assert SECRET not in f"{looked} {raised.value} {events}"
    eventually(lambda: monitors(pair.source) == [], "MONITOR has ended")


def test_monitor_over_tls_with_a_login_and_without_permission(
    server: ServerFactory, certificates: Certificates, journal_dir: Path
) -> None:
    source, target = (server(name, tls=certificates) for name in ("redis-7.0", "redis-8.0"))
    for one in (source, target):
        one.call("ACL", "SETUSER", "ops", "on", f">{SECRET}", "~*", "&*", "+@all", "-monitor")

    def given(user: str | None) -> Given:
        login: Any = {"user": user, "password": SECRET} if user else {}
        ca = str(certificates.ca)

        def end(one: Instance) -> rb.Endpoint:
            return rb.Endpoint(port=one.port, tls=True, ca_certs=ca, **login)

        return Given(source=end(source), target=end(target), journal_dir=journal_dir)

    with fails(Refused, "permission_denied", source, target) as caught:
        rb.wait_quiescent(**given("ops"), monitor=0.2, quiet_for=0.1)
    assert "MONITOR" in caught.message
    for one in (source, target):
        one.call("ACL", "SETUSER", "ops", "+monitor")
    with secretive(source, ssl=True, ssl_ca_certs=str(certificates.ca)):
        looked = rb.wait_quiescent(**given("ops"), monitor=5, monitor_lines=20, dry_run=True)
    assert [set(client.commands) for client in looked.active if client.name == "app-1"] == [
        {"set", "eval"}
    ]
    eventually(lambda: monitors(source) == [], "MONITOR has ended")
