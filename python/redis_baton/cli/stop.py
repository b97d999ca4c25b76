"""Signals: the first one ends what goes on, and none changes what was said of how it ended."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType


class Stop:
    """Ctrl-C, a closed terminal, a supervisor: the step ends at its next safe point.

    Only the first signal raises. Another one would come while it is being said in what state the
    first one has left things, and would take the place of that.
    """

    def __init__(self) -> None:
        """Listen from now on, but not to what the caller has us ignore."""
        self.signal = signal.SIGINT
        self.raises = True
        """False where signals are passed over; set plainly, as a call could be interrupted."""
        self._heard = [
            one
            for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
            if signal.getsignal(one) is not signal.SIG_IGN
        ]
        for one in self._heard:
            signal.signal(one, self._stop)

    def _stop(self, number: int, _: FrameType | None) -> None:
        if self.raises:
            self.raises = False
            self.signal = signal.Signals(number)
            raise KeyboardInterrupt

    def listen_no_more(self) -> None:
        """Keep the exit status as it is: the interpreter drops its handlers before it has ended."""
        for one in self._heard:
            signal.signal(one, signal.SIG_IGN)
