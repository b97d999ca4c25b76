"""A server that is restarted by a command, as a service is, whoever started it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.servers import START_TIME, STOP_TIME, Instance, ServerBinary, eventually

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

    from tests.support.servers import ConfigValue

Task = dict[str, Any]

RESTART = """\
#!/bin/sh
# Ends the service if it runs, and starts it from its configuration file.
pid=$(cat {pidfile} 2>/dev/null) && kill "$pid" 2>/dev/null
waited=0
while [ -n "$pid" ] && [ -e "/proc/$pid/exe" ]; do
  [ $((waited += 1)) -gt 400 ] && exit 1
  sleep 0.05
done
exec setsid {server} {config} </dev/null >>{log} 2>&1 &
"""


class Service(Instance):
    """Runs until it is closed, in whatever process it is by then."""

    def __init__(self, binary: ServerBinary, folder: Path, **config: ConfigValue) -> None:
        """Prepare it; `start` runs it."""
        self.pidfile = folder / "server.pid"
        self.restart = folder / "restart"
        super().__init__(binary, folder, config={"pidfile": str(self.pidfile), **config})
        words = {
            "pidfile": self.pidfile,
            "server": binary.server,
            "config": self.config_file,
            "log": self.logfile,
        }
        script = RESTART.format(**{name: shlex.quote(str(word)) for name, word in words.items()})
        self.restart.write_text(script)
        self.restart.chmod(0o755)

    def wants(self, parameter: str, value: object) -> Task:
        """Return the Ansible task that writes a value into the configuration file."""
        assert self.config_file
        return {
            "name": f"Want {parameter}",
            "ansible.builtin.lineinfile": {
                "path": str(self.config_file),
                "regexp": f"^{parameter} ",
                "line": f"{parameter} {value}",
            },
        }

    @property
    def restarts(self) -> Task:
        """The Ansible task that restarts it."""
        return {"name": "Restart it", "ansible.builtin.command": str(self.restart)}

    def in_place(self, folder: Path, block: int, tasks: Sequence[Task]) -> dict[str, Any]:
        """Return the variables with which the role `restart` restarts it by these tasks.

        `folder` is for the stand-in, of the ports from `block` on.
        """
        file = folder / "tasks.yml"
        file.write_text(json.dumps(list(tasks)))
        return {
            "restart_login_port": self.port,
            "restart_stand_in_port": block,
            "restart_aside_port": block + 1,
            "restart_directory": str(folder / "stand-in"),
            "restart_program": str(self.binary.server),
            "restart_tasks": str(file),
        }

    def start(self) -> Self:
        """Run it, and wait until it has loaded its data and answers."""
        subprocess.run([self.restart], check=True, timeout=STOP_TIME)
        eventually(lambda: self.alive and self._answers(), f"{self} answers", within=START_TIME)
        return self

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return (Path("/proc") / str(self._read_pid()) / "exe").exists()

    @property
    def pid(self) -> int:
        """The process that it is now."""
        return self._read_pid()

    def _read_pid(self) -> int:
        try:
            return int(self.pidfile.read_text())
        except (OSError, ValueError):
            return -1

    def _end(self, how: signal.Signals) -> None:
        end(self._read_pid(), how)


def end_stand_in(folder: Path) -> None:
    """End the stand-in of a restart that was not finished, if there is one."""
    pidfile = folder / "stand-in" / "server" / "server.pid"
    if pidfile.exists():
        end(int(pidfile.read_text()))


def end(pid: int, how: signal.Signals = signal.SIGKILL) -> None:
    """End a process that need not be a child of ours, and wait for that."""
    program = Path("/proc") / str(pid) / "exe"
    if not program.exists():
        return
    os.kill(pid, how)
    eventually(lambda: not program.exists(), f"process {pid} has ended", within=STOP_TIME)
