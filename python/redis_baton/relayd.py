"""The relay's process: takes the source's address over and forwards connections to the target.

Started by `switchover` with ``redirect="relay"``, or by a unit of systemd, as
``python -m redis_baton.relayd SOCKET``. It takes orders at that unix socket, keeps what it forwards
in a file beside it, and goes on there when it is started again.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from ._core import run_relay


def main() -> None:
    """Run a relay, out of reach of a terminal that is closed."""
    arguments = argparse.ArgumentParser(description="Forward connections, as the switchover says.")
    arguments.add_argument("socket", type=Path, help="the unix socket to take orders at")
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    try:
        run_relay(arguments.parse_args().socket)
    except RuntimeError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
