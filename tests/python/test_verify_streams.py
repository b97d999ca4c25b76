"""`verify` with `level="full"`, by the streams that a replica would be sent."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import redis_baton as rb
from redis_baton import Failed, Refused

from tests.python.common import Given, Pair, config_of, fails, put
from tests.support import dataset, differences
from tests.support.load import Load
from tests.support.servers import Instance, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import ServerFactory
    from tests.support.certificates import Certificates

FULL: Any = {"level": "full", "by": "streams"}
# Without it both wait for five seconds, in case that more replicas come.
AT_ONCE: Any = {"repl_diskless_sync_delay": 0}
PAIRS = [
    ("redis-7.0", "redis-8.0"),
    ("redis-6.0", "redis-7.0"),
    ("redis-7.0", "valkey-8.1"),
    ("redis-8.0", "redis-8.6"),
    ("valkey-8.1", "valkey-9.1"),
    ("valkey-9.1", "valkey-9.1"),
]


@pytest.fixture
def quick(server: ServerFactory, journal_dir: Path) -> Pair:
    """Start a pair that does not wait for more replicas."""
    return Pair(server("redis-7.0", **AT_ONCE), server("redis-8.0", **AT_ONCE), journal_dir)


def replicas_of(server: Instance) -> int:
    """Return how many replicas it knows, in whatever state."""
    listed = server.call("CLIENT", "LIST", "TYPE", "replica")
    return max(len(listed.splitlines()), int(server.info("replication")["connected_slaves"]))


def nothing_left(pair: Pair) -> None:
    """See that the source has one replica and the target none."""
    eventually(lambda: replicas_of(pair.source) == 1, "the source has its replica alone")
    eventually(lambda: replicas_of(pair.target) == 0, "the target has no replica")


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_every_type_and_every_difference(
    server: ServerFactory, journal_dir: Path, old: str, new: str
) -> None:
    pair = Pair(server(old, **AT_ONCE), server(new, **AT_ONCE), journal_dir)
    injected = differences.known(pair.source, pair.target)
    with pair.source.client() as client:
        keys = dataset.fill(client, keys=2000).total
    differences.prepare(pair.source, injected)
    pair.follow(0)
    before = [config_of(one) for one in (pair.source, pair.target)]
    result = rb.verify(**pair.given, **FULL)
    assert (result.equal, result.differing, result.unsettled) == (True, 0, 0)
    assert (result.not_comparable, result.differences) == ({}, [])
    # Two of the differences are keys that only the target will have.
    assert result.compared == keys + len(injected) - 2

    differences.change(pair.target, injected)
    result = rb.verify(**pair.given, **FULL, max_differences=1000, fail=False)
    assert (result.equal, result.differing, result.unsettled) == (False, len(injected), 0)
    named = [line for line in result.differences if line.startswith("key ")]
    for difference in injected:
        assert any(f'"{difference.key}"' in line for line in named), difference.name
    assert len(named) == len(injected)
    nothing_left(pair)
    pair.target.call("CONFIG", "SET", "replica-read-only", "yes")
    assert [config_of(one) for one in (pair.source, pair.target)] == before
    assert (result.changed, result.actions, result.warnings) == (False, [], [])


def test_an_account_that_may_set_nothing_compares_all_the_same(quick: Pair) -> None:
    quick.follow(50)
    for one in (quick.source, quick.target):
        one.call("ACL", "SETUSER", "looks", "on", ">secret", "~*", "+@all", "-config|set")
    source, target = (
        rb.Endpoint(one.host, one.port, user="looks", password="secret")
        for one in (quick.source, quick.target)
    )
    result = rb.verify(source=source, target=target, journal_dir=quick.journal_dir, **FULL)
    assert (result.compared, result.equal, result.changed, result.warnings) == (50, True, False, [])


def test_differences_beyond_those_wished_are_counted(quick: Pair) -> None:
    quick.follow(500)
    quick.target.call("CONFIG", "SET", "replica-read-only", "no")
    with quick.target.client() as client:
        for n in range(0, 500, 5):
            client.append(f"key:{n}", "!")
    with fails(Refused, "values_differ", quick.source, quick.target):
        rb.verify(**quick.given, **FULL, max_differences=3)
    result = rb.verify(**quick.given, **FULL, max_differences=3, fail=False)
    assert (result.differing, len(result.differences), result.compared) == (100, 3, 500)


def test_a_load_makes_no_differences(quick: Pair) -> None:
    put(quick.source, 500)
    with Load(port=quick.source.port, rate=5000):
        quick.follow(0)
        for _ in range(2):
            result = rb.verify(**quick.given, **FULL)
            assert (result.equal, result.differing, result.unsettled) == (True, 0, 0)
            assert result.compared >= 500
        quick.target.call("CONFIG", "SET", "replica-read-only", "no")
        quick.target.call("SET", "key:7", "otherwise")
        result = rb.verify(**quick.given, **FULL, fail=False)
        assert result.differing == 1
        assert 'key "key:7"' in "".join(result.differences)


@pytest.mark.parametrize("by", ["streams", "reads"])
def test_what_a_replica_may_have_otherwise_is_no_difference(quick: Pair, by: Any) -> None:  # noqa: ANN401  (one of two)
    """To read one's history again counts as a delivery on the master alone."""
    for command in (
        ("XADD", "stream", "1-1", "field", "value"),
        ("XGROUP", "CREATE", "stream", "group", "0"),
        ("XREADGROUP", "GROUP", "group", "one", "STREAMS", "stream", ">"),
    ):
        quick.source.call(*command)
    quick.follow(0)
    quick.source.call("XREADGROUP", "GROUP", "group", "one", "STREAMS", "stream", "0")
    assert rb.verify(**quick.given, level="full", by=by).equal


