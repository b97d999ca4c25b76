"""The tools the other tests rely on, on real servers: what checks must be seen to fail, too."""

from __future__ import annotations

import socket
import ssl
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
import redis

from tests.support import ports, servers
from tests.support.dataset import fill, plan, protocol
from tests.support.haproxy import HAProxy, find_haproxy
from tests.support.load import Load, LoadError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ServerFactory
    from tests.support.certificates import Certificates


@pytest.mark.parametrize("name", servers.NAMES)
def test_each_server_runs_and_answers_as_its_version(server: ServerFactory, name: str) -> None:
    instance = server(name)
    flavour, _, version = name.partition("-")
    found = instance.info("server")
    assert found["valkey_version" if flavour == "valkey" else "redis_version"].startswith(version)
    assert instance.cli("PING") == "PONG"
    instance.stop()
    assert not instance.alive


def test_a_server_is_found_by_a_process_wherever_it_listens(server: ServerFactory) -> None:
    instance = server("redis-7.0")
    instance.call("CONFIG", "SET", "port", instance.port + 1)
    assert instance.call("PING")
    assert instance.current_port == instance.port + 1
    with pytest.raises(subprocess.CalledProcessError):
        instance.cli("PING")


def test_config_rewrite_outlives_a_restart(server: ServerFactory) -> None:
    instance = server("redis-7.0", maxmemory_policy="allkeys-lru")
    instance.call("CONFIG", "SET", "hz", 50)
    instance.call("CONFIG", "REWRITE")
    instance.stop()
    instance.start()
    assert instance.call("CONFIG", "GET", "hz") == {"hz": "50"}
    assert instance.call("CONFIG", "GET", "maxmemory-policy") == {"maxmemory-policy": "allkeys-lru"}


def test_without_a_config_file_all_is_on_the_command_line(server: ServerFactory) -> None:
    instance = server("redis-7.0", config_file=False, save="900 1 300 10", hz=20)
    assert instance.call("CONFIG", "GET", "save") == {"save": "900 1 300 10"}
    with pytest.raises(redis.ResponseError, match="without a config file"):
        instance.call("CONFIG", "REWRITE")


def test_acl_users_and_password(server: ServerFactory) -> None:
    instance = server("valkey-8.1", password="secret", user=["app on >app ~app:* +@all", "off off"])
    assert instance.cli("--user", "app", "-a", "app", "ACL", "WHOAMI") == "app"
    assert instance.call("ACL", "WHOAMI") == "default"
    assert instance.url == f"redis://:secret@127.0.0.1:{instance.port}"


def test_tls_with_the_certificates_authority_only(
    server: ServerFactory, certificates: Certificates
) -> None:
    instance = server("redis-7.0", tls=certificates)
    assert instance.cli("PING") == "PONG"
    assert instance.url.startswith("rediss://")
    stranger = ssl.create_default_context(cafile=str(certificates.stranger_ca))
    with (
        socket.create_connection((instance.host, instance.port)) as plain,
        pytest.raises(ssl.SSLError),
    ):
        stranger.wrap_socket(plain, server_hostname="localhost")


def test_a_server_that_cannot_start_says_why(server: ServerFactory) -> None:
    with pytest.raises(RuntimeError, match="Bad directive"):
        server("redis-7.0", no_such_parameter=1)


def test_blocks_of_ports_are_apart() -> None:
    first, second = ports.reserve_block(), ports.reserve_block()
    try:
        assert abs(first - second) >= ports.BLOCK_SIZE
    finally:
        ports.release_block(first)
        ports.release_block(second)


def test_own_binaries_come_before_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "redis-7.0" / "bin" / "redis-server"
    own.parent.mkdir(parents=True)
    own.touch(0o755)
    monkeypatch.setenv("REDIS_BATON_SERVERS", str(tmp_path))
    found = servers.find("redis-7.0")
    assert found is not None
    assert found.server == own
    with pytest.raises(ValueError, match="no server called"):
        servers.find("redis-1.0")


def test_the_data_set_has_every_type_and_is_always_the_same(server: ServerFactory) -> None:
    digests = []
    for _ in range(2):
        instance = server("redis-7.0", enable_debug_command=True)
        with instance.client() as client:
            filled = fill(client, keys=5_000)
            types = {client.type(key) for key in client.scan_iter(count=1000)}
            stream = next(client.scan_iter("stream:*", count=1000))
            pending = instance.call("XPENDING", stream, "readers")
        assert types == {"string", "hash", "list", "set", "zset", "stream"}
        assert pending["pending"] == 2
        digests.append(instance.call("DEBUG", "DIGEST"))
    assert digests[0] == digests[1]
    assert filled == plan(5_000)
    assert filled.keys == {0: 4800, 1: 100, 9: 100}
    assert 0.18 < sum(filled.expires.values()) / filled.total < 0.22


def test_the_data_set_is_also_there_as_text() -> None:
    assert b"".join(protocol(keys=100, now_ms=1)) == b"".join(protocol(keys=100, now_ms=1))


