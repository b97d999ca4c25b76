"""A controller in a process of its own, to be killed, and the guards that it posts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.load import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from typing_extensions import Self

PROGRAM = """
import json, sys
import redis_baton
step, wishes = sys.argv[1], json.loads(sys.stdin.readline())
done = getattr(redis_baton, step)(**wishes)
print(json.dumps(done.warnings))
"""


class Controller:
    """Runs one step in another process, a process group of its own."""

    def __init__(self, step: str, wishes: Mapping[str, object]) -> None:

        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, step],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self.process.stdin
        text = {
            name: value if isinstance(value, (bool, dict, float, int)) else str(value)
            for name, value in wishes.items()
        }
        self.process.stdin.write(json.dumps(text).encode() + b"\n")
        self.process.stdin.close()

    @property
    def guards(self) -> list[int]:
        """The guards it has posted and that live."""
        return guards_of(self.process.pid)

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()

    def interrupt(self) -> None:
        """Do what Ctrl-C in its terminal does."""
        os.killpg(self.process.pid, signal.SIGINT)

    def wait(self) -> int:
        """Wait until it has ended by itself."""
        return self.process.wait(20)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.kill()
        if self.process.stdout:
            self.process.stdout.close()


def guards_of(parent: int) -> list[int]:
    """Return the guards that are children of that process."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            stat = (folder / "stat").read_text()
            arguments = (folder / "cmdline").read_bytes()
        except OSError:
            continue  # it has just ended
        if int(stat.rpartition(")")[2].split()[1]) == parent and b"redis_baton.guard" in arguments:
            found.append(int(folder.name))
    return found


def lives(process: int) -> bool:
    """Whether that process runs: a zombie does not."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
