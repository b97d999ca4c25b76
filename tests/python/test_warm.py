"""Whether the old one can take over back: it says so, follows again where it can, is never wiped.

Not staged: a new master that a supervisor restarts with an older file of its own while the old one
is linked. That is `history_lost`, in test_resume.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

import pytest
import redis_baton as rb

from tests.python.common import Pair, data_of
from tests.support.load import Load
from tests.support.servers import Instance, eventually

if TYPE_CHECKING:
    from tests.python.conftest import PairFactory

PAIRS = [("redis-7.0", "redis-8.0"), ("valkey-8.1", "valkey-9.1")]
REDIRECTS: tuple[Literal["takeover", "none"], ...] = ("takeover", "none")
MEBIBYTE = 1 << 20


def cut_link(pair: Pair, end: str = "target") -> None:
    """Cut the replication link at that end; the old one does not get it back by itself."""
    if end == "target":
        pair.target.call("CLIENT", "KILL", "TYPE", "replica")
    else:
        pair.source.call("CLIENT", "KILL", "TYPE", "master")
    eventually(lambda: not linked(pair), "the link is down")


def linked(pair: Pair) -> bool:
    return bool(pair.source.info("replication")["master_link_status"] == "up")


def tries(master: Instance) -> int:
    """Return how often somebody tried to log in with a login that is not known."""
    found = master.info("errorstats").get("errorstat_WRONGPASS", {"count": 0})
    return int(found["count"])


def overrun(pair: Pair) -> None:
    """Write more than the backlog holds while the link is down."""
    cut_link(pair)
    for n in range(200):  # 10 MiB is what newer ones have by default
        pair.target.call("SET", f"big:{n}", "x" * 65536)


@pytest.mark.parametrize("end", ["source", "target"])
@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_a_link_that_broke_is_made_again_by_the_rollback(
    pair_of: PairFactory, old: str, new: str, end: str
) -> None:
    pair = pair_of(old, new)
    pair.switch()
    before = rb.status(**pair.given)
    assert (before.stage, before.warm, before.why) == ("switched", True, None)
    assert before.since is not None
    assert abs(time.time() - before.since) < 60
    cut_link(pair, end)
    pair.target.call("SET", "meanwhile", "written")
    known = tries(pair.target)
    eventually(lambda: tries(pair.target) > known, "it does not get in by itself", within=5)
    assert not linked(pair)
    found = rb.status(**pair.given)
    assert (found.warm, found.backlog_seconds) == (False, None)
    assert "links it again" in (found.why or "")
    assert not rb.rollback(**pair.given, dry_run=True).warm or not linked(pair)
    back = rb.rollback(**pair.given)
    assert (back.changed, back.warm) == (True, True)
    assert pair.source.call("GET", "meanwhile") == "written"
    assert pair.roles == ("master", "slave")
    # By partial resync, both times.
    assert [one.info("stats")["sync_full"] for one in (pair.source, pair.target)] == [1, 0]


@pytest.mark.parametrize("redirect", REDIRECTS)
@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_what_fell_out_of_the_backlog_is_never_guessed_and_the_old_one_never_wiped(
    pair_of: PairFactory, old: str, new: str, redirect: Literal["takeover", "none"]
) -> None:
    pair = pair_of(old, new)
    pair.follow(300)
    rb.switchover(**pair.given, redirect=redirect, backlog_bytes=MEBIBYTE)
    data = data_of(pair.source)
    overrun(pair)
    found = rb.status(**pair.given)
    assert (found.stage, found.warm) == ("switched", False)
    assert "no longer has what it missed" in (found.why or "")
    assert found.since is not None
    assert 0 <= time.time() - found.since < 30
    again = rb.switchover(**pair.given, redirect=redirect)
    assert (again.warm, again.changed, len(again.warnings)) == (False, False, 1)
    for step in (rb.rollback, rb.rollback):
        with pytest.raises(rb.Refused) as failure:
            step(**pair.given)
        assert (failure.value.reason, failure.value.state) == ("not_warm", "unchanged")
    assert rb.status(**pair.given).since == pytest.approx(found.since)
    assert not linked(pair)

    # The new one dies and comes back empty, at the address that the old one looks at.
    port = pair.target.current_port
    pair.target.kill()
    pair.target.start()
    assert (pair.target.current_port, pair.target.client().dbsize()) == (port, 0)
    eventually(lambda: tries(pair.target) >= 2, "the old one has tried to follow it", within=10)
    assert (pair.source.role, data_of(pair.source)) == ("slave", data)
    assert pair.target.info("stats")["sync_full"] == 0


def test_a_new_one_that_restarts_empty_while_linked_wipes_nobody(pair: Pair) -> None:
    pair.switch(300)
    data = data_of(pair.source)
    pair.target.kill()
    pair.target.start()
    eventually(lambda: tries(pair.target) >= 2, "the old one has tried to follow it", within=10)
    found = rb.status(**pair.given)
    assert found.warm is False
    with pytest.raises(rb.Refused) as failure:
        rb.rollback(**pair.given)
    assert failure.value.reason in ("not_warm", "history_lost")
    assert data_of(pair.source) == data


def test_commands_that_the_old_one_does_not_know_make_it_lossy(pair: Pair) -> None:
    pair.switch()
    assert rb.status(**pair.given).warm is True
    pair.target.call("HSET", "h", "f", "v")
    pair.target.call("HEXPIRE", "h", 1000, "FIELDS", 1, "f")
    eventually(
        lambda: pair.source.info("stats").get("unexpected_error_replies", 0) > 0, "it was refused"
    )
    found = rb.status(**pair.given)
    assert found.warm is False
    assert "could not carry out 1 command" in (found.why or "")
    with pytest.raises(rb.Refused) as failure:
        rb.rollback(**pair.given)
    assert failure.value.reason == "not_warm"
    assert "could not carry out" in str(failure.value)
    assert pair.roles == ("slave", "master")


def test_how_long_the_backlog_lasts(pair: Pair) -> None:
    pair.follow()
    rb.switchover(**pair.given, backlog_bytes=8 * MEBIBYTE)
    assert rb.status(**pair.given).backlog_seconds is None  # nothing is written
    with Load(port=pair.source.port, rate=2000) as load:
        began, first = time.monotonic(), pair.target.info("replication")["master_repl_offset"]
        found = rb.status(**pair.given)
        eventually(lambda: time.monotonic() > began + 0.5, "half a second")
        last = pair.target.info("replication")["master_repl_offset"]
        rate = (last - first) / (time.monotonic() - began)
        load.stop()
    assert found.backlog_seconds is not None
    assert found.backlog_seconds == pytest.approx(8 * MEBIBYTE / rate, rel=0.6)


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_a_rollback_under_load_after_the_link_was_down(
    pair_of: PairFactory, old: str, new: str
) -> None:
    pair = pair_of(old, new)
    pair.switch()
    with Load(port=pair.source.port, rate=4000) as load:
        eventually(lambda: load.mark().acknowledged > 200, "writes flow")
        cut_link(pair)
        eventually(lambda: load.mark().acknowledged > 1000, "writes flow without the old one")
        back: rb.Switchover = rb.rollback(**pair.given)
        eventually(lambda: load.mark().acknowledged > 2000, "writes flow at the old one")
        report: Any = load.stop(verify_port=pair.source.port)
    print(f"rollback: {back.elapsed:.2f} s, writes waited {back.write_gap_ms:.1f} ms")
    assert (back.warm, pair.roles) == (True, ("master", "slave"))
    assert (report.lost, report.wrong, report.errors) == (0, 0, {}), report
    assert report.disconnects_per_connection == {1: 16}, report
    assert back.elapsed < 10
    assert [one.info("stats")["sync_full"] for one in (pair.source, pair.target)] == [1, 0]


def test_a_rerun_of_the_switchover_tells_of_a_link_that_is_down_and_makes_it(pair: Pair) -> None:
    pair.switch()
    cut_link(pair)
    pair.target.call("SET", "meanwhile", "written")
    dry = rb.switchover(**pair.given, dry_run=True)
    assert (dry.warm, linked(pair)) == (False, False)
    again = rb.switchover(**pair.given)
    assert (again.changed, again.warm, linked(pair)) == (True, True, True)
    assert rb.status(**pair.given).warm is True
    assert rb.switchover(**pair.given).changed is False
    assert pair.source.call("GET", "meanwhile") == "written"
