"""The module `launch` on real servers: in check mode, for real, again, and then a whole upgrade."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from tests.ansible.runner import connection
from tests.ansible.test_modules import Task, assert_documented, once, statuses, thrice
from tests.support.ports import release_block, reserve_block
from tests.support.servers import eventually, find

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.ansible.runner import Ansible
    from tests.conftest import ServerFactory

SECRET = "hunter2-is-never-shown"


@pytest.fixture
def port() -> Iterator[int]:
    """Return the port of a target; what listens there after the test is ended by its number."""
    block = reserve_block()
    yield block
    release_block(block)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Return where a target is to be; who works there ends with the test."""
    directory = tmp_path / "new"
    yield directory
    file = directory / "server.pid"
    if file.exists():
        pid = int(file.read_text())
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not Path(f"/proc/{pid}").exists(), f"{pid} has ended")


def test_launch_and_all_that_follows(
    ansible: Ansible, server: ServerFactory, journal_dir: Path, port: int, directory: Path
) -> None:
    source = server("redis-7.0")
    new = find("redis-8.0")
    assert new is not None
    source.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    source.call("SET", "x", "1")
    names = connection(source, source, journal_dir) | {"login_port": port}
    wishes = {"hz": 20, "activerehashing": False, "tls-key-file-pass": SECRET}
    options = {"directory": str(directory), "program": str(new.server), "parameters": wishes}
    outcome = ansible.tasks(
        [
            *thrice("launch", **options),
            once("upgrade", quiet_for=0.1),
            once("launch", **options),
            once("launch", **options, wait_timeout=1) | {"check_mode": True},
        ],
        "-vvv",
        "--diff",
        defaults=names,
    )
    assert outcome.status == 0, outcome.output
    assert statuses(outcome, "launch") == ["changed", "changed", "ok", "ok", "ok"]
    assert_documented(outcome)
    checked, done, again, *_ = (task.result for task in outcome.of("launch"))
    assert (checked["launched"], checked["pid"]) == (False, None)
    assert checked["actions"] == done["actions"]
    assert done["diff"]["before"]["target"] is None
    assert done["diff"]["after"]["target"]["role"] == "master"
    assert "maxmemory-policy" in done["carried"]
    assert again["pid"] == done["pid"]
    assert SECRET not in outcome.output
    assert SECRET not in str([task.result for task in outcome])
    with redis.Redis(port=source.port, decode_responses=True) as client:
        assert client.info("server")["process_id"] == done["pid"]
        assert client.config_get("hz") == {"hz": "20"}
        assert client.config_get("activerehashing") == {"activerehashing": "no"}
        assert client.get("x") == "1"


def test_failures_are_one_sentence_and_leave_nothing(
    ansible: Ansible, server: ServerFactory, journal_dir: Path, port: int, directory: Path
) -> None:
    source = server("redis-7.0")
    names = connection(source, source, journal_dir) | {"login_port": port}
    options = {"directory": str(directory), "program": str(source.binary.server)}
    cases: list[tuple[Task, str | None, str | None]] = [
        (options | {"program": "/bin/true"}, "program_unusable", "unchanged"),
        (options | {"directory": str(source.folder)}, "directory_in_use", "unchanged"),
        (options | {"login_port": source.port}, "same_server", "unchanged"),
        (options | {"parameters": {"dir": "/"}}, "invalid_input", "unchanged"),
        (options | {"parameters": {"io-threads": 99999}}, "launch_failed", "undone"),
        ({"program": "/bin/true"}, None, None),
    ]
    outcome = ansible.tasks(
        [once("launch", **case) | {"ignore_errors": True} for case, _, _ in cases],
        defaults=names,
    )
    assert "Traceback" not in outcome.output
    for (case, reason, state), task in zip(cases, outcome, strict=True):
        assert task.status == "failed", case
        assert (task.result.get("reason"), task.result.get("state")) == (reason, state), task
        assert "\n" not in task.result["msg"], case
    assert not directory.exists()
