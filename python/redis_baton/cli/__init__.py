"""The command `redis-baton`: the steps for a person at a terminal. It needs the extra `cli`."""

from __future__ import annotations

import sys

NEEDED = {"click", "rich", "tomli"}


def main() -> int:
    """Run the command line, and return the exit status."""
    try:
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
