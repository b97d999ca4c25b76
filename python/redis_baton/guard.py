"""Does the rest of a handover whose controller has died in it.

Started by `switchover` and `rollback` beside each handover, as ``python -m redis_baton.guard``; not
meant to be called by hand. It holds no secret in its arguments or environment, ends with the
controller, and outlives it only to finish, take back or call off what that has left half done.
"""

from __future__ import annotations

import signal

from ._core import stand_guard


def main() -> None:
    """Stand guard, out of reach of a terminal that is closed."""
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    stand_guard()


if __name__ == "__main__":
    main()