@pytest.mark.parametrize("by", ["streams", "reads"])
def test_libraries_of_functions_are_compared(quick: Pair, by: Any) -> None:  # noqa: ANN401  (one of two)
    def library(name: str, answer: int) -> str:
        body = f"redis.register_function('{name}', function() return {answer} end)"
        return f"#!lua name={name}\n{body}"

    for name in ("same", "other", "gone"):
        quick.source.call("FUNCTION", "LOAD", library(name, 1))
    quick.follow(0)
    assert rb.verify(**quick.given, level="full", by=by).equal
    quick.target.call("CONFIG", "SET", "replica-read-only", "no")
    quick.target.call("FUNCTION", "LOAD", "REPLACE", library("other", 2))
    quick.target.call("FUNCTION", "DELETE", "gone")
    result = rb.verify(**quick.given, level="full", by=by, fail=False)
    assert (result.equal, result.differing) == (False, 2)
    assert [line.split()[1] for line in result.differences] == ['"gone"', '"other"']


def test_over_tls_with_a_login_and_from_disk(
    server: ServerFactory, journal_dir: Path, certificates: Certificates
) -> None:
    """A source without diskless replication says the length of its data beforehand."""
    old, new = (
        server(name, password="hunter2", tls=certificates, repl_diskless_sync=diskless, **AT_ONCE)
        for name, diskless in (("redis-7.0", False), ("redis-8.0", True))
    )
    for one in (old, new):
        one.call("ACL", "SETUSER", "compare", "on", ">secret", "~*", "+@all")
    # By the name in the certificate or by none.
    source, target = (
        rb.Endpoint(
            one.host,
            one.port,
            user="compare",
            password="secret",
            tls=True,
            ca_certs=ca_certs,
            validate_certs=ca_certs is not None,
        )
        for one, ca_certs in ((old, str(certificates.ca)), (new, None))
    )
    given = Given(source=source, target=target, journal_dir=journal_dir)
    put(old, 200)
    rb.replicate(**given)
    rb.wait_synced(**given)
    assert rb.verify(**given, **FULL).compared == 200
    for one in (old, new):
        one.call("ACL", "SETUSER", "compare", "-psync")
    with fails(Refused, "permission_denied", old, new) as caught:
        rb.verify(**given, **FULL)
    assert "+psync" in caught.message


