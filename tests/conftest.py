"""Fixtures for tests on real servers."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.support.certificates import Certificates, make_certificates
from tests.support.ports import release_block, reserve_block
from tests.support.servers import OWN_BINARIES, REQUIRED, ConfigValue, Instance, find

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[1]
_missing: dict[str, int] = {}


class ServerFactory(Protocol):
    """Starts servers; see `Instance` for the parameters."""

    def __call__(
        self,
        name: str,
        *,
        port: int | None = None,
        password: str | None = None,
        tls: Certificates | None = None,
        config_file: bool = True,
        **config: ConfigValue,
    ) -> Instance:
        """Return a running server of that name; it ends with the test."""


# A shell ignores it in what it starts in the background, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerFactory]:
    """Start real servers: `server("redis-7.0", appendonly=True)`; they end with the test."""
    instances: list[Instance] = []

    def start(
        name: str,
        *,
        port: int | None = None,
        password: str | None = None,
        tls: Certificates | None = None,
        config_file: bool = True,
        **config: ConfigValue,
    ) -> Instance:
        binary = find(name)
        if binary is None:
            _missing[name] = _missing.get(name, 0) + 1
            if name in REQUIRED and os.environ.get("REDIS_BATON_REQUIRE_SERVERS") == "1":
                pytest.fail(
                    f"{name} is not on this machine and must be: {OWN_BINARIES}", pytrace=False
                )
            pytest.skip(f"{name} is not on this machine")
        instance = Instance(
            binary,
            tmp_path / f"{name}-{len(instances)}",
            port=port,
            password=password,
            tls=tls,
            config_file=config_file,
            config=config,
        )
        instances.append(instance)
        return instance.start()

    yield start
    for instance in reversed(instances):
        instance.close()


@pytest.fixture(scope="session")
def wheel() -> Path:
    """Return the one that `make wheel` has built."""
    built = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")) / "wheels"
    [found] = built.glob("redis_baton-*.whl")
    return found


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Return an authority, a server's and a client's certificate."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def free_ports() -> Iterator[int]:
    """Return the first of some free ports in a row."""
    first = reserve_block()
    yield first
    release_block(first)


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what no test asked for out of folders of others: journals, files without a folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def journal_dir(tmp_path: Path) -> Path:
    """Return an empty folder for journals."""
    folder = tmp_path / "journal"
    folder.mkdir()
    return folder


def pytest_configure() -> None:
    """End on SIGTERM as on Ctrl-C, with teardown: otherwise servers would be left behind."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests the missing servers cost, and what to do."""
    if _missing:
        names, tests = ", ".join(sorted(_missing)), sum(_missing.values())
        terminalreporter.section(f"{tests} tests could not run: servers missing", yellow=True)
        terminalreporter.line(f"{names}: {OWN_BINARIES}")
