"""A real HAProxy in front of servers: it checks which is the master, or does as it is told."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.ports import release_block, reserve_block
from tests.support.servers import START_TIME, STOP_TIME, eventually, folders

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from types import TracebackType

    from typing_extensions import Self

NAME = "haproxy-3.0"
# It can't let clients wait: they are refused for a moment instead.
REFUSES = "haproxy-2.6"
# What HAProxy's own and everybody else's examples check, spelled for `tcp-check send` and `expect`.
CHECK = (
    r'send "PING\r\n"',
    "expect string +PONG",
    r'send "info replication\r\n"',
    "expect string role:master",
    r'send "QUIT\r\n"',
    "expect string +OK",
)


def find_haproxy(name: str = NAME) -> Path | None:
    """Return the program if it is here: in REDIS_BATON_SERVERS or in the cache."""
    for folder in folders():
        program = folder / name / "bin" / "haproxy"
        if os.access(program, os.X_OK):
            return program
    return None


class HAProxy:
    """A HAProxy process in front of servers, given as `{"old": "127.0.0.1:6379", ...}`.

    One failed check is enough to take a server out (`fall`), one good one to take it in (`rise`),
    and who is connected to one that is taken out is cut: nobody can be quicker at that interval.
    A text that does not come is waited for until `timeout check`; HAProxy's own default, the
    interval, would tell a demoted server a second later.

    Servers that are `disabled` get nobody before `enable`: an empty one is a master too.
    Without `check` it takes all others for good. `split` has a frontend beside the backend in place
    of a `listen` section.
    """

    def __init__(
        self,
        program: Path,
        folder: Path,
        servers: Mapping[str, str],
        *,
        inter: str = "1s",
        fall: int = 1,
        rise: int = 1,
        disabled: Collection[str] = (),
        check: bool = True,
        split: bool = False,
        level: str = "admin",
    ) -> None:
        """Prepare it; `start` runs it."""
        self.host = "127.0.0.1"
        self.port = self._block = reserve_block()
        self.logfile = folder / "haproxy.log"
        self.config_file = folder / "haproxy.cfg"
        self.servers = tuple(servers)
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        # A unix socket's path may have 107 characters.
        self._socket_folder = tempfile.TemporaryDirectory(prefix="rb-")
        self.socket = Path(self._socket_folder.name) / "s"
        self.tcp_socket = f"{self.host}:{self.port + 1}"
        folder.mkdir(parents=True, exist_ok=True)
        bind = f"  bind {self.address}"
        checks = [
            "  option tcp-check",
            "  tcp-check connect",
            *(f"  tcp-check {rule}" for rule in CHECK),
            f"  default-server check inter {inter} fall {fall} rise {rise}",
            "  default-server on-marked-down shutdown-sessions",
        ]
        lines = [
            "global",
            f"  stats socket {self.socket} mode 600 level {level}",
            f"  stats socket {self.tcp_socket} level {level}",
            "defaults",
            "  mode tcp",
            "  timeout connect 1s",
            "  timeout check 100ms",
            "  timeout client 1h",
            "  timeout server 1h",
            *(
                ["frontend clients", bind, "  default_backend redis", "backend redis"]
                if split
                else ["listen redis", bind]
            ),
            *(checks if check else []),
            *(
                f"  server {name} {address}{' disabled' if name in disabled else ''}"
                for name, address in servers.items()
            ),
        ]
        self.config_file.write_text("".join(f"{line}\n" for line in lines))

    @property
    def address(self) -> str:
        """Where clients connect, as HOST:PORT."""
        return f"{self.host}:{self.port}"

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Run it, and wait until it has checked every server: before, it takes all for good."""
        with self.logfile.open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "-db", "-f", self.config_file],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            eventually(self._has_checked, f"{self} has checked its servers", within=START_TIME)
        except Exception as error:
            self.close()
            raise RuntimeError(f"{self} did not start: {error}\n{self.log()}") from error
        return self

    def _has_checked(self) -> bool:
        if not self.alive:
            raise RuntimeError("it ended")
        try:
            found = self._stats()
        except OSError:
            return False
        # `INI` is before the first check, a star is a check that runs for the first time.
        return all(
            row["check_status"][:1] == "L" or row["status"] in {"MAINT", "no check"}
            for row in found.values()
        )

    def command(self, line: str) -> str:
        """Send a line to the runtime API, such as `show stat`, and return what it answers."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self.socket))
            connection.sendall(f"{line}\n".encode())
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()

    def enable(self, name: str) -> None:
        """Let clients be sent to a server if it is the master; until it is checked, it is not."""
        self.command(f"enable server redis/{name}; set server redis/{name} health down")

    def _stats(self) -> dict[str, dict[str, str]]:
        head, *rows = self.command("show stat").removeprefix("# ").splitlines()
        found = [dict(zip(head.split(","), row.split(","))) for row in rows if row]
        return {row["svname"]: row for row in found if row["svname"] in self.servers}

    @property
    def serving(self) -> list[str]:
        """The names of the servers that clients are sent to."""
        return [name for name, row in self._stats().items() if row["status"].startswith("UP")]

    def log(self) -> str:
        """Return what it has said."""
        return self.logfile.read_text(errors="replace") if self.logfile.exists() else "(no log)"

    def kill(self) -> None:
        """End it at once, connections and all; `start` runs it again, as its file says."""
        if self._process is not None and self.alive:
            self._process.kill()
            self._process.wait(STOP_TIME)

    def close(self) -> None:
        """End it at once, connections and all, and give its port back."""
        self.kill()
        self._socket_folder.cleanup()
        if self._block:
            release_block(self._block)
            self._block = 0

    def __enter__(self) -> Self:
        return self if self.alive else self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<HAProxy on {self.address}>"
