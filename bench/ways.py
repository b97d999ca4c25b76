"""Ways to replace a live server: ours and today's."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import redis
import redis_baton
from redis_baton import BatonError

from bench import fetch
from bench.playbook import OUR_COLLECTIONS, missing_ansible, play
from bench.scene import CHECKS, HANDOVER, Ended, Front, Scene, Way
from tests.support import sentinel
from tests.support.haproxy import HAProxy, find_haproxy
from tests.support.sentinel import Sentinels
from tests.support.servers import Instance, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SYNC_TIME = 120.0
# What has ended when a step begins.
BEGINS_AFTER = {"switchover": CHECKS, "wait_quiescent": HANDOVER}
# What is told of an attempt comes after its end, at most so many seconds.
TOLD_LATE = 0.005
# From the pause to the end of it, whatever the end is.
WRITES_WAIT = ("pause", "drain", "hold", "demote", "promote", "arrive", "undo", "release")


class Attempts:
    """What is told of the attempts of a handover: the phases of each together, at its end."""

    def __init__(self) -> None:
        """None so far."""
        self.cuts: list[tuple[float, float]] = []
        """When writes began to wait, and when they did not any more, in seconds since 1970."""
        self.paused_us = 0

    def note(self, phase: str, microseconds: int) -> None:
        """Take in a phase."""
        if phase == "pause":
            now = time.time()
            self.cuts.append((now - TOLD_LATE, now))
        if phase in WRITES_WAIT:
            began, ended = self.cuts[-1]
            self.cuts[-1] = (began - microseconds / 1e6, ended)
            self.paused_us += microseconds


def baton(scene: Scene, **options: Any) -> Ended:  # noqa: ANN401  (those of `upgrade`)
    """Upgrade with two calls, to tell the sync's gap from the handover's."""
    attempts = Attempts()

    def count(event: dict[str, Any]) -> None:
        if event["event"] == "phase":
            attempts.note(event["name"], event["microseconds"])
        elif event["event"] == "step" and event["step"] in BEGINS_AFTER:
            scene.mark(BEGINS_AFTER[event["step"]])

    def upgrade(until: Literal["verify", "wait_quiescent"], **more: Any) -> redis_baton.Upgrade:  # noqa: ANN401
        return redis_baton.upgrade(
            source=scene.old.url,
            target=scene.new.url,
            until=until,
            journal_dir=scene.folder / "journal",
            on_event=count,
            **more,
        )

    synced = upgrade("verify", **{k: v for k, v in options.items() if k == "redirect"})
    scene.mark()
    try:
        switched = upgrade("wait_quiescent", **options)
    except BatonError as error:
        if error.state == "interrupted":
            raise
        scene.mark(HANDOVER)
        return Ended(error.reason, paused_us=attempts.paused_us, cuts=tuple(attempts.cuts))
    handover = next(step.result for step in switched.steps if step.name == "switchover")
    return Ended(
        steps={step.name: step.elapsed for step in (*synced.steps, *switched.steps[4:])},
        phases={phase["name"]: phase["microseconds"] for phase in handover["phases"]},
        paused_us=attempts.paused_us,
        attempts=handover["attempts"],
        cuts=tuple(attempts.cuts),
    )


def baton_with_probe(scene: Scene) -> Ended:
    """Upgrade with a probe, to see whether that costs the others anything."""
    return baton(scene, probe=True)


def baton_under_sentinel(scene: Scene) -> Ended:
    """Upgrade, and tell the sentinels."""
    sentinels = scene.front
    assert isinstance(sentinels, Sentinels)
    one = sentinels.all[0].address
    return baton(scene, redirect={"sentinel": {"sentinels": [one], "name": sentinel.NAME}})


def baton_with_relay(scene: Scene) -> Ended:
    """Upgrade, with a relay in the old one's place."""
    ended = baton(scene, redirect={"relay": {"socket": str(scene.folder / "relay.sock")}})
    # It goes on until the load has ended.
    scene.stack.callback(
        redis_baton.relay,
        source=scene.old.url,
        target=scene.new.url,
        journal_dir=scene.folder / "journal",
        end=True,
        force=True,
    )
    return ended


