"""Runs ansible-playbook and collects what its tasks reported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.support.servers import Instance

REPOSITORY = Path(__file__).parents[2]
COLLECTIONS = REPOSITORY / "ansible"
COLLECTION = COLLECTIONS / "ansible_collections" / "baton" / "redis"
TOOLS = Path(sys.executable).parent
RUN_TIME = 200.0

Arguments = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """What a task reported."""

    name: str
    action: str
    status: str
    """`ok`, `changed`, `failed`, `skipped` or `unreachable`."""
    seconds: float
    """From its start to its result, on the controller's clock."""
    result: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What a run of ansible-playbook reported."""

    status: int
    output: str
    tasks: tuple[Task, ...]

    def __iter__(self) -> Iterator[Task]:
        return iter(self.tasks)

    def __getitem__(self, name: str) -> Task:
        """Return the task of that name."""
        (found,) = [task for task in self.tasks if task.name == name]
        return found

    def of(self, module: str) -> list[Task]:
        """Return the tasks of one of our modules that were not skipped, in order."""
        return [
            task
            for task in self.tasks
            if task.action == f"baton.redis.{module}" and task.status != "skipped"
        ]

    @property
    def changed(self) -> list[str]:
        """The tasks that changed something."""
        return [task.name for task in self.tasks if task.status == "changed"]


@dataclass
class Running:
    """A run of ansible-playbook that has not ended."""

    process: subprocess.Popen[str]
    record: Path

    def finish(self) -> Outcome:
        """Wait for its end."""
        try:
            output, _ = self.process.communicate(timeout=RUN_TIME)
        except BaseException:
            self.kill()
            raise
        lines = self.record.read_text().splitlines()
        return Outcome(
            self.process.returncode, output, tuple(Task(**json.loads(line)) for line in lines)
        )

    def kill(self) -> None:
        """End it at once, with the task that it runs."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


class Ansible:
    """ansible-playbook in a folder of its own, undisturbed by the user's configuration."""

    def __init__(
        self, folder: Path, *, collections: Path = COLLECTIONS, within: Sequence[str] = ()
    ) -> None:
        """Prepare it; nothing runs yet. `within` is a command that runs another."""
        self._folder = folder
        self._collections = collections
        self._within = within
        self._runs = 0
        (folder / "ansible.cfg").touch()  # in place of the user's

    def tasks(
        self,
        tasks: Sequence[Mapping[str, Any]],
        *options: str,
        defaults: Arguments | None = None,
        **keywords: Any,  # noqa: ANN401  (of the play)
    ) -> Outcome:
        """Run a play of these tasks on localhost; `defaults` are for all of our modules."""
        play = {
            "hosts": "localhost",
            "gather_facts": False,
            "module_defaults": {"group/baton.redis.all": defaults or {}},
            "tasks": list(tasks),
            **keywords,
        }
        playbook = self._folder / f"play-{self._runs}.yml"
        playbook.write_text(json.dumps([play]))  # JSON is YAML
        return self.playbook(str(playbook), *options)

    def playbook(self, name: str, *options: str, variables: Arguments | None = None) -> Outcome:
        """Run a playbook, by path or by its name in the collection."""
        return self.begin(name, *options, variables=variables).finish()

    def begin(self, name: str, *options: str, variables: Arguments | None = None) -> Running:
        """Start a playbook."""
        record = self._folder / f"record-{self._runs}.jsonl"
        self._runs += 1
        record.touch()
        process = subprocess.Popen(
            [
                *self._within,
                TOOLS / "ansible-playbook",
                name,
                "--extra-vars",
                json.dumps(variables or {}),
                *options,
            ],
            env={
                **os.environ,
                "ANSIBLE_CALLBACKS_ENABLED": "record",
                "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).parent / "callback_plugins"),
                "ANSIBLE_COLLECTIONS_PATH": str(self._collections),
                "ANSIBLE_CONFIG": str(self._folder / "ansible.cfg"),
                "ANSIBLE_HOME": str(self._folder / "home"),
                "ANSIBLE_INJECT_INVOCATION": "1",  # as before 2.21: secrets would be seen there
                "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0",
                "ANSIBLE_LOCALHOST_WARNING": "0",
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_PIPELINING": "1",  # half the time per task
                "ANSIBLE_REMOTE_TEMP": str(self._folder / "tmp"),
                "BATON_RECORD": str(record),
                "LC_ALL": "C.UTF-8",  # Ansible insists on UTF-8
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        return Running(process, record)


def connection(source: Instance, target: Instance, journal_dir: Path) -> Arguments:
    """Return the options of our modules that name this pair."""
    options: Arguments = {
        "source_host": source.host,
        "source_port": source.port,
        "login_host": target.host,
        "login_port": target.port,
        "journal_dir": str(journal_dir),
    }
    for prefix, instance in (("source_", source), ("login_", target)):
        if instance.password:
            options[f"{prefix}password"] = instance.password
    for prefix, instance in (("source_", source), ("", target)):
        if instance.tls:
            options |= {f"{prefix}tls": True, f"{prefix}ca_certs": str(instance.tls.ca)}
    return options
