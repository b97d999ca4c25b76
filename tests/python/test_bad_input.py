"""Each bad input is refused with one clear sentence and a stable reason, and changes nothing."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any, Callable

import pytest
import redis_baton as rb
from redis_baton import ConnectionFailed, Refused

from tests.python.common import SECRET, Given, Pair, fails, journals_of, put, state_of
from tests.support.ports import release_block, reserve_block
from tests.support.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import ServerFactory
    from tests.python.conftest import PairFactory
    from tests.support.certificates import Certificates
    from tests.support.servers import Instance

STEPS: list[Callable[..., object]] = [
    rb.preflight,
    rb.replicate,
    rb.wait_synced,
    rb.verify,
    rb.switchover,
    rb.clients,
    rb.wait_quiescent,
    rb.promote,
    rb.retire,
    rb.rollback,
    rb.upgrade,
]
# To watch the source no target is needed, and what a master is needs no source to tell.
DO_WITHOUT: list[tuple[Callable[..., object], str]] = [
    (rb.wait_quiescent, "target"),
    (rb.promote, "source"),
]
every_step = pytest.mark.parametrize("step", STEPS, ids=lambda step: str(step.__name__))


def refused_by_all(pair: Pair, reason: str, **wishes: Any) -> str:  # noqa: ANN401 # any parameter
    """Expect the preflight to find it and the steps that change something to refuse it."""
    before = state_of(pair.source), state_of(pair.target)
    found = rb.preflight(**pair.given, **wishes)
    assert not found.ok
    blocker = found.findings[0]
    assert (blocker.level, blocker.code) == ("blocker", reason)
    assert (state_of(pair.source), state_of(pair.target)) == before
    with fails(Refused, reason, pair.source, pair.target):
        rb.replicate(**pair.given, **wishes)
    with fails(Refused, reason, pair.source, pair.target):
        rb.upgrade(**pair.given, **wishes, dry_run=True)
    with fails(Refused, reason, pair.source, pair.target) as caught:
        rb.upgrade(**pair.given, **wishes)
    assert blocker.found in caught.message
    assert caught.error.server == blocker.server
    assert not journals_of(pair)
    return caught.message


@pytest.fixture
def nobody() -> Iterator[int]:
    """Return a port that is bound, and where nothing listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@every_step
def test_a_wrong_port(step: Callable[..., object], pair: Pair, nobody: int) -> None:
    for name in ("source", "target"):
        if (step, name) in DO_WITHOUT:
            continue
        wrong = {**pair.given, name: f"redis://:{SECRET}@127.0.0.1:{nobody}"}
        with fails(ConnectionFailed, "unreachable", pair.source, pair.target) as caught:
            step(**wrong)
        assert caught.error.server == f"{name} 127.0.0.1:{nobody}"


def test_an_unknown_host(pair: Pair) -> None:
    for name in ("source", "target"):
        wrong: Any = {**pair.given, name: f"redis://:{SECRET}@no-such-host.invalid:7000"}
        with fails(ConnectionFailed, "host_unknown", pair.source, pair.target) as caught:
            rb.upgrade(**wrong)
        assert "no-such-host.invalid" in caught.message


def test_a_host_that_never_answers(pair: Pair) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(5)
        port = silent.getsockname()[1]
        for tls, reason in ((False, "no_answer"), (True, "tls_failed")):
            target = rb.Endpoint(port=port, tls=tls, connect_timeout=0.3)
            began = time.monotonic()
            with fails(ConnectionFailed, reason, pair.source):
                rb.upgrade(source=pair.source.url, target=target, journal_dir=pair.journal_dir)
            assert 0.2 < time.monotonic() - began < 1.5


def test_something_else_than_redis_answers(pair: Pair) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)
        port = listener.getsockname()[1]

        def web_server() -> None:
            for _ in range(2):  # the step, and its look at what it was that answered
                peer, _ = listener.accept()
                peer.recv(1000)
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                peer.close()

        thread = threading.Thread(target=web_server)
        thread.start()
        with fails(ConnectionFailed, "not_redis", pair.source):
            rb.preflight(
                source=pair.source.url,
                target=f"redis://127.0.0.1:{port}",
                journal_dir=pair.journal_dir,
            )
        thread.join()