def baton_behind_haproxy(scene: Scene) -> Ended:
    """Upgrade, with the HAProxy in front told to send clients to the new one."""
    proxy = scene.front
    assert isinstance(proxy, HAProxy)
    return baton(scene, redirect={"haproxy": {"sockets": [str(proxy.socket)]}})


def baton_by_playbook(scene: Scene) -> Ended:
    """Run the collection's own playbook."""
    variables = {
        "upgrade_source_port": scene.old.port,
        "upgrade_login_port": scene.new.port,
        "upgrade_journal_dir": str(scene.folder / "journal"),
    }
    _play(scene, "baton.redis.upgrade", OUR_COLLECTIONS, variables, last="baton.redis.verify")
    return Ended()


def nothing(scene: Scene) -> Ended:
    """Do nothing for as long as an upgrade takes, to see what gap the machine itself has."""
    scene.mark()
    time.sleep(2)
    return Ended()


def stop_and_start(scene: Scene) -> Ended:
    """Shut the old one down with its data saved, and start the new version on its files."""
    scene.mark()
    with contextlib.suppress(redis.ConnectionError):
        scene.old.call("SHUTDOWN", "SAVE")
    eventually(lambda: not scene.old.alive, "the old one has ended")
    new = Instance(scene.new.binary, scene.old.folder, port=scene.old.port)
    scene.stack.enter_context(new)
    return Ended()


def by_hand(scene: Scene) -> Ended:
    """Do what the procedure says, with redis-py and at full speed.

    Replica, link up, key counts alike, REPLICAOF NO ONE, shut the old one down, take its port.
    """
    _replicate(scene)
    source, target = scene.old.client(), scene.new.client()
    with source, target:
        eventually(
            lambda: abs(source.dbsize() - target.dbsize()) <= 1000, "alike", within=SYNC_TIME
        )
        scene.mark()
        target.execute_command("REPLICAOF", "NO", "ONE")
        with contextlib.suppress(redis.ConnectionError):
            source.execute_command("SHUTDOWN", "NOSAVE")
        deadline = time.monotonic() + 10
        while True:
            try:
                target.config_set("port", scene.old.port)
            except redis.ResponseError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.001)
            else:
                return Ended()


def incumbent(scene: Scene) -> Ended:
    """Run the playbook that a careful operator would write with community.general."""
    variables = {
        "old": scene.old.port,
        "new": scene.new.port,
        "cli": str(scene.old.binary.cli),
    }
    playbook = Path(__file__).with_name("incumbent.yml")
    _play(scene, playbook, fetch.collections(), variables, last="ansible.builtin.debug")
    return Ended()


def failover(scene: Scene) -> Ended:
    """Let the old one hand over by its own `FAILOVER`, and HAProxy find out."""
    proxy = scene.front
    assert isinstance(proxy, HAProxy)
    _replicate(scene)
    proxy.enable("new")
    eventually(lambda: proxy.serving == ["old"], "HAProxy knows the roles")
    # It is taken up to a second after the link is up: when the replica has acknowledged.
    eventually(lambda: "online" in str(scene.old.info("replication").get("slave0")), "online")
    scene.mark()
    scene.old.call("FAILOVER")
    eventually(lambda: scene.new.role == "master", "the new one is the master", within=60)
    eventually(lambda: proxy.serving == ["new"], "HAProxy knows the roles")
    return Ended()


