"""Running the command: through pipes, and in a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from tests.python.common import Pair

COMMAND = Path(sys.executable).with_name("redis-baton")
PASSWORD = "hunter2-is-never-shown"
RUN_TIME = 60.0
COLUMNS = 80
ESCAPE = "\x1b"
# What moves and colours on a terminal.
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def environment(**more: str | None) -> dict[str, str]:
    """Return an environment of 80 columns without anything that would change what is shown."""
    changed = {"COLUMNS": str(COLUMNS), "LINES": "24", "LC_ALL": "C.UTF-8", "TERM": "xterm", **more}
    without = (
        "NO_COLOR",
        "FORCE_COLOR",
        "TTY_COMPATIBLE",
        "REDIS_BATON_PASSWORD",
        "REDIS_BATON_CONFIG",
    )
    found = {name: value for name, value in os.environ.items() if name not in without}
    return {**found, **{name: value for name, value in changed.items() if value is not None}}


@dataclass(frozen=True)
class Ran:
    """How a command ended, and what it has written."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401 # any document
        """Return standard output as the one document that it is."""
        return json.loads(self.out)


def baton(*words: object, password: str | None = PASSWORD, **env: str | None) -> Ran:
    """Run the command without a terminal, as a script does."""
    done = subprocess.run(
        [COMMAND, *map(str, words)],
        env=environment(REDIS_BATON_PASSWORD=password, **env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_TIME,
    )
    assert ESCAPE not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)


def _hears_of_its_terminal() -> None:
    """Undo what `nohup` has done to the whole run of tests."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def begin(*words: object, **options: Any) -> subprocess.Popen[str]:  # noqa: ANN401 # of Popen
    """Start the command, and let it run."""
    return subprocess.Popen(
        [COMMAND, *map(str, words)],
        env=environment(REDIS_BATON_PASSWORD=PASSWORD),
        **{
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            "preexec_fn": _hears_of_its_terminal,
            **options,
        },
    )


def of(pair: Pair) -> list[object]:
    """Return the words that name a pair."""
    return [pair.source.address, pair.target.address, "--journal-dir", pair.journal_dir]


class Terminal:
    """The command in a terminal of 80 columns and 24 lines."""

    def __init__(self, *words: object, **env: str | None) -> None:
        """Start it."""
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [COMMAND, *map(str, words)],
            env=environment(**env),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.seen = ""

    def read_until(self, wanted: str) -> None:
        """Read until that was written."""
        self._read(lambda: wanted in self.text, wanted)

    def enter(self, text: str) -> None:
        """Type a line."""
        os.write(self._ours, f"{text}\n".encode())

    def end(self) -> int:
        """Read until it ends; return its exit status."""
        self._read(lambda: False, "its end")
        return self.process.wait(RUN_TIME)

    def _read(self, enough: Any, wanted: str) -> None:  # noqa: ANN401 # a function
        deadline = time.monotonic() + RUN_TIME
        while not enough():
            left = deadline - time.monotonic()
            assert left > 0, f"{wanted!r} did not come: {self.seen}"
            if not select.select([self._ours], [], [], left)[0]:
                continue
            try:
                more = os.read(self._ours, 65536)
            except OSError:  # nobody has the other end any more
                more = b""
            if not more:
                assert wanted == "its end", self.seen
                return
            self.seen += more.decode(errors="replace")

    @property
    def text(self) -> str:
        """What was seen, without what moves and colours."""
        return re.sub(r"\r\n?", "\n", CONTROL.sub("", self.seen))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)
