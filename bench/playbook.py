"""Runs a playbook and hands on what each task took, as soon as it has ended."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

REPOSITORY = Path(__file__).parents[1]
OUR_COLLECTIONS = REPOSITORY / "ansible"
PROGRAM = Path(sys.executable).with_name("ansible-playbook")
RUN_TIME = 300.0
END_TIME = 5.0


class PlaybookFailed(Exception):
    """A task failed, or the playbook could not be run."""


@dataclass(frozen=True)
class Task:
    """A task that has ended."""

    name: str
    action: str
    seconds: float
    failure: str | None


def missing_ansible() -> str | None:
    """Say why no playbook can be run here; None if it can."""
    return None if PROGRAM.exists() else "there is no Ansible for this Python (it needs 3.11)"


def play(
    playbook: Path | str,
    folder: Path,
    *,
    collections: Path,
    variables: Mapping[str, Any] | None = None,
) -> Iterator[Task]:
    """Run it, by path or by its name in a collection; yield each task when it has ended.

    The user's configuration does not count.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ansible.cfg").touch()  # in place of the user's
    environment = {
        **os.environ,
        "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).with_name("callbacks")),
        "ANSIBLE_COLLECTIONS_PATH": str(collections),
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_PIPELINING": "1",  # half the time per task, for everybody's
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "ANSIBLE_REMOTE_TEMP": str(folder / "tmp"),
        "ANSIBLE_STDOUT_CALLBACK": "bench_json",
        "LC_ALL": "C.UTF-8",  # Ansible insists on UTF-8
    }
    process = subprocess.Popen(
        [
            *(str(PROGRAM), "-i", "localhost,", "-c", "local"),
            *("--extra-vars", json.dumps(variables or {}), str(playbook)),
        ],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    too_long = threading.Timer(RUN_TIME, process.terminate)
    too_long.start()
    failure = "it could not be run"
    try:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                if not line.startswith("{"):
                    failure = line.strip() or failure
                    continue
                task = Task(**json.loads(line))
                failure = task.failure or failure
                yield task
        if process.wait() != 0:
            raise PlaybookFailed(f"{playbook}: {failure}")
    finally:
        too_long.cancel()
        if process.poll() is None:
            process.terminate()  # it ends those that run its tasks: they have sessions of their own
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(END_TIME)
            process.kill()
            process.wait()
