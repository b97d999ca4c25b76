"""Exit statuses: how it ended, for scripts."""

from __future__ import annotations

import signal
from enum import IntEnum

from redis_baton import BatonError, ConnectionFailed, InvalidInput, Refused


class Exit(IntEnum):
    """What a caller may branch on."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    INTERRUPTED = 4


MEANINGS = {
    Exit.DONE: "done, or there was nothing left to do",
    Exit.FAILED: "a command failed or a wait ended; who served before serves",
    Exit.USAGE: "an argument, an option or the configuration file is wrong; no server was asked",
    Exit.REFUSED: "refused, or a server can't be reached, or nobody said yes; nothing was changed",
    Exit.INTERRUPTED: "something is under way or half done: run the same command again",
    128 + signal.SIGINT: "Ctrl-C (129 hung up, 143 terminated); it says in what state things are",
}


def status_of(error: BatonError) -> Exit:
    """Return the exit status of an error: its state counts first, then its class."""
    if error.state == "interrupted":
        return Exit.INTERRUPTED
    if isinstance(error, InvalidInput):
        return Exit.USAGE
    if isinstance(error, (Refused, ConnectionFailed)) and error.state == "unchanged":
        return Exit.REFUSED
    return Exit.FAILED
