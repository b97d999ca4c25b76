"""The examples of the guides in docs/ run as they stand there, on real servers."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import redis_baton

from tests.ansible.runner import COLLECTIONS, TOOLS, Ansible
from tests.docs.test_examples import REPOSITORY, RUN_TIME, fenced
from tests.support.servers import eventually, find

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ServerFactory
    from tests.support.servers import Instance


def block(document: str, kind: str) -> str:
    """Return the first example of that kind."""
    return next(one.text for one in fenced(REPOSITORY / "docs" / document) if one.kind == kind)


def at(text: str, server: Instance) -> str:
    """Return the text with the address of this server."""
    assert "redis.example" in text
    assert "6379" in text
    return text.replace("redis.example", server.host).replace("6379", str(server.port))


def run_python(text: str) -> dict[str, Any]:
    names: dict[str, Any] = {"redis_baton": redis_baton}
    exec(text, names)  # noqa: S102 # our own documents
    return names


def run_tasks(text: str, folder: Path) -> None:
    if not (TOOLS / "ansible-playbook").exists():
        pytest.skip("there is no Ansible for this Python (it needs 3.11 or newer)")
    import yaml  # type: ignore[import-untyped]  # noqa: PLC0415 # it comes with Ansible

    folder.mkdir()
    outcome = Ansible(folder).tasks(yaml.safe_load(text), defaults={})
    assert outcome.status == 0, outcome.output


def test_config(server: ServerFactory) -> None:
    one = server("redis-8.0")
    done = run_python(at(block("config.md", "python"), one))["done"]
    # What the comments of the example say.
    assert (done.set, done.rewritten) == (["maxmemory", "save", "lazyfree-lazy-eviction"], True)
    assert [(left.parameter, left.present) for left in done.restart_required] == [
        ("databases", "16")
    ]
    assert one.call("CONFIG", "GET", "maxmemory") == {"maxmemory": str(2 << 30)}


def test_persistence(server: ServerFactory, tmp_path: Path) -> None:
    one = server("redis-8.0")
    run_python(at(block("persistence.md", "python"), one))
    assert one.call("CONFIG", "GET", "appendonly") == {"appendonly": "yes"}
    run_tasks(at(block("persistence.md", "yaml"), one), tmp_path / "ansible")
    assert one.call("CONFIG", "GET", "save") == {"save": "3600 1 300 100"}


def test_verify(server: ServerFactory, tmp_path: Path) -> None:
    source, target = server("redis-7.0"), server("redis-8.0")
    source.call("SET", "key", "value")
    journal = tmp_path / "journal"
    redis_baton.replicate(source=source.url, target=target.url, journal_dir=journal)
    redis_baton.wait_synced(source=source.url, target=target.url, journal_dir=journal)

    def here(text: str) -> str:
        assert "redis.example" in text
        text = text.replace("redis.example", source.host)
        return text.replace("6379", str(source.port)).replace("6380", str(target.port))

    done = run_python(here(block("verify.md", "python")))["done"]
    assert (done.equal, done.compared, done.differing) == (True, 1, 0)
    run_tasks(here(block("verify.md", "yaml")), tmp_path / "ansible")


def test_launch(server: ServerFactory, tmp_path: Path) -> None:
    """The console example launches a target, the tasks at its end remove it."""
    source, program = server("redis-7.0"), find("valkey-9.1")
    if program is None:
        pytest.skip("valkey-9.1 is not on this machine")
    port, directory = source.port + 1, tmp_path / "valkey-new"

    def here(text: str) -> str:
        text = text.replace("/var/lib/valkey-new", str(directory))
        text = text.replace("/usr/bin/valkey-server", str(program.server))
        text = text.replace("redis-cli", str(program.cli))
        return text.replace("6379", str(source.port)).replace("6380", str(port))

    command = here(block("launch.md", "console")).removeprefix("$ ")
    if not (TOOLS / "ansible").exists():
        pytest.skip("there is no Ansible for this Python (it needs 3.11 or newer)")
    _, *arguments = shlex.split(command)
    done = subprocess.run(
        [TOOLS / "ansible", *arguments, "-e", f"ansible_python_interpreter={TOOLS / 'python'}"],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_TIME,
    )
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        assert (directory / "redis-baton.conf").exists() or list(directory.glob("*.conf"))
    finally:
        run_tasks(here(block("launch.md", "yaml")), tmp_path / "ansible")
    assert not directory.exists()
    eventually(lambda: not _listens(port), "the launched server has ended")


def _listens(port: int) -> bool:
    """Whether somebody listens there, as the system says."""
    with open("/proc/net/tcp") as table:  # noqa: PTH123 # no file of ours
        return re.search(rf":{port:04X} 00000000:0000 0A", table.read()) is not None
