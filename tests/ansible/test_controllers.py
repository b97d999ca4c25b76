"""More than one controller: who keeps whom out, and what a guard does beside a task."""

from __future__ import annotations

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.ansible.runner import connection
from tests.ansible.test_modules import assert_documented, fill, once, statuses
from tests.support.servers import eventually

if TYPE_CHECKING:
    from tests.ansible.runner import Ansible
    from tests.conftest import ServerFactory
    from tests.support.servers import Instance

PROCESSES = Path("/proc")
GUARD = b"redis_baton.guard"


@pytest.fixture
def pair(server: ServerFactory) -> tuple[Instance, Instance]:
    """Return a source with data and an empty target."""
    source, target = server("redis-7.0"), server("redis-8.0")
    fill(source)
    return source, target


def guards() -> list[int]:
    """Return the guards of this test, told from others' by the folder in their environment."""
    mine = f"XDG_STATE_HOME={os.environ['XDG_STATE_HOME']}".encode()
    found = []
    for process in PROCESSES.glob("[0-9]*"):
        try:
            if GUARD in (process / "cmdline").read_bytes() and (
                mine in (process / "environ").read_bytes().split(b"\0")
            ):
                found.append(int(process.name))
        except OSError:  # it has ended, or is somebody else's
            continue
    return found


def parent(pid: int) -> int:
    return int((PROCESSES / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])


def journal(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for file in folder.glob("*.jsonl")
        if ".chronicle." not in file.name
        for line in file.read_text().splitlines()
    ]


def test_a_second_controller_is_kept_out(
    ansible: Ansible, pair: tuple[Instance, Instance], journal_dir: Path
) -> None:
    source, target = pair
    with target.client() as other:
        other.client_setname("redis-baton:another")
        outcome = ansible.tasks(
            [
                once("replicate") | {"ignore_errors": True},
                once("status"),
                once("replicate") | {"check_mode": True},
                once("replicate", break_lock=True),
            ],
            defaults=connection(source, target, journal_dir),
        )
    assert outcome.status == 0, outcome.output
    refused, predicted, done = outcome.of("replicate")
    assert (refused.status, refused.result["reason"]) == ("failed", "locked")
    assert refused.result["state"] == "unchanged"
    assert "break_lock" in refused.result["remedy"]
    assert (predicted.status, done.status) == ("changed", "changed")
    assert "was broken" in str(done.result["warnings"])
    assert statuses(outcome, "status") == ["ok"]
    assert target.role == "slave"


def test_a_guard_ends_with_its_task(
    ansible: Ansible, pair: tuple[Instance, Instance], journal_dir: Path
) -> None:
    source, target = pair
    outcome = ansible.tasks(
        [
            once("replicate"),
            once("wait_synced"),
            once("switchover") | {"check_mode": True},
            once("switchover"),
            once("rollback", guard=False),
        ],
        defaults=connection(source, target, journal_dir),
    )
    assert outcome.status == 0, outcome.output
    assert statuses(outcome, "switchover") == ["changed", "changed"]
    assert not any("guard" in str(task.result.get("warnings")) for task in outcome)
    if PROCESSES.exists():
        eventually(lambda: not guards(), "the guard has ended")
    assert "guarded" not in [line["record"] for line in journal(journal_dir)]


def test_a_killed_task_ends_at_once_and_its_guard_calls_the_handover_off(
    ansible: Ansible, pair: tuple[Instance, Instance], journal_dir: Path
) -> None:
    if not PROCESSES.exists():
        pytest.skip("processes are looked up in /proc")
    source, target = pair
    names = connection(source, target, journal_dir)
    assert ansible.tasks([once("replicate"), once("wait_synced")], defaults=names).status == 0
    before = source.call("CONFIG", "GET", "*")
    # No server answers in no time at all, so it waits for a good moment until it is killed.
    waiting = once("switchover", max_latency=0, connect_timeout=2, source_connect_timeout=2)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ansible.tasks, [waiting], defaults=names)
        eventually(
            lambda: "handover" in [line["record"] for line in journal(journal_dir)],
            "the handover has begun",
            within=30.0,
        )
        (guard,) = guards()
        target.freeze()  # so that the guard has to stay
        try:
            os.kill(parent(guard), signal.SIGKILL)
            outcome = running.result(timeout=20)
            assert guards() == [guard], "the task has waited for its guard"
        finally:
            target.thaw()
    assert outcome.status != 0
    eventually(lambda: not guards(), "the guard has ended", within=40.0)
    (noted,) = [line for line in journal(journal_dir) if line["record"] == "guarded"]
    assert "called off" in noted["outcome"]
    assert (source.role, target.role) == ("master", "slave")
    assert source.call("CONFIG", "GET", "*") == before
    outcome = ansible.tasks([once("switchover"), once("status")], defaults=names)
    assert outcome.status == 0, outcome.output
    assert outcome.of("status")[0].result["warm"] is True


def test_no_good_moment_leaves_the_source_serving(
    ansible: Ansible, pair: tuple[Instance, Instance], journal_dir: Path
) -> None:
    source, target = pair
    outcome = ansible.tasks(
        [once("replicate"), once("wait_synced"), once("switchover", max_latency=0, patience=0.2)],
        defaults=connection(source, target, journal_dir),
    )
    (refused,) = outcome.of("switchover")
    assert (refused.result["reason"], refused.result["state"]) == ("no_good_moment", "undone")
    assert (source.role, target.role) == ("master", "slave")
    assert_documented(outcome)
