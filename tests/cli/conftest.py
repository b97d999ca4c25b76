"""Fixtures for tests of the command."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Callable

import pytest
import redis

from tests.cli.common import PASSWORD
from tests.python.common import Pair

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import ServerFactory
    from tests.support.servers import Instance


@pytest.fixture
def pair(server: ServerFactory, journal_dir: Path) -> Pair:
    """Start a Redis 7.0 and a Redis 8.0 that want a password."""
    source, target = (server(name, password=PASSWORD) for name in ("redis-7.0", "redis-8.0"))
    return Pair(source, target, journal_dir)


@pytest.fixture
def reader() -> Iterator[Callable[[Instance], None]]:
    """Read from a server by its socket until the test ends: whatever moves, it stays there."""
    stop = threading.Event()
    threads: list[threading.Thread] = []

    def read(server: Instance) -> None:
        while not stop.wait(0.01):
            with suppress(redis.RedisError), server.client() as client:
                client.get("key")

    def start(server: Instance) -> None:
        threads.append(threading.Thread(target=read, args=[server]))
        threads[-1].start()

    yield start
    stop.set()
    for thread in threads:
        thread.join()
