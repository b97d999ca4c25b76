"""Real sentinels that watch a master, and clients that ask them where it is."""

from __future__ import annotations

import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.ports import release_block, reserve_block
from tests.support.servers import STOP_TIME, eventually

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self

    from tests.support.certificates import Certificates
    from tests.support.servers import Instance, ServerBinary

NAME = "mymaster"
HOST = "127.0.0.1"


def client(port: int, password: str | None = None, tls: Certificates | None = None) -> redis.Redis:
    """Return a client that retries nothing."""
    return redis.Redis(
        HOST,
        port,
        password=password,
        ssl=tls is not None,
        ssl_ca_certs=str(tls.ca) if tls else None,
        protocol=2,
        decode_responses=True,
        single_connection_client=True,
        socket_timeout=10,
        retry=Retry(NoBackoff(), 0),
    )


class Sentinel:
    """One sentinel process."""

    def __init__(self, binary: ServerBinary, folder: Path, port: int, config: list[str]) -> None:
        """Prepare it."""
        self.binary = binary
        self.port = port
        self.folder = folder
        self.password: str | None = None
        self.tls: Certificates | None = None
        folder.mkdir(parents=True)
        self._config_file = folder / "sentinel.conf"
        lines = [f"bind {HOST}", f"dir {folder}", f"logfile {folder}/log", *config]
        self._config_file.write_text("".join(f"{line}\n" for line in lines))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"{HOST}:{self.port}"

    def start(self) -> None:
        """Run it, and wait until it answers."""
        self._process = subprocess.Popen(
            [self.binary.server, self._config_file, "--sentinel"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

        def answers() -> bool:
            try:
                return bool(self.ask("MYID") if "6.0" not in self.binary.name else self.masters)
            except redis.ConnectionError:
                return False

        eventually(answers, f"the sentinel at {self.address} answers", within=20)

    def ask(self, *words: str) -> Any:  # noqa: ANN401 # any reply there is
        """Send `SENTINEL ...`; the reply as it came."""
        with client(self.port, self.password, self.tls) as one:
            connection = one.connection
            if connection is None:
                raise redis.ConnectionError("not connected")
            connection.send_command("SENTINEL", *words)
            return connection.read_response()

    @property
    def masters(self) -> list[dict[str, str]]:
        """What it says of its masters."""
        return [_named(one) for one in self.ask("MASTERS")]

    @property
    def master(self) -> str:
        """HOST:PORT of the master."""
        host, port = self.ask("GET-MASTER-ADDR-BY-NAME", NAME)
        return f"{host}:{port}"

    @property
    def flags(self) -> set[str]:
        """Of the master."""
        return set(_named(self.ask("MASTER", NAME))["flags"].split(","))

    @property
    def replicas(self) -> set[str]:
        """HOST:PORT of each replica it knows."""
        found = [_named(one) for one in self.ask("REPLICAS", NAME)]
        return {f"{one['ip']}:{one['port']}" for one in found}

    @property
    def replica_flags(self) -> dict[str, set[str]]:
        """What it thinks of each replica."""
        found = [_named(one) for one in self.ask("REPLICAS", NAME)]
        return {f"{one['ip']}:{one['port']}": set(one["flags"].split(",")) for one in found}

    @property
    def peers(self) -> set[int]:
        """Ports of the others it knows."""
        return {int(_named(one)["port"]) for one in self.ask("SENTINELS", NAME)}

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_TIME)
            self._process = None


class Sentinels:
    """Some sentinels that know each other, of versions given."""

    def __init__(
        self,
        binaries: Sequence[ServerBinary],
        folder: Path,
        master: Instance,
        *,
        down_after: int = 30_000,
        password: str | None = None,
        tls: Certificates | None = None,
    ) -> None:
        """Prepare them; `start` runs them."""
        self._block = reserve_block()
        config = [
            f"sentinel monitor {NAME} {HOST} {master.port} {len(binaries) // 2 + 1}",
            f"sentinel down-after-milliseconds {NAME} {down_after}",
        ]
        if master.password:
            config.append(f"sentinel auth-pass {NAME} {master.password}")
        if password:
            config += [f"requirepass {password}", f"sentinel sentinel-pass {password}"]
        if tls:
            config += [
                "port 0",
                "tls-replication yes",
                "tls-auth-clients no",
                f"tls-ca-cert-file {tls.ca}",
                f"tls-cert-file {tls.server}",
                f"tls-key-file {tls.server_key}",
            ]
        listens = "tls-port" if tls else "port"
        self.all = []
        for n, binary in enumerate(binaries):
            port = self._block + n
            lines = [*config, f"{listens} {port}"]
            self.all.append(Sentinel(binary, folder / f"sentinel-{n}", port, lines))
            self.all[-1].password, self.all[-1].tls = password, tls

    @property
    def port(self) -> int:
        """Of the first one."""
        return self.all[0].port

    def start(self) -> Self:
        """Run them, and wait until they know each other."""
        for one in self.all:
            one.start()
        eventually(self.know_each_other, "the sentinels know each other", within=20)
        return self

    def know_each_other(self) -> bool:
        """Whether each knows all others, and a failover could be done."""
        ports = {one.port for one in self.all}
        return all(
            one.peers == ports - {one.port} and "s_down" not in one.flags for one in self.all
        )

    def agree(self, address: str) -> bool:
        """Whether the master is there for all that run."""
        return {one.master for one in self.all if one._process is not None} == {address}  # noqa: SLF001

    @property
    def began_failover(self) -> bool:
        """Whether one of them has ever begun a failover of its own."""
        return any("+try-failover" in (one.folder / "log").read_text() for one in self.all)

    def close(self) -> None:
        """End them."""
        for one in self.all:
            one.kill()
        release_block(self._block)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Asking:
    """Clients that ask the sentinels for the master whenever they connect, and write to it.

    They do not look whether who answers there is a master: one that is not would show as an error.
    """

    def __init__(
        self, sentinels: Sentinels, *, connections: int = 4, pause: float = 0.0005
    ) -> None:
        """Prepare them; they write from entering the context until `stop`."""
        self._sentinels = [(one.port, one.password) for one in sentinels.all]
        self._pause = pause
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=self._write, args=[n], daemon=True) for n in range(connections)
        ]
        self.acknowledged: list[list[int]] = [[] for _ in range(connections)]
        self.times: list[list[float]] = [[] for _ in range(connections)]
        self.cut = [0] * connections
        self.errors: list[str] = []

    def _master(self) -> int | None:
        for port, password in self._sentinels:
            try:
                with client(port, password) as sentinel:
                    connection = sentinel.connection
                    if connection is None:
                        continue
                    connection.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)
                    reply: Any = connection.read_response()
                    return int(reply[1])
            except redis.ConnectionError:
                continue
        return None

    def _write(self, who: int) -> None:
        n = 0
        while not self._end.is_set():
            try:
                port = self._master()
                if port is None:
                    continue
                connection = client(port)
            except redis.ConnectionError:
                time.sleep(0.001)
                continue
            try:
                while not self._end.is_set():
                    n += 1
                    connection.set(f"asking:{who}:{n}", n)
                    self.acknowledged[who].append(n)
                    self.times[who].append(time.monotonic())
                    time.sleep(self._pause)
            except redis.ConnectionError:
                self.cut[who] += 1
            except redis.ResponseError as error:
                self.errors.append(str(error))
            finally:
                connection.close()

    @property
    def longest_gap_ms(self) -> float:
        """The longest time without an acknowledged write of any of them."""
        times = sorted(time for one in self.times for time in one)
        return max(b - a for a, b in zip(times, times[1:])) * 1000

    def writes(self) -> int:
        """How many were acknowledged so far."""
        return sum(len(one) for one in self.acknowledged)

    def wait_for(self, more: int) -> None:
        """Wait until so many more are acknowledged."""
        until = self.writes() + more
        eventually(lambda: self.writes() >= until, f"{more} more writes", within=20)

    def stop(self, server: Instance) -> int:
        """End them; return how many acknowledged writes are not on that server."""
        self._end.set()
        for thread in self._threads:
            thread.join(20)
        lost = 0
        with server.client() as one:
            for who, written in enumerate(self.acknowledged):
                found = one.mget([f"asking:{who}:{n}" for n in written]) if written else []
                lost += sum(value != str(n) for n, value in zip(written, found))
        return lost

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        self.wait_for(100)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(20)


def _named(words: list[str]) -> dict[str, str]:
    return dict(zip(words[::2], words[1::2]))