def test_a_load_finds_all_it_wrote(server: ServerFactory) -> None:
    instance = server("redis-7.0")
    with Load(port=instance.port, rate=5_000) as load:
        time.sleep(0.5)
        assert load.mark().acknowledged > 1_000
        time.sleep(0.3)
        report = load.stop()
    assert report.lost == 0
    assert report.wrong == 0
    assert report.acknowledged_incrs > 500
    assert report.disconnects_per_connection == {0: 16}
    assert report.errors == {}
    assert instance.call("DBSIZE") == report.acknowledged_sets + 16


def test_a_load_logs_in(server: ServerFactory) -> None:
    instance = server("redis-7.0", password="secret", user=["app on >app ~* +@all"])
    with Load(port=instance.port, rate=1_000, user="app", password="app") as load:
        time.sleep(0.1)
        assert load.stop().lost == 0


def test_a_load_notices_lost_and_changed_writes(server: ServerFactory) -> None:
    instance = server("redis-7.0")
    with Load(port=instance.port, connections=4, prefix="l") as load, instance.client() as client:
        time.sleep(0.3)
        # Of what is certain to be acknowledged and never written again.
        client.delete("l:0:0", "l:1:7")
        client.set("l:2:3", "another value")
        report = load.stop()
    assert report.lost_sets == 3
    assert report.lost == 3
    assert set(report.lost_examples) == {"l:0:0", "l:1:7", "l:2:3"}


def test_a_load_notices_a_counter_that_is_behind_or_ahead(server: ServerFactory) -> None:
    instance, other = server("redis-7.0", repl_diskless_sync_delay=0), server("redis-7.0")
    with Load(port=instance.port, connections=2, prefix="l", rate=200) as load:
        time.sleep(0.5)
        other.call("REPLICAOF", instance.host, instance.port)
        servers.eventually(
            lambda: other.info("replication")["master_link_status"] == "up", "the link"
        )
        # Writes from here on are missing there; one counter is ahead for good.
        other.call("REPLICAOF", "NO", "ONE")
        other.call("SET", "l:counter:1", 1_000_000)
        time.sleep(0.5)
        report = load.stop(verify_port=other.port)
    assert report.lost_sets
    assert report.lost_incrs
    assert report.surplus_incrs
    assert report.wrong_replies == 0


def test_a_load_counts_disconnects_gaps_and_errors(server: ServerFactory) -> None:
    instance = server("redis-7.0")
    with Load(port=instance.port, rate=2_000) as load:
        time.sleep(0.3)
        at = time.time()
        instance.call("CLIENT", "PAUSE", 200, "WRITE")
        instance.call("CLIENT", "KILL", "TYPE", "normal")
        time.sleep(0.5)
        instance.call("CONFIG", "SET", "min-replicas-to-write", 1)
        time.sleep(0.1)
        instance.call("CONFIG", "SET", "min-replicas-to-write", 0)
        time.sleep(0.2)
        report = load.stop()
    assert report.lost == 0
    assert report.wrong == 0
    # Connections that were between two writes are cut as well: each of the 16 once.
    assert report.disconnects_per_connection == {1: 16}
    assert report.errors.keys() == {"NOREPLICAS"}
    assert 180 < report.longest_gap_ms < 1_000
    assert abs(report.gaps[0].began - at) < 0.25


def test_a_load_outlives_a_crash_and_notices_what_it_cost(server: ServerFactory) -> None:
    instance = server("redis-7.0")
    with Load(port=instance.port, rate=1_000) as load:
        time.sleep(0.2)
        instance.kill()  # it has no persistence
        time.sleep(0.1)
        instance.start()
        time.sleep(0.2)
        report = load.stop()
    assert report.refused_connects > 0
    assert report.lost > 0


def test_haproxy_sends_clients_to_the_master(server: ServerFactory, tmp_path: Path) -> None:
    program = find_haproxy()
    if program is None:
        pytest.skip("HAProxy is not on this machine: tests/support/fetch-servers haproxy-3.0")
    a, b = server("redis-7.0", repl_diskless_sync_delay=0), server("redis-7.0")
    addresses = {"a": a.address, "b": b.address}
    with HAProxy(program, tmp_path / "proxy", addresses, inter="50ms", disabled=["b"]) as proxy:
        assert proxy.serving == ["a"]
        b.call("REPLICAOF", a.host, a.port)
        servers.eventually(lambda: b.info("replication")["master_link_status"] == "up", "the link")
        proxy.enable("b")
        with socket.create_connection((proxy.host, proxy.port), timeout=5) as client:
            client.sendall(b"SET key value\r\n")
            assert client.recv(100) == b"+OK\r\n"
            b.call("REPLICAOF", "NO", "ONE")
            a.call("REPLICAOF", b.host, b.port)
            assert client.recv(100) == b""  # who is connected to the old one is cut
        servers.eventually(lambda: proxy.serving == ["b"], "the new master is found")
        with redis.Redis(port=proxy.port, socket_timeout=5) as again:
            assert again.info("server")["run_id"] == b.info("server")["run_id"]
    assert not proxy.alive


def test_a_load_without_a_server_ends(server: ServerFactory) -> None:
    instance = server("redis-7.0")
    free_port = instance.port + 1
    with Load(port=instance.port, rate=100) as load, pytest.raises(LoadError, match="refused"):
        load.stop(verify_port=free_port)
