"""The command `redis-baton`: the steps for a person at a terminal. It needs the extra `cli`."""

from __future__ import annotations

import os
import sys

NEEDED = {"click", "rich", "tomli"}


def _lead_closed_streams_nowhere() -> None:
    """Open what the caller has closed: its number would go to the next file or connection."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = open(  # noqa: PTH123, SIM115 # for as long as the process lives
                os.devnull, mode, encoding="utf-8", errors="replace"
            )
            setattr(sys, name, nowhere)


def main() -> int:
    """Run the command line, and return the exit status."""
    try:
        _lead_closed_streams_nowhere()
        try:
            from .app import run  # noqa: PLC0415 # what it needs may be missing
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if missing not in NEEDED:
                raise
            print(
                f"redis-baton: the command needs the Python package {missing!r}, which is not "
                "here; install the extra: pip install 'redis-baton[cli]'. The library works "
                "without it.",
                file=sys.stderr,
            )
            return 1
        return run(sys.argv[1:])
    except KeyboardInterrupt:
        # It comes from `run` only where no step has begun.
        print("redis-baton: stopped, nothing was sent (unchanged)", file=sys.stderr)
        return 130
