"""Ports that nobody else takes, neither another test nor another run on the same machine."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import IO

# A block is one server's own: a switchover parks the old server on a free port above the new one's.
BLOCK_SIZE = 32
# Below what the kernel hands out for outgoing connections (net.ipv4.ip_local_port_range), so that
# none of those happens to sit on a port between its reservation and its use.
BLOCKS = range(10_240, 32_000, BLOCK_SIZE)

_held: dict[int, IO[bytes]] = {}


def reserve_block() -> int:
    """Return the first of BLOCK_SIZE free ports, which stay this process's until it ends."""
    folder = Path(tempfile.gettempdir()) / f"redis-baton-ports.{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for first in random.sample(BLOCKS, len(BLOCKS)):
        if first in _held:
            continue
        lock = (folder / str(first)).open("wb")
        try:
            # The kernel lets go of it when this process ends, however it ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        if all(_is_free(port) for port in range(first, first + BLOCK_SIZE)):
            _held[first] = lock
            return first
        lock.close()
    raise RuntimeError(
        f"no {BLOCK_SIZE} free ports in a row between {BLOCKS.start} and {BLOCKS.stop}"
    )


def release_block(first: int) -> None:
    """Let others have the block again."""
    _held.pop(first).close()


def _is_free(port: int) -> bool:
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::1")):
        try:
            with socket.socket(family) as probe:
                # As servers do; else connections of an ended one (TIME_WAIT) look like a listener.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
    return True
