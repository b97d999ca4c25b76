"""A parameter of the wrong type or out of range is named, and nothing is asked of any server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable

import pytest
import redis_baton as rb
from redis_baton import Failed, InvalidInput

from tests.python.common import SECRET, Pair, fails

if TYPE_CHECKING:
    from pathlib import Path

NAN, INFINITE = float("nan"), float("inf")
SECONDS: list[Any] = [-1, NAN, INFINITE, "5", None]
FLAGS: list[Any] = ["no", 1, None]
WRONG: list[tuple[Callable[..., object], str, list[Any]]] = [
    (rb.preflight, "redirect", ["haproxy", "proxy", "", 1, {"haproxy": {}}]),
    (rb.preflight, "aside_port", [0, -1, 65536, 10**30, "7000", 1.5]),
    (rb.preflight, "force", FLAGS),
    (rb.launch, "directory", ["relative", "/", "/x\ny", 1, None]),
    (rb.launch, "parameters", ["hz 10", [1], {1: 2}, {"hz": {}}, {"port": 1}]),
    (rb.launch, "program", [1]),
    (rb.launch, "wait_timeout", SECONDS),
    (rb.replicate, "wait_timeout", SECONDS),
    (rb.replicate, "replication_password", [1]),
    (rb.wait_synced, "max_lag_bytes", [-1, 10**30, "1", 1.5]),
    (rb.wait_synced, "wait_timeout", SECONDS),
    (rb.verify, "sample_keys", [-1, 1_000_001, 10**30, "20", 2.5]),
    (rb.verify, "fail", FLAGS),
    (rb.verify, "level", ["all", "", None, 1]),
    (rb.verify, "by", ["dump", "", None, 1]),
    (rb.verify, "max_differences", [-1, 1_000_001, "20", 2.5]),
    (rb.verify, "max_latency", SECONDS),
    (rb.verify, "rate", [0, -1, 10**30, "1", 1.5]),
    (rb.verify, "resume", FLAGS),
    (rb.switchover, "pause_budget", [*SECONDS, 0, 0.049, 61]),
    (rb.switchover, "attempts", [0, -1, 1001, 10**30, "3"]),
    (rb.switchover, "patience", SECONDS),
    (rb.switchover, "backlog_bytes", [-1, "1gb"]),
    (rb.rollback, "max_lag_bytes", [-1, 1.5]),
    (rb.clients, "disconnect", [True, "normal", {}, {"kinds": []}, {"kinds": ["replica"]}]),
    (rb.clients, "disconnect", [["normal"], {"names": "a"}, {"name": ["a"]}, {"users": [1]}]),
    (rb.wait_quiescent, "quiet_for", SECONDS),
    (rb.wait_quiescent, "monitor", [0, 61, *SECONDS[:-1]]),
    (rb.wait_quiescent, "monitor_lines", [0, 1_000_001, "5", None]),
    (rb.promote, "force", FLAGS),
    (rb.retire, "rewrite", FLAGS),
    (rb.retire, "wait_timeout", SECONDS),
    (rb.upgrade, "until", ["promote", "end", "", 1, None]),
    (rb.upgrade, "sync_timeout", SECONDS),
    (rb.upgrade, "dry_run", FLAGS),
    (rb.upgrade, "journal_dir", [1, b"x\0y", ""]),
    (rb.status, "journal_dir", [""]),
    (rb.report, "journal_dir", [""]),
    (rb.upgrade, "on_event", ["print", 1]),
    (rb.upgrade, "source", [None, 1, b"redis://127.0.0.1"]),
    (rb.upgrade, "no_such_parameter", [1]),
]


@pytest.mark.parametrize(
    ("step", "name", "value"),
    [
        pytest.param(step, name, value, id=f"{step.__name__}-{name}-{value!r:.12}")
        for step, name, values in WRONG
        for value in values
    ],
)
def test_a_wrong_parameter(step: Callable[..., object], name: str, value: object) -> None:
    # Nobody is there: to be told of the parameter is to be told before anybody was asked.
    nowhere = f"redis://:{SECRET}@127.0.0.1:1"
    needed = {"directory": "/no/where"} if step is rb.launch else {}
    given = {"source": nowhere, "target": nowhere, **needed, name: value}
    with fails(InvalidInput, "invalid_input") as caught:
        step(**given)
    assert name in caught.message


def test_a_replication_user_without_password() -> None:
    nowhere = "redis://127.0.0.1:1"
    with fails(InvalidInput, "invalid_input"):
        rb.replicate(source=nowhere, target=nowhere, replication_user="ops")


def test_positional_arguments_are_refused() -> None:
    with fails(InvalidInput, "invalid_input"):
        rb.preflight("redis://a", "redis://b")  # type: ignore[call-arg] # the point of the test


def test_a_journal_that_cannot_be_written(pair: Pair, tmp_path: Path) -> None:
    pair.source.call("ACL", "SETUSER", "app", "on", f">{SECRET}", "~*", "+@all")
    pair.source.call("SET", "x", "1")
    folder = tmp_path / "a-file"
    folder.touch()
    with fails(Failed, "journal_failed", pair.source, pair.target) as caught:
        rb.upgrade(source=pair.source.url, target=pair.target.url, journal_dir=folder)
    assert str(folder) in caught.message