def lighter(server: Instance) -> tuple[str, str]:
    """Return what is set on a replica while it is compared."""
    config = config_of(server)
    return config["rdbcompression"], config["repl-diskless-sync-delay"]


def test_it_can_be_interrupted_and_leaves_nothing(pair: Pair) -> None:
    """The source waits for five seconds before it sends anything; its replica is not to."""
    pair.follow()
    seen: list[Any] = []

    def stop(event: Any) -> None:  # noqa: ANN401  (of any shape)
        if event["event"] == "comparing":
            seen.extend((replicas_of(pair.source), lighter(pair.source), lighter(pair.target)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rb.verify(**pair.given, **FULL, on_event=stop)
    assert seen == [2, ("yes", "5"), ("no", "0")]
    assert lighter(pair.target) == ("yes", "5")
    nothing_left(pair)


def killed_while_it_compares(pair: Pair) -> None:
    """Let a controller compare, and kill it when the target's settings are other ones."""
    program = "import sys, redis_baton as rb; rb.verify(**eval(sys.argv[1]))"
    given = {**FULL, "source": pair.source.url, "target": pair.target.url}
    given["journal_dir"] = str(pair.journal_dir)
    with subprocess.Popen([sys.executable, "-c", program, repr(given)]) as controller:
        eventually(lambda: lighter(pair.target) == ("no", "0"), "it compares")
        controller.kill()
    assert lighter(pair.target) == ("no", "0")


def test_what_a_killed_controller_left_is_put_back_by_the_next(pair: Pair) -> None:
    pair.follow(10)
    killed_while_it_compares(pair)
    done = rb.verify(**pair.given)
    assert (done.equal, done.changed, done.level) == (True, True, "sample")
    assert lighter(pair.target) == ("yes", "5")


def test_what_a_killed_controller_left_is_not_saved_by_a_switchover(pair: Pair) -> None:
    pair.follow(10)
    killed_while_it_compares(pair)
    rb.switchover(**pair.given)
    assert lighter(pair.target) == ("yes", "5")
    assert pair.target.config_file is not None
    saved = pair.target.config_file.read_text()
    assert "rdbcompression no" not in saved
    assert "repl-diskless-sync-delay 0" not in saved


def test_what_a_killed_controller_left_is_not_promoted(pair: Pair) -> None:
    pair.follow(10)
    killed_while_it_compares(pair)
    rb.promote(**pair.given, force=True)
    assert pair.target.role == "master"
    assert lighter(pair.target) == ("yes", "5")


def test_who_stops_it_at_once_leaves_nothing(pair: Pair) -> None:
    pair.follow(10)

    def stop(event: Any) -> None:  # noqa: ANN401  (of any shape)
        if event["event"] == "action":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rb.verify(**pair.given, **FULL, on_event=stop)
    assert lighter(pair.target) == ("yes", "5")


@pytest.mark.parametrize("by", ["streams", "reads"])
def test_servers_that_close_idle_connections(quick: Pair, by: Any) -> None:  # noqa: ANN401  (one of two)
    """What takes longer than their `timeout` ends well, with keys to look at again and without."""
    quick.follow(1500)
    quick.source.call("XADD", "stream", "*", "field", "value")
    quick.target.call("CONFIG", "SET", "rdb-key-save-delay", "3000")
    for one in (quick.source, quick.target):
        one.call("CONFIG", "SET", "timeout", "1")
    before = config_of(quick.target)
    result = rb.verify(**quick.given, level="full", by=by, rate=250)
    assert (result.equal, result.changed, result.warnings) == (True, False, [])
    assert result.elapsed > 2
    assert config_of(quick.target) == before


@pytest.mark.parametrize(("dies", "state"), [("source", "unchanged"), ("target", "interrupted")])
def test_a_server_that_dies_on_the_way(quick: Pair, dies: str, state: str) -> None:
    """What is set on the target is put back, if it is still there."""
    with quick.source.client() as client:
        dataset.fill(client, keys=20_000)
    quick.follow(0)
    dead, alive = (quick.source, quick.target)[:: 1 if dies == "source" else -1]
    # Its child waits after each key.
    dead.call("CONFIG", "SET", "rdb-key-save-delay", "1000")
    before = config_of(alive)
    dying = threading.Thread(target=_kill_when_it_sends, args=(dead,))
    dying.start()
    try:
        with pytest.raises(Failed) as caught:
            rb.verify(**quick.given, **FULL)
    finally:
        dying.join()
    assert (caught.value.reason, caught.value.state) == ("connection_lost", state)
    assert config_of(alive) == before
    eventually(lambda: replicas_of(alive) == 0, "the other one has forgotten us")


def _kill_when_it_sends(server: Instance) -> None:
    def sends() -> bool:
        return bool(server.info("persistence")["rdb_bgsave_in_progress"])

    eventually(sends, f"{server} sends its data", within=20)
    server.kill()


UNREADABLE = ("stream_unreadable", "at byte")
HEAD = b"+FULLRESYNC " + b"a" * 40 + b" 1\r\n$EOF:" + b"e" * 40 + b"\r\nREDIS0011"


@contextmanager
def between(server: Instance, answer: bytes) -> Iterator[int]:
    """Listen on a port, and pass everything on to the server but PSYNC, which gets that answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        over = threading.Event()

        def serve(client: socket.socket) -> None:
            with client, socket.create_connection((server.host, server.port)) as upstream:
                back = threading.Thread(target=_pass_on, args=(upstream, client))
                back.start()
                while data := client.recv(1 << 16):
                    if b"PSYNC" in data:
                        client.sendall(answer)
                        break
                    upstream.sendall(data)
                upstream.shutdown(socket.SHUT_RDWR)
                back.join()

        def accept() -> None:
            while not over.is_set():
                try:
                    client, _ = listener.accept()
                except TimeoutError:
                    continue
                threading.Thread(target=serve, args=(client,), daemon=True).start()

        listener.settimeout(0.1)
        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            accepting.join()


def _pass_on(upstream: socket.socket, client: socket.socket) -> None:
    try:
        while data := upstream.recv(1 << 16):
            client.sendall(data)
    except OSError:
        pass


@pytest.mark.parametrize(
    ("what", "answer", "reason", "said"),
    [
        ("no RDB", HEAD.replace(b"REDIS0011", b"HTTP/1.1 200"), "stream_unreadable", "at byte 9"),
        ("a type that nobody knows", HEAD + b"\x64\x01k", "stream_unreadable", "type 100"),
        ("compressed text that lies", HEAD + b"\0\x01k\xc3\x03\x14\x20\0\0", *UNREADABLE),
        ("another checksum", HEAD + b"\xff12345678", "stream_unreadable", "checksum"),
        ("another end", HEAD + b"\xff" + b"\0" * 8 + b"f" * 40, *UNREADABLE),
        ("an end too early", HEAD + b"\0\x01k\x0avalue", "connection_lost", "after 13 bytes"),
        ("another reply", b"+CONTINUE\r\n", "stream_unreadable", "+CONTINUE"),
        ("a refusal", b"-LOADING loading\r\n", "loading", "loading"),
        ("a line without an end", b"+" * 9000, "connection_lost", "broke"),
    ],
)
def test_an_answer_that_is_none(
    quick: Pair, what: str, answer: bytes, reason: str, said: str
) -> None:
    """What lies between us and the source can send anything."""
    quick.follow(20)
    with between(quick.source, answer) as port:
        given = quick.given | {"source": rb.Endpoint("127.0.0.1", port)}
        with pytest.raises(rb.BatonError) as caught:
            rb.verify(**given, **FULL)
    assert (caught.value.reason, caught.value.state) == (reason, "unchanged"), what
    assert said in str(caught.value), what
