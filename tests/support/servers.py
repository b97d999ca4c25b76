"""Real servers, asked for by name, each in a folder and on ports of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Union

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.ports import release_block, reserve_block

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from tests.support.certificates import Certificates

NAMES = (
    "redis-6.0",
    "redis-7.0",
    "redis-8.0",
    "redis-8.6",
    "valkey-8.0",
    "valkey-8.1",
    "valkey-9.1",
)
# The pairs that must have been run before anything is said to work are made of these.
REQUIRED = frozenset({"redis-7.0", "redis-8.0", "redis-8.6", "valkey-8.1", "valkey-9.1"})
OWN_BINARIES = (
    "run tests/support/fetch-servers, or set REDIS_BATON_SERVERS to a folder that holds "
    "NAME/bin/redis-server and NAME/bin/redis-cli (valkey-server and valkey-cli for valkey)"
)
START_TIME = 20.0
STOP_TIME = 20.0

ConfigValue = Union[str, int, bool, "Sequence[str]"]


@dataclass(frozen=True)
class ServerBinary:
    """One version of a server that can be run here."""

    name: str
    server: Path
    cli: Path


def find(name: str) -> ServerBinary | None:
    """Return the server of that name if it is here: in REDIS_BATON_SERVERS or in the cache."""
    if name not in NAMES:
        raise ValueError(f"there is no server called {name!r}; there are {', '.join(NAMES)}")
    flavour = name.partition("-")[0]
    for folder in folders():
        tools = folder / name / "bin"
        server, cli = tools / f"{flavour}-server", tools / f"{flavour}-cli"
        if os.access(server, os.X_OK):
            return ServerBinary(name, server, cli)
    return None


def folders() -> list[Path]:
    """Return where servers are looked for, the user's own first."""
    own = os.environ.get("REDIS_BATON_SERVERS")
    return [*([Path(own)] if own else []), cache() / "servers"]


def cache() -> Path:
    """Return the folder for what is fetched."""
    user_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("REDIS_BATON_CACHE") or user_cache / "redis-baton")


