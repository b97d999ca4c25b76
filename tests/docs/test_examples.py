"""The examples of README.md and of a takeover run as they stand there."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.ansible.runner import TOOLS, Ansible, Outcome
from tests.docs.examples import COLLECTION, example
from tests.support.servers import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ServerFactory
    from tests.support.servers import Instance

PASSWORD = "vault-secret"
KEYS = 500
RUN_TIME = 60.0


def at(text: str, source: Instance, target: Instance) -> str:
    """Return the example's text with the addresses of this pair."""
    for said, really in (
        ("redis.example", source.host),
        ("6379", str(source.port)),
        ("6380", str(target.port)),
    ):
        assert said in text, f"it does not say {said}"
        text = text.replace(said, really)
    return text


@pytest.fixture
def pair(server: ServerFactory) -> tuple[Instance, Instance]:
    """Return a source with data and an empty target."""
    source = server("redis-7.0", password=PASSWORD)
    target = server("redis-8.0", password=PASSWORD)
    with source.client() as client:
        client.mset({f"key:{n}": n for n in range(KEYS)})
    return source, target


def assert_switched(source: Instance, target: Instance) -> None:
    assert (target.role, target.current_port) == ("master", source.port)
    assert (source.role, target.call("DBSIZE")) == ("slave", KEYS)


def play_twice(playbook: str, source: Instance, target: Instance, folder: Path) -> None:
    """Run it, then again with what shuts the source down: that is all that is left to do."""
    if not (TOOLS / "ansible-playbook").exists():
        pytest.skip("there is no Ansible for this Python (it needs 3.11 or newer)")
    folder.mkdir()
    ansible = Ansible(folder)
    file = folder / "upgrade.yml"
    file.write_text(at(playbook, source, target), encoding="utf-8")

    def run(**variables: object) -> Outcome:
        outcome = ansible.playbook(
            str(file), variables={"vault_redis_password": PASSWORD, **variables}
        )
        assert outcome.status == 0, outcome.output
        assert PASSWORD not in outcome.output
        return outcome

    assert run().changed
    assert_switched(source, target)
    (last,) = run(retire=True, upgrade_until="retire").changed
    assert last.startswith("Shut the source down")
    eventually(lambda: not source.alive, "the source has ended")


@example(playbook="README.md yaml")
def test_readme_with_ansible(
    playbook: str, pair: tuple[Instance, Instance], tmp_path: Path
) -> None:
    play_twice(playbook, *pair, tmp_path / "ansible")


@example(playbook="docs/same-host.md yaml")
def test_one_task_a_step(playbook: str, pair: tuple[Instance, Instance], tmp_path: Path) -> None:
    play_twice(playbook, *pair, tmp_path / "ansible")


@example(playbook=f"{COLLECTION}/README.md yaml", commands=f"{COLLECTION}/README.md console")
def test_the_collection(
    playbook: str, commands: str, pair: tuple[Instance, Instance], tmp_path: Path
) -> None:
    """Its playbook upgrades and retires; its commands then find that done."""
    source, target = pair
    playbook = playbook.replace("10.0.0.5", "redis.example")
    if not (TOOLS / "ansible-playbook").exists():
        pytest.skip("there is no Ansible for this Python (it needs 3.11 or newer)")
    folder = tmp_path / "ansible"
    folder.mkdir()
    ansible = Ansible(folder)
    file = folder / "upgrade.yml"
    file.write_text(at(playbook, source, target), encoding="utf-8")
    variables = {"vault_redis_password": PASSWORD}
    assert ansible.playbook(str(file), variables=variables).status == 0
    eventually(lambda: not source.alive, "the source has ended")
    for line in commands.splitlines():
        program, playbook, *options = line.removeprefix("$ ").split()
        assert program == "ansible-playbook"
        options = [
            option.replace("6379", str(source.port)).replace("6380", str(target.port))
            for option in options
        ]
        again = ansible.playbook(
            playbook,
            *options,
            variables={"upgrade_source_password": PASSWORD, "upgrade_login_password": PASSWORD},
        )
        assert (again.status, again.changed) == (0, []), again.output


@example(commands="README.md console")
def test_readme_with_the_command(commands: str, pair: tuple[Instance, Instance]) -> None:
    """A plan, then an upgrade."""
    for line in at(commands, *pair).splitlines():
        program, *words = shlex.split(line.removeprefix("$ "), comments=True)
        done = subprocess.run(
            [TOOLS / program, *words, *(["--yes"] if words[0] == "upgrade" else [])],
            env={**os.environ, "REDIS_BATON_PASSWORD": PASSWORD},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=RUN_TIME,
        )
        assert done.returncode == 0, done
    assert_switched(*pair)


def run_script(
    text: str, source: Instance, target: Instance, folder: Path
) -> subprocess.CompletedProcess[str]:
    script = folder / "upgrade.py"
    script.write_text(at(text, source, target), encoding="utf-8")
    return subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "REDIS_PASSWORD": PASSWORD},
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_TIME,
    )


@example(script="docs/same-host.md python", short="README.md python")
def test_with_python(
    script: str, short: str, pair: tuple[Instance, Instance], tmp_path: Path
) -> None:
    """The long one upgrades, and the short one finds that done."""
    source, target = pair
    done = run_script(script, source, target, tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert_switched(source, target)
    assert "switchover ...\n" in done.stdout
    assert "  demote: " in done.stdout
    assert f"{source.address} serves" in done.stdout
    again = run_script(script, source, target, tmp_path)
    assert (again.returncode, "changed" in again.stdout) == (0, False), again
    short_one = run_script(short, source, target, tmp_path)
    assert short_one.stdout.startswith(f"{source.address} serves"), short_one


@example(script="docs/same-host.md python")
def test_python_reports_a_refusal(
    script: str, pair: tuple[Instance, Instance], tmp_path: Path
) -> None:
    source, target = pair
    target.call("SET", "of its own", 1)
    refused = run_script(script, source, target, tmp_path)
    assert refused.returncode == 1, refused
    assert "(unchanged)" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert (source.role, target.role) == ("master", "master")
