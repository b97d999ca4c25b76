"""`verify` by reads that ends before its end: by the caller, or as a server dies."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest
import redis_baton as rb
from redis_baton import Failed

from tests.python.test_verify import spoil
from tests.python.test_verify_reads import FULL
from tests.support.servers import eventually

if TYPE_CHECKING:
    from tests.python.common import Pair


class StopError(Exception):
    """What a callback raises to interrupt a step."""


def test_interrupted_and_resumed(pair: Pair) -> None:
    pair.follow(5000)
    spoil(pair, *(("SET", f"key:{n}", "another") for n in range(1, 5000, 500)))
    seen: list[dict[str, Any]] = []

    def stop(event: dict[str, Any]) -> None:
        if event["event"] == "comparing":
            seen.append(event)
            raise StopError

    with pytest.raises(StopError):
        rb.verify(**pair.given, **FULL, rate=4000, on_event=stop)
    (bookmark,) = pair.journal_dir.glob("*.verify")
    assert bookmark.stat().st_mode & 0o777 == 0o600
    assert 0 < seen[0]["done"] < 5000 == seen[0]["total"]
    # Those that differ are found once, in whichever part.
    result = rb.verify(**pair.given, **FULL, resume=True, fail=False)
    assert (result.differing, len(result.differences), result.warnings) == (10, 10, [])
    assert result.compared == 5000
    assert not bookmark.exists()

    with pytest.raises(StopError):
        rb.verify(**pair.given, **FULL, rate=4000, on_event=stop)
    pair.target.stop()
    pair.target.start()
    pair.follow(0)
    result = rb.verify(**pair.given, **FULL, resume=True)
    assert (result.equal, result.compared) == (True, 5000)
    assert "begins anew" in result.warnings[0]
    result = rb.verify(**pair.given, **FULL, resume=True)
    assert "begins anew" in result.warnings[0]


def test_whoever_is_interrupted_again_and_again_comes_to_the_end(pair: Pair) -> None:
    pair.follow(6000)
    for times in range(1, 30):
        events: list[dict[str, Any]] = []

        def stop(event: dict[str, Any], events: list[dict[str, Any]] = events) -> None:
            events.append(event)
            if len([one for one in events if one["event"] == "comparing"]) == 2:
                raise StopError

        try:
            result = rb.verify(**pair.given, **FULL, rate=2000, resume=times > 1, on_event=stop)
        except StopError:
            continue
        break
    # A second each at 2000 a second, less a page or two.
    assert times < 10
    assert (result.equal, result.compared) == (True, 6000)


def test_interrupted_while_it_waits_for_keys_to_rest(pair: Pair) -> None:
    """Nothing that it knows by then is lost, although all keys were gone through."""
    # It takes longer to read than to write to.
    pair.source.call("SETRANGE", "restless", 8 << 20, "x")
    pair.follow(500)
    spoil(pair, ("SET", "key:7", "another"), ("SET", "restless", "another"))
    done = threading.Event()

    def write() -> None:
        with pair.source.client() as client:
            while not done.wait(0.0005):
                client.append("restless", "x")

    writer = threading.Thread(target=write)
    writer.start()
    ctrl_c = threading.Timer(2, os.kill, (os.getpid(), signal.SIGINT))
    ctrl_c.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            rb.verify(**pair.given, **FULL, wait_timeout=60)
    finally:
        done.set()
        writer.join()
    result = rb.verify(**pair.given, **FULL, resume=True, fail=False)
    assert (result.differing, result.compared, result.warnings) == (2, 501, [])

    # Of one that was not resumed nothing is left for a later one.
    with pytest.raises(StopError):
        rb.verify(**pair.given, **FULL, rate=100, on_event=_stop)
    assert list(pair.journal_dir.glob("*.verify"))
    rb.verify(**pair.given, **FULL, fail=False)
    assert not list(pair.journal_dir.glob("*.verify"))


def _stop(event: dict[str, Any]) -> None:
    if event["event"] == "comparing":
        raise StopError


@pytest.mark.parametrize("dies", ["source", "target"])
def test_a_server_that_dies_on_the_way(pair: Pair, dies: str) -> None:
    """The other one is left as it was, and alone."""
    pair.follow(5000)
    dead, alive = (pair.source, pair.target)[:: 1 if dies == "source" else -1]

    def kill(event: dict[str, Any]) -> None:
        if event["event"] == "comparing" and dead.alive:
            dead.kill()

    with pytest.raises(Failed) as caught:
        rb.verify(**pair.given, **FULL, rate=2500, on_event=kill)
    assert (caught.value.reason, caught.value.state) == ("connection_lost", "unchanged")
    assert str(dead.port) in str(caught.value)
    eventually(lambda: "name=redis-baton" not in alive.call("CLIENT", "LIST"), "all have hung up")
