"""A relay of its own, given orders as a controller gives them."""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from tests.support.servers import eventually

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self


def order(path: Path, **order: object) -> dict[str, Any]:
    """Give an order to the relay at this socket and return its answer."""
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(10)
        stream.connect(str(path))
        stream.sendall(json.dumps(order).encode() + b"\n")
        with stream.makefile() as answers:
            answer: dict[str, Any] = json.loads(answers.readline())
    return answer


class Relay:
    """A relay's process, which ends with the context."""

    def __init__(self, path: Path, *, files: int | None = None) -> None:
        """Prepare it; `files` is how many it may open."""
        self.path = path
        self._files = files
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it; returns when it takes orders."""

        def limit() -> None:
            if self._files is not None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (self._files, self._files))

        with self.path.with_suffix(".log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "redis_baton.relayd", str(self.path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=limit,  # noqa: PLW1509  (nothing here has threads yet)
            )
        eventually(self._answers, "the relay takes orders")
        return self

    def _answers(self) -> bool:
        try:
            return "done" in order(self.path, do="status")
        except OSError:
            return False

    def forward(self, port: int, to: int, **options: object) -> dict[str, Any]:
        """Have it forward a port on loopback to another one."""
        way = {"bind": ["127.0.0.1"], "port": port, "to": f"127.0.0.1:{to}"}
        wish = {"open": True, "idle": None, **options}
        return order(self.path, do="listen", ways=[way], **wish)

    def connections(self) -> list[dict[str, Any]]:
        """Return who is connected."""
        found: list[dict[str, Any]] = order(self.path, do="list")["done"]["connections"]
        return found

    def log(self) -> str:
        """Return what it has said."""
        return self.path.with_suffix(".log").read_text()

    def wait(self) -> int:
        """Wait until it has ended by itself."""
        assert self._process
        return self._process.wait(15)

    def kill(self) -> None:
        """End it at once."""
        assert self._process
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