def test_one_that_takes_no_more_clients(pair: Pair) -> None:
    pair.source.call("CONFIG", "SET", "maxclients", 1)
    with (
        socket.create_connection(("127.0.0.1", pair.source.port)),
        pytest.raises(ConnectionFailed) as failed,
    ):
        rb.status(**pair.given)
    assert failed.value.reason == "no_answer"
    assert "maxclients" in str(failed.value)


@pytest.mark.parametrize("name", ["source", "target"])
def test_a_wrong_password(server: ServerFactory, journal_dir: Path, name: str) -> None:
    servers = {"source": server("redis-7.0", password="right"), "target": server("redis-8.0")}
    if name == "target":
        servers = {"source": server("redis-7.0"), "target": server("redis-8.0", password="right")}
    logins = [f":{SECRET}@", "", f"nobody:{SECRET}@"]
    for login in logins:
        urls = {side: one.url for side, one in servers.items()}
        urls[name] = f"redis://{login}{servers[name].address}"
        given = Given(source=urls["source"], target=urls["target"], journal_dir=journal_dir)
        with fails(ConnectionFailed, "auth_failed", *servers.values()) as caught:
            rb.upgrade(**given)
        assert caught.error.server == f"{name} {servers[name].address}"
        assert "right" not in caught.message


def test_a_password_where_there_is_none(pair: Pair) -> None:
    given = pair.given
    given["source"] = f"redis://:{SECRET}@{pair.source.address}"
    with fails(ConnectionFailed, "auth_failed", pair.source, pair.target):
        rb.upgrade(**given)


def test_the_source_is_itself_a_replica(pair: Pair, server: ServerFactory) -> None:
    master = server("redis-7.0")
    put(master, 10)
    pair.source.call("REPLICAOF", "127.0.0.1", master.port)
    eventually(lambda: pair.source.info()["master_link_status"] == "up", "the link is up")
    message = refused_by_all(pair, "source_is_replica")
    assert master.address in message


def test_the_target_has_data(pair: Pair) -> None:
    put(pair.source, 10)
    pair.target.call("SET", "mine", "1")
    pair.target.call("SET", "mine", "2", db=3)
    assert "2 keys" in refused_by_all(pair, "target_has_data")

    found = rb.preflight(**pair.given, force=True)
    assert found.ok
    assert [(f.level, f.code) for f in found.findings] == [("warning", "target_has_data")]
    assert pair.target.call("GET", "mine") == "1"
    done = rb.upgrade(**pair.given, force=True, quiet_for=0.1)
    assert done.stage == "switched"
    assert pair.target.call("EXISTS", "mine") == 0
    assert pair.target.call("DBSIZE") == 10


def test_the_target_replicates_from_another(pair: Pair, server: ServerFactory) -> None:
    other = server("redis-7.0")
    pair.target.call("REPLICAOF", "127.0.0.1", other.port)
    eventually(lambda: pair.target.info()["master_link_status"] == "up", "the link is up")
    assert other.address in refused_by_all(pair, "target_follows_other")


@pytest.mark.parametrize("spelling", ["same", "localhost", "ipv6", "unix"])
@every_step
def test_the_same_server_twice(
    step: Callable[..., object], spelling: str, server: ServerFactory, journal_dir: Path
) -> None:
    one = server("redis-7.0")
    again = {
        "same": one.url,
        "localhost": f"redis://localhost:{one.port}",
        "ipv6": f"redis://[::1]:{one.port}",
        "unix": f"unix://{one.unix_socket}",
    }[spelling]
    for source, target in ((one.url, again), (again, one.url)):
        with fails(Refused, "same_server", one) as caught:
            step(source=source, target=target, journal_dir=journal_dir)
        assert "one and the same" in caught.message


