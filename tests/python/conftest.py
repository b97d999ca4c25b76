"""Fixtures for tests of the package."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Callable, Protocol

import pytest
import redis

from tests.python.common import Pair

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import ServerFactory
    from tests.support.servers import Instance


class PairFactory(Protocol):
    """Starts a pair of servers."""

    def __call__(self, old: str = "redis-7.0", new: str = "redis-8.0") -> Pair:
        """Return both, running."""


@pytest.fixture
def pair_of(server: ServerFactory, journal_dir: Path) -> PairFactory:
    """Start a pair of other servers than `pair`'s."""

    def start(old: str = "redis-7.0", new: str = "redis-8.0") -> Pair:
        return Pair(server(old), server(new), journal_dir)

    return start


@pytest.fixture
def pair(pair_of: PairFactory) -> Pair:
    """Start a Redis 7.0 and a Redis 8.0 that have nothing to do with each other."""
    return pair_of()


@pytest.fixture
def writer() -> Iterator[Callable[[Instance], None]]:
    """Write to a server, slowly and until the test ends, as `the-writer`."""
    stop = threading.Event()
    threads: list[threading.Thread] = []

    def write(server: Instance) -> None:
        with server.client() as client:
            client.client_setname("the-writer")
            with suppress(redis.RedisError):  # the switchover cuts it
                while not stop.wait(0.02):
                    client.incr("counter")

    def start(server: Instance) -> None:
        threads.append(threading.Thread(target=write, args=[server]))
        threads[-1].start()

    yield start
    stop.set()
    for thread in threads:
        thread.join()
