"""Signals, one after the other: what is said is what the step has said, wherever they come."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Callable

from tests.cli.common import PASSWORD, RUN_TIME, Terminal, begin, of
from tests.python.common import put

if TYPE_CHECKING:
    import subprocess
    from typing import Any

    from tests.python.common import Pair
    from tests.support.servers import Instance


def send_until_it_ends(process: subprocess.Popen[Any], one: signal.Signals) -> None:
    """Send a signal again and again."""
    deadline = time.monotonic() + RUN_TIME
    while process.poll() is None:
        assert time.monotonic() < deadline, "it does not end"
        process.send_signal(one)
        time.sleep(0.001)


def test_signals_while_it_stops_do_not_hide_what_was_sent(
    pair: Pair, reader: Callable[[Instance], None]
) -> None:
    reader(pair.source)
    process = begin("upgrade", *of(pair), "--yes", "--json")
    try:
        assert process.stderr is not None
        while "waiting for" not in process.stderr.readline():
            assert process.poll() is None
        send_until_it_ends(process, signal.SIGTERM)
        out, err = process.communicate(timeout=RUN_TIME)
    finally:
        process.kill()
    assert (process.returncode, pair.roles) == (143, ("slave", "master"))
    assert "Traceback" not in err
    assert err.endswith("(interrupted: run the same thing again)\n")
    assert json.loads(out)["error"]["state"] == "interrupted"


def test_signals_at_the_question_end_it_with_nothing_sent(pair: Pair) -> None:
    put(pair.source, 10)
    with Terminal("upgrade", *of(pair), REDIS_BATON_PASSWORD=PASSWORD) as terminal:
        terminal.read_until("[y/N]:")
        send_until_it_ends(terminal.process, signal.SIGINT)
        assert terminal.end() == 130, terminal.text
    assert "Traceback" not in terminal.text
    assert "nothing was sent (unchanged)" in re.sub(r"\s+", " ", terminal.text)
    assert pair.roles == ("master", "master")


def test_signals_while_the_result_is_written_change_nothing_about_it(pair: Pair) -> None:
    put(pair.source, 10)
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    with suppress(BlockingIOError):
        while True:
            os.write(theirs, b" " * 1024)
    os.set_blocking(theirs, True)
    words = ("upgrade", *of(pair), "--yes", "--json", "--quiet-for", "100ms")
    process = begin(*words, stdout=theirs)
    os.close(theirs)
    try:
        assert process.stderr is not None
        # The last step's end is shown when the step is over; what is left is to write the result.
        while not process.stderr.readline().startswith("wait-quiescent: "):
            assert process.poll() is None
        for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            process.send_signal(one)
            time.sleep(0.05)
        with open(ours, encoding="utf-8") as written:  # noqa: PTH123 # a pipe
            out = written.read()
        _, err = process.communicate(timeout=RUN_TIME)
    finally:
        process.kill()
    assert (process.returncode, err) == (0, "")
    assert json.loads(out)["stage"] == "switched"
    assert pair.roles == ("slave", "master")