def sentinel_failover(scene: Scene) -> Ended:
    """Let Sentinel do a failover."""
    sentinels = scene.front
    assert isinstance(sentinels, Sentinels)
    _replicate(scene)
    linked = {scene.new.address: {"slave"}}
    eventually(
        lambda: all(one.replica_flags == linked for one in sentinels.all), "it is known", within=20
    )
    scene.mark()
    eventually(lambda: _begins(sentinels), "a failover begins", within=20)
    eventually(lambda: sentinels.agree(scene.new.address), "the sentinels agree", within=60)
    eventually(lambda: scene.old.role == "slave", "the old one follows", within=60)
    return Ended()


def _begins(sentinels: Sentinels) -> bool:
    """Ask for a failover; it does not know at once whether the replica will do."""
    try:
        sentinels.all[0].ask("FAILOVER", sentinel.NAME)
    except redis.ResponseError as error:
        if "NOGOODSLAVE" in str(error):
            return False
        raise
    return True


def _replicate(scene: Scene) -> None:
    with scene.new.client() as target:
        target.execute_command("REPLICAOF", scene.old.host, scene.old.port)
        eventually(
            lambda: target.info("replication").get("master_link_status") == "up",
            "the replica is in sync",
            within=SYNC_TIME,
        )


def _play(
    scene: Scene, playbook: Path | str, collections: Path, variables: Mapping[str, Any], last: str
) -> None:
    """Run a playbook; `last` is the module of the last task before the handover."""
    tasks = play(playbook, scene.folder / "ansible", collections=collections, variables=variables)
    for task in tasks:
        if task.action == last:
            scene.mark()


@contextlib.contextmanager
def _direct(old: Instance, new: Instance, _folder: Path) -> Iterator[Front]:
    with new:
        yield old


@contextlib.contextmanager
def _alone(old: Instance, new: Instance, _folder: Path) -> Iterator[Front]:
    try:
        yield old
    finally:
        new.close()


@contextlib.contextmanager
def _behind_haproxy(old: Instance, new: Instance, folder: Path) -> Iterator[Front]:
    program = find_haproxy()
    assert program is not None
    servers = {"old": old.address, "new": new.address}
    with new, HAProxy(program, folder / "haproxy", servers, disabled=["new"]) as proxy:
        yield proxy


@contextlib.contextmanager
def _watched(old: Instance, new: Instance, folder: Path) -> Iterator[Front]:
    with new, Sentinels([old.binary] * 3, folder / "sentinels", old) as sentinels:
        yield sentinels


def _missing_incumbent() -> str | None:
    found = fetch.version() is not None
    return missing_ansible() or (
        None if found else "community.general is missing: make bench-setup"
    )


def _missing_haproxy() -> str | None:
    return None if find_haproxy() else "HAProxy is missing: tests/support/fetch-servers haproxy-3.0"


BATON = Way("baton", "redis-baton", baton, _direct)
FAILOVER = Way("failover", "FAILOVER behind HAProxy", failover, _behind_haproxy, _missing_haproxy)
WAYS = {
    way.name: way
    for way in (
        BATON,
        Way("baton-playbook", "redis-baton, playbook", baton_by_playbook, _direct, missing_ansible),
        Way("stop-start", "stop and start", stop_and_start, _alone),
        Way("by-hand", "by hand, redis-py", by_hand, _direct),
        Way("incumbent", "playbook, community.general", incumbent, _direct, _missing_incumbent),
        Way(
            "baton-haproxy",
            "redis-baton behind HAProxy",
            baton_behind_haproxy,
            _behind_haproxy,
            _missing_haproxy,
        ),
        FAILOVER,
        Way("baton-probe", "redis-baton, probe", baton_with_probe, _direct),
        Way("baton-relay", "redis-baton, relay", baton_with_relay, _direct),
        Way(
            "sentinel",
            "redis-baton, Sentinel told",
            baton_under_sentinel,
            _watched,
            master=sentinel.NAME,
        ),
        Way(
            "sentinel-failover",
            "SENTINEL FAILOVER",
            sentinel_failover,
            _watched,
            master=sentinel.NAME,
        ),
        Way("nothing", "nothing: the machine itself", nothing, _alone),
    )
}
