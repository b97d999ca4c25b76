"""What the tests of the package share: a pair of servers, and looking at all of what one holds."""

from __future__ import annotations

import json
import pickle
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable, TypedDict

import pytest
import redis
import redis_baton as rb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.servers import Instance

SECRET = "hunter2-is-never-shown"
# What a library's own words about an error look like.
NOISE = ("Traceback", "RedisError", "Os {", "Error {", "Some(", "panicked", "\n", "\t", "  ")


# Not DUMP: its text differs between versions.
READ: dict[bytes, Callable[[Any, bytes], Any]] = {
    b"string": lambda client, key: client.get(key),
    b"hash": lambda client, key: client.hgetall(key),
    b"list": lambda client, key: client.lrange(key, 0, -1),
    b"set": lambda client, key: client.smembers(key),
    b"zset": lambda client, key: client.zrange(key, 0, -1, withscores=True),
    b"stream": lambda client, key: (
        client.xrange(key),
        [(group["name"], group["pending"]) for group in client.xinfo_groups(key)],
    ),
}


class Given(TypedDict):
    """The arguments that every step takes."""

    source: rb.Endpoint | str
    target: rb.Endpoint | str
    journal_dir: Path


@dataclass(frozen=True)
class Pair:
    """Two servers that run, and how to name them to a step: `rb.replicate(**pair.given)`."""

    source: Instance
    target: Instance
    journal_dir: Path

    @property
    def given(self) -> Given:
        """The arguments every step takes."""
        return Given(source=self.source.url, target=self.target.url, journal_dir=self.journal_dir)

    @property
    def roles(self) -> tuple[str, str]:
        """Of source and target."""
        return self.source.role, self.target.role

    @property
    def ports(self) -> tuple[int, int]:
        """Where source and target listen now."""
        return self.source.current_port, self.target.current_port

    def follow(self, keys: int = 200) -> None:
        """Take it to where the target follows and is in sync."""
        put(self.source, keys)
        rb.replicate(**self.given)
        rb.wait_synced(**self.given)

    def switch(self, keys: int = 200) -> rb.Switchover:
        """Take it to where the target serves and the source is warm."""
        self.follow(keys)
        return rb.switchover(**self.given)


def journals_of(pair: Pair) -> list[Path]:
    """Return what a rerun reads, which the chronicle is no part of."""
    return [file for file in pair.journal_dir.iterdir() if ".chronicle." not in file.name]


def records_of(pair: Pair) -> list[dict[str, Any]]:
    """Return the records of the pair's journals, by whatever addresses each was kept."""
    lines = [line for file in journals_of(pair) for line in file.read_text().splitlines()]
    return sorted(map(json.loads, lines), key=lambda record: float(record["at"]))


def assert_probe_saw_no_harm(probe: rb.Probed | None, *errors: str) -> None:
    """See that a probe was there, was cut once, lost nothing and met no other error than these."""
    assert probe is not None
    assert (probe.lost, probe.reconnects) == (0, 2)
    assert set(probe.errors) <= {"closed", *errors}, probe
    assert min(probe.reads, probe.writes) > 10


def put(server: Instance, keys: int) -> None:
    """Write some keys, a fifth of which expire."""
    with server.client() as client, client.pipeline(transaction=False) as pipeline:
        for n in range(keys):
            pipeline.set(f"key:{n}", f"value {n}", ex=3600 if n % 5 == 0 else None)
        pipeline.execute()


def connected_to(server: Instance) -> list[dict[str, str]]:
    """Return who is connected, as the server says it."""
    with server.client() as client:
        found: list[dict[str, str]] = client.client_list()
        return found


def config_of(server: Instance) -> dict[str, str]:
    """Return every parameter."""
    found: dict[str, str] = server.call("CONFIG", "GET", "*")
    return found


def state_of(server: Instance) -> dict[str, Any]:
    """Return all that an upgrade could change: role, parameters and their file, users, keys."""
    replication = server.info("replication")
    return {
        "role": replication["role"],
        "follows": (replication.get("master_host"), replication.get("master_port")),
        "config": config_of(server),
        "file": server.config_file.read_text() if server.config_file else None,
        "users": sorted(server.call("ACL", "LIST")),
        "data": data_of(server),
    }


def differing(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return what is not the same in two of them, as it was and as it is."""
    found: dict[str, Any] = {}
    for name in before.keys() | after.keys():
        was, now = before.get(name), after.get(name)
        if isinstance(was, dict) and isinstance(now, dict):
            was, now = (
                {k: v for k, v in one.items() if v != other.get(k)}
                for one, other in ((was, now), (now, was))
            )
        if was != now:
            found[name] = (was, now)
    return found


def data_of(server: Instance, *, without: bytes = b"\0") -> dict[tuple[int, bytes], list[Any]]:
    """Return every key of every database with its content and when it expires.

    Keys that begin like `without` are left out.
    """
    found: dict[tuple[int, bytes], list[Any]] = {}
    for name in server.info("keyspace"):
        db = int(name.removeprefix("db"))
        with redis.Redis(
            unix_socket_path=str(server.unix_socket), password=server.password, db=db
        ) as client:
            for key in client.scan_iter(count=1000):
                if key.startswith(without):
                    continue
                content = READ[client.type(key)](client, key)
                found[db, key] = [content, client.execute_command("PEXPIRETIME", key)]
    return found


@dataclass
class Caught:
    """What `fails` caught."""

    errors: list[rb.BatonError] = field(default_factory=list)

    @property
    def error(self) -> rb.BatonError:
        """The exception."""
        return self.errors[-1]

    @property
    def message(self) -> str:
        """What it says."""
        return str(self.error)


@contextmanager
def fails(kind: type[rb.BatonError], reason: str, *unchanged: Instance) -> Iterator[Caught]:
    """Expect an error that is fit for people and scripts, and these servers to be as before."""
    before = [state_of(one) for one in unchanged]
    caught = Caught()
    with pytest.raises(rb.BatonError) as raised:
        yield caught
    error = raised.value
    caught.errors.append(error)
    assert (type(error), error.reason) == (kind, reason), error
    assert error.reason in rb.REASONS
    assert error.state == "unchanged"
    assert error.actions == []
    assert_readable(error)
    assert [state_of(one) for one in unchanged] == before


def assert_readable(error: rb.BatonError) -> None:
    """See that the message is one line that ends with the state, without noise or secrets."""
    message = str(error)
    assert message.endswith(")"), message
    assert f"({error.state}" in message
    assert 20 < len(message) < 400, message
    for noise in NOISE:
        assert noise not in message, message
    if error.server is not None:
        assert message.startswith(f"{error.server}: ")
    if error.remedy:
        assert error.remedy in message
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 # our own
    assert (type(again), str(again), vars(again)) == (type(error), message, vars(error))
    for shown in (message, repr(error), str(vars(error)), str(error.args)):
        assert SECRET not in shown
