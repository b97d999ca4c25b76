"""Ways to replace a live server: ours, and the procedure by hand."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Literal

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
    """Its longest gap is the handover's, from after the sync to the end."""
    figures: dict[str, float]
    """Of the way's own: seconds by step, milliseconds of the handover."""


def baton(old: Instance, new: Instance, journal: Path, load: Load) -> dict[str, float]:
    """Upgrade with two calls, to tell the sync's gap from the handover's; return the figures."""

    def upgrade(until: Literal["verify", "wait_quiescent"]) -> redis_baton.Upgrade:
        return redis_baton.upgrade(source=old.url, target=new.url, until=until, journal_dir=journal)

    synced = upgrade("verify")
    load.mark()
    switched = upgrade("wait_quiescent")
    figures = {step.name: step.elapsed for step in (*synced.steps, *switched.steps[4:])}
    cut = next(step.result for step in switched.steps if step.name == "switchover")
    return figures | {name: cut[name] for name in ("protocol_ms", "drain_ms", "write_gap_ms")}


def by_hand(old: Instance, new: Instance, _journal: Path, load: Load) -> dict[str, float]:
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
    load.mark()
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


Way = Callable[[Instance, Instance, Path, Load], dict[str, float]]


def measure(way: Way, pair: tuple[str, str], *, keys: int, rate: int, folder: Path) -> Measured:
    """Run one way on a fresh pair of servers under a load of 16 connections."""
    with instance(pair[0], folder / "old") as old, instance(pair[1], folder / "new") as new:
        dataset.fill(old.client(), keys=keys)
        with Load(port=old.port, rate=rate) as load:
            time.sleep(AROUND)
            began = time.monotonic()
            figures = way(old, new, folder / "journal", load)
            seconds = time.monotonic() - began
            time.sleep(AROUND)
            report = load.stop(verify_port=old.port)
    return Measured(seconds, report, figures)


def instance(name: str, folder: Path) -> Instance:
    """Return that server, or end the bench where it is not here."""
    binary = find(name)
    if binary is None:
        raise SystemExit(f"{name} is not here: {OWN_BINARIES}")
    return Instance(binary, folder)
