"""Ways to replace a live server: ours, and the procedure by hand."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import redis
import redis_baton

from tests.support import dataset
from tests.support.load import Load, LoadReport
from tests.support.servers import OWN_BINARIES, Instance, find

# How long the load runs before and after the upgrade, in seconds.
AROUND = 1.0
SYNC_TIME = 120.0


@dataclass(frozen=True)
class Measured:
    """One run of one way."""

    seconds: float
    report: LoadReport
    protocol_ms: float | None = None
    drain_ms: float | None = None
    write_gap_ms: float | None = None
    steps: dict[str, float] | None = None


def baton(old: Instance, new: Instance, journal: Path) -> dict[str, Any]:
    """Upgrade with one call."""
    result = redis_baton.upgrade(source=old.url, target=new.url, journal_dir=journal)
    return result.as_dict()


def by_hand(old: Instance, new: Instance, _journal: Path) -> dict[str, Any]:
    """Do what the procedure says, with redis-py and at full speed.

    Replica, link up, key counts alike, REPLICAOF NO ONE, shut the old one down, take its port.
    """
    target = new.client()
    target.execute_command("REPLICAOF", old.host, old.port)
    deadline = time.monotonic() + SYNC_TIME
    while target.info("replication").get("master_link_status") != "up":
        if time.monotonic() > deadline:
            raise TimeoutError("the replica was not in sync")
        time.sleep(0.01)
    source = old.client()
    while abs(source.dbsize() - target.dbsize()) > 1000:
        time.sleep(0.01)
    target.execute_command("REPLICAOF", "NO", "ONE")
    with contextlib.suppress(redis.ConnectionError):
        source.execute_command("SHUTDOWN", "NOSAVE")
    while True:
        try:
            target.config_set("port", old.port)
        except redis.ResponseError:
            time.sleep(0.001)
        else:
            return {}


Way = Callable[[Instance, Instance, Path], dict[str, Any]]


def measure(way: Way, pair: tuple[str, str], *, keys: int, rate: int, folder: Path) -> Measured:
    """Run one way on a fresh pair of servers under a load of 16 connections."""
    with instance(pair[0], folder / "old") as old, instance(pair[1], folder / "new") as new:
        dataset.fill(old.client(), keys=keys)
        with Load(port=old.port, rate=rate) as load:
            time.sleep(AROUND)
            began = time.monotonic()
            result = way(old, new, folder / "journal")
            seconds = time.monotonic() - began
            time.sleep(AROUND)
            report = load.stop(verify_port=old.port)
    steps = {step["name"]: step for step in result.get("steps", [])}
    cut = steps.get("switchover", {}).get("result", {})
    return Measured(
        seconds=seconds,
        report=report,
        protocol_ms=cut.get("protocol_ms"),
        drain_ms=cut.get("drain_ms"),
        write_gap_ms=cut.get("write_gap_ms"),
        steps={name: step["elapsed"] for name, step in steps.items()},
    )


def instance(name: str, folder: Path) -> Instance:
    """Return that server, or end the bench where it is not here."""
    binary = find(name)
    if binary is None:
        raise SystemExit(f"{name} is not here: {OWN_BINARIES}")
    return Instance(binary, folder)