@pytest.mark.parametrize(
    ("old", "new"),
    [("redis-8.0", "redis-7.0"), ("redis-8.6", "redis-8.0"), ("redis-8.0", "valkey-8.1")],
)
def test_the_target_reads_only_older_data(pair_of: PairFactory, old: str, new: str) -> None:
    pair = pair_of(old, new)
    put(pair.source, 10)
    message = refused_by_all(pair, "rdb_too_new")
    assert old.partition("-")[2] in message
    assert new.partition("-")[2] in message


def test_a_source_in_cluster_mode(
    server: ServerFactory, journal_dir: Path, free_ports: int
) -> None:
    for cluster in ("source", "target"):
        pair = Pair(
            server("redis-7.0", cluster_enabled=cluster == "source", cluster_port=free_ports),
            server("redis-8.0", cluster_enabled=cluster == "target", cluster_port=free_ports + 1),
            journal_dir,
        )
        assert "cluster mode" in refused_by_all(pair, "cluster_mode")


@pytest.fixture
def sentinel(pair: Pair) -> Iterator[int]:
    """Have a sentinel watch the source; return its port."""
    folder = pair.journal_dir.parent / "sentinel"
    folder.mkdir()
    port = reserve_block()
    config = folder / "sentinel.conf"
    config.write_text(
        f"port {port}\ndir {folder}\nlogfile {folder}/log\n"
        f"sentinel monitor main 127.0.0.1 {pair.source.port} 1\n"
    )
    process = subprocess.Popen([pair.source.binary.server, config, "--sentinel"])
    try:
        eventually(lambda: "name=sentinel-" in str(pair.source.cli("CLIENT", "LIST")), "it watches")
        yield port
    finally:
        process.kill()
        process.wait()
        release_block(port)


def test_a_sentinel_watches(pair: Pair, sentinel: int) -> None:
    put(pair.source, 10)
    assert "watched by Sentinel" in refused_by_all(pair, "sentinel_mode")
    given = pair.given
    given["source"] = f"redis://127.0.0.1:{sentinel}"
    with fails(Refused, "sentinel_mode", pair.source, pair.target) as caught:
        rb.upgrade(**given)
    assert "is a sentinel" in caught.message


def test_tls_against_a_plain_port(pair: Pair) -> None:
    for name in ("source", "target"):
        one: Instance = getattr(pair, name)
        given: Any = {**pair.given, name: rb.Endpoint(port=one.port, tls=True, connect_timeout=1)}
        began = time.monotonic()
        with fails(ConnectionFailed, "tls_failed", pair.source, pair.target) as caught:
            rb.upgrade(**given)
        assert time.monotonic() - began < 1.5
        assert "TLS" in caught.message


def test_plain_against_a_tls_port(
    server: ServerFactory, certificates: Certificates, journal_dir: Path
) -> None:
    source, target = server("redis-7.0", tls=certificates), server("redis-8.0")
    for ends in ((source, target), (target, source)):
        given = [rb.Endpoint(port=one.port, connect_timeout=1) for one in ends]
        began = time.monotonic()
        with fails(ConnectionFailed, "tls_failed", source, target) as caught:
            rb.upgrade(source=given[0], target=given[1], journal_dir=journal_dir)
        assert time.monotonic() - began < 1.5
        assert "TLS" in caught.message


def test_a_certificate_of_a_stranger(
    server: ServerFactory, certificates: Certificates, journal_dir: Path
) -> None:
    source, target = server("redis-7.0", tls=certificates), server("redis-8.0")
    for ca in (None, str(certificates.stranger_ca)):
        endpoint = rb.Endpoint(port=source.port, tls=True, ca_certs=ca, connect_timeout=1)
        with fails(ConnectionFailed, "tls_failed", source, target) as caught:
            rb.upgrade(source=endpoint, target=target.url, journal_dir=journal_dir)
        assert "certificate" in caught.message.lower()