def eventually(condition: Callable[[], bool], what: str, *, within: float = 10.0) -> None:
    """Wait until the condition holds; fail with `what` was waited for when it does not."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {within:g} s")
        time.sleep(0.01)


class Instance:
    """A server process, run from a config file in its own folder. It keeps no data unless told to.

    `client`, `call` and `info` reach the process itself, by its unix socket: a switchover moves
    ports from one process to another, and a test wants to ask this one wherever it listens.
    `cli` and `url` use the public port.

    Config parameters may have underscores for dashes; a list makes a line of each of its values.
    With `tls` the port speaks TLS only. With `config_file=False` all goes to the command line,
    and CONFIG REWRITE is refused.
    """

    def __init__(
        self,
        binary: ServerBinary,
        folder: Path,
        *,
        port: int | None = None,
        password: str | None = None,
        tls: Certificates | None = None,
        config_file: bool = True,
        config: Mapping[str, ConfigValue] | None = None,
    ) -> None:
        """Prepare it; `start` runs it."""
        self.binary = binary
        self.folder = folder
        self.host = "127.0.0.1"
        self.password = password
        self.tls = tls
        self.logfile = folder / "server.log"
        self.config_file = folder / "server.conf" if config_file else None
        self._block = reserve_block() if port is None else None
        self.port = self._block if self._block is not None else port or 0
        # A unix socket's path may have 107 characters, which a test's own folder easily exceeds.
        self._socket_folder = tempfile.TemporaryDirectory(prefix="rb-")
        self.unix_socket = Path(self._socket_folder.name) / "s"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._lines = self._config_lines(config or {})
        if self.config_file:
            self.config_file.write_text("".join(f"{line}\n" for line in self._lines))

    def _config_lines(self, config: Mapping[str, ConfigValue]) -> list[str]:
        settings: dict[str, ConfigValue] = {
            "bind": "127.0.0.1 ::1",
            "port": self.port,
            "unixsocket": str(self.unix_socket),
            "dir": str(self.folder),
            "logfile": str(self.logfile),
            "daemonize": False,
            "save": "",
        }
        if self.tls:
            settings |= {
                "port": 0,
                "tls-port": self.port,
                "tls-ca-cert-file": str(self.tls.ca),
                "tls-cert-file": str(self.tls.server),
                "tls-key-file": str(self.tls.server_key),
                "tls-replication": True,
                "tls-auth-clients": False,
            }
        if self.password:
            settings |= {"requirepass": self.password, "masterauth": self.password}
        settings |= {name.replace("_", "-"): value for name, value in config.items()}
        return [
            f"{name} {_written(one)}"
            for name, value in settings.items()
            for one in ([value] if isinstance(value, (str, int)) else value)
        ]

    def start(self) -> Self:
        """Run it, and wait until it has loaded its data and answers. It can be run again later."""
        if self.alive:
            raise RuntimeError(f"{self} runs already")
        if self.config_file:
            arguments = [str(self.config_file)]
        else:
            arguments = [word for line in self._lines for word in _as_options(line)]
        with self.logfile.open("ab") as log:
            # A session of its own: Ctrl-C is for the test, which then stops its servers.
            self._process = subprocess.Popen(
                [self.binary.server, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            eventually(self._answers, f"{self} answers", within=START_TIME)
        except Exception as error:
            self.kill()
            raise RuntimeError(f"{self} did not start: {error}\n{self.log_tail()}") from error
        return self

    def _answers(self) -> bool:
        if not self.alive:
            raise RuntimeError("it ended")
        try:
            return bool(self.call("PING"))
        except (redis.ConnectionError, redis.BusyLoadingError):
            return False

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process, also when it has ended."""
        if self._process is None:
            raise RuntimeError(f"{self} was never started")
        return self._process.pid

    @property
    def address(self) -> str:
        """The public HOST:PORT."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The public address as a URL, with the password if there is one."""
        login = f":{self.password}@" if self.password else ""
        return f"{'rediss' if self.tls else 'redis'}://{login}{self.address}"

    def client(self, *, db: int = 0) -> redis.Redis:
        """Return a client of this very process; replies are text, and nothing is retried."""
        return redis.Redis(
            unix_socket_path=str(self.unix_socket),
            password=self.password,
            db=db,
            decode_responses=True,
            socket_timeout=10,
            retry=Retry(NoBackoff(), 0),
        )

    def call(self, *command: str | float, db: int = 0) -> Any:  # noqa: ANN401 # any reply there is
        """Send one command to this process over a connection that lasts no longer."""
        with self.client(db=db) as client:
            return client.execute_command(*command)

    def info(self, section: str = "everything") -> dict[str, Any]:
        """Return a section of INFO, numbers as numbers."""
        with self.client() as client:
            found: dict[str, Any] = client.info(section)
            return found

    @property
    def role(self) -> str:
        """`master` or `slave`, as the server puts it."""
        return str(self.info("replication")["role"])

    @property
    def current_port(self) -> int:
        """Where the process listens now."""
        reply: dict[str, str] = self.call("CONFIG", "GET", "tls-port" if self.tls else "port")
        return int(next(iter(reply.values())))

    def cli(self, *arguments: str) -> str:
        """Run redis-cli (or valkey-cli) against the public port; return what it prints."""
        tls = ["--tls", "--cacert", str(self.tls.ca)] if self.tls else []
        login = ["-a", self.password, "--no-auth-warning"] if self.password else []
        command = [
            str(self.binary.cli),
            "-h",
            self.host,
            "-p",
            str(self.port),
            *tls,
            *login,
            *arguments,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        return done.stdout.rstrip("\n")

    def stop(self) -> None:
        """End it as a service manager does, and wait for that. A stopped one stays stopped."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None or not self.alive:
            return
        self._process.send_signal(signal.SIGCONT)  # a test may have frozen it
        self._process.send_signal(how)
        try:
            self._process.wait(STOP_TIME)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise RuntimeError(f"{self} did not end on {how.name}\n{self.log_tail()}") from None

    def freeze(self) -> None:
        """Stop the process in its tracks, as a hung machine does; `thaw` lets it go on."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process go on."""
        os.kill(self.pid, signal.SIGCONT)

    def log_tail(self, lines: int = 20) -> str:
        """Return the end of its log."""
        if not self.logfile.exists():
            return "(no log)"
        return "\n".join(self.logfile.read_text(errors="replace").splitlines()[-lines:])

    def close(self) -> None:
        """End it at once and give its port back."""
        self.kill()
        self._socket_folder.cleanup()
        if self._block is not None:
            release_block(self._block)
            self._block = None

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
        return f"<{self.binary.name} on {self.address}>"


def _written(value: str | int) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) or '""'


def _as_options(line: str) -> list[str]:
    name, _, value = line.partition(" ")
    return [f"--{name}", *("" if word == '""' else word for word in value.split())]
