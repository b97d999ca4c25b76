"""The same call from a machine without the journal: it ends safely, or refuses and says why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable

import pytest
import redis_baton as rb

from tests.python.common import Pair, assert_readable, config_of, journals_of, state_of
from tests.support.controller import Controller
from tests.support.gate import PROMOTION, Gate
from tests.support.servers import eventually

if TYPE_CHECKING:
    from pathlib import Path

CHANGING: list[Callable[..., Any]] = [
    rb.replicate,
    rb.switchover,
    rb.promote,
    rb.rollback,
    rb.retire,
    rb.upgrade,
]


@pytest.fixture
def there(pair: Pair, tmp_path: Path) -> Pair:
    """Return the same servers as they are called from another machine."""
    folder = tmp_path / "another machine"
    folder.mkdir()
    return Pair(pair.source, pair.target, folder)


def assert_refused(there: Pair, *reasons: str) -> list[rb.BatonError]:
    """Call every step that changes anything; each refuses, and nothing has changed."""
    living = [one for one in (there.source, there.target) if one.alive]
    before = [state_of(one) for one in living]
    errors = []
    for step in CHANGING:
        with pytest.raises(rb.BatonError) as failure:
            step(**there.given)
        error = failure.value
        assert error.reason in reasons, (step.__name__, error)
        assert error.state in ("unchanged", "interrupted")
        assert error.actions == []
        assert_readable(error)
        errors.append(error)
        assert [state_of(one) for one in living] == before, step.__name__
    assert not journals_of(there)
    return errors


def test_apart_and_following_need_no_journal(pair: Pair, there: Pair) -> None:
    before = config_of(pair.source)
    rb.replicate(**pair.given)
    assert rb.replicate(**there.given).replicating
    rb.wait_synced(**there.given)
    rb.wait_synced(**pair.given)  # who has raised settings restores them
    assert config_of(pair.source) == before
    done = rb.switchover(**there.given)
    assert (done.warm, pair.roles) == (True, ("slave", "master"))


def test_half_done_is_refused(pair: Pair, there: Pair) -> None:
    pair.follow()
    with Gate(pair.target.port, PROMOTION) as gate:
        given = {**pair.given, "target": f"redis://127.0.0.1:{gate.port}", "guard": False}
        with Controller("switchover", given) as controller:
            assert gate.reached.wait(20)
            controller.kill()
    eventually(lambda: pair.roles == ("slave", "slave"), "half done")
    errors = assert_refused(there, "unreachable", "half_done")
    for error in errors:
        assert "journal" in str(error), error


def test_half_done_without_a_takeover_is_refused(pair: Pair, there: Pair) -> None:
    pair.follow()
    with Gate(pair.target.port, PROMOTION) as gate:
        given: dict[str, object] = {
            **pair.given,
            "target": f"redis://127.0.0.1:{gate.port}",
            "guard": False,
            "redirect": "none",
        }
        with Controller("switchover", given) as controller:
            assert gate.reached.wait(20)
            controller.kill()
    eventually(lambda: pair.roles == ("slave", "slave"), "half done")
    before = [state_of(one) for one in (pair.source, pair.target)]
    for step in (rb.switchover, rb.rollback, rb.upgrade):
        with pytest.raises(rb.BatonError) as failure:
            step(**there.given)
        assert failure.value.reason == "half_done"
        assert "journal" in str(failure.value)
        assert_readable(failure.value)
        assert [state_of(one) for one in (pair.source, pair.target)] == before


def test_switched_is_refused_and_says_where_to_run_it(pair: Pair, there: Pair) -> None:
    pair.switch()
    for error in assert_refused(there, "unreachable"):
        assert "journal" in str(error), error
    for look in (rb.preflight, rb.status, rb.verify):
        with pytest.raises(rb.ConnectionFailed) as failure:
            look(**there.given)
        assert "journal" in str(failure.value)
    # Where the journal is, all is known.
    assert rb.status(**pair.given).warm is True


def test_switched_without_a_takeover_needs_no_journal(pair: Pair, there: Pair) -> None:
    pair.follow()
    rb.switchover(**pair.given, redirect="none")
    again = rb.switchover(**there.given, redirect="none")
    assert (again.changed, again.serving) == (False, pair.target.address)
    found = rb.status(**there.given)
    assert (found.stage, found.warm) == ("switched", True)
    pair.target.call("SET", "on", "the new one")
    back = rb.rollback(**there.given)
    assert (back.warm, pair.roles) == (True, ("master", "slave"))
    assert pair.source.call("GET", "on") == "the new one"
    assert pair.target.info("stats")["sync_full"] == 0


def test_retired_is_refused(pair: Pair, there: Pair) -> None:
    pair.switch()
    rb.retire(**pair.given)
    eventually(lambda: not pair.source.alive, "it has ended")
    for error in assert_refused(there, "unreachable"):
        assert "journal" in str(error), error
    assert rb.upgrade(**pair.given, until="retire").changed is False


def test_back_again_needs_no_journal(pair: Pair, there: Pair) -> None:
    pair.switch()
    rb.rollback(**pair.given)
    assert rb.status(**there.given).stage == "following"
    assert rb.rollback(**there.given).changed is False
    assert rb.switchover(**there.given).warm


def test_nothing_that_listens_is_still_what_it_is(pair: Pair, there: Pair) -> None:
    """A target that was never started is not told from one that has moved: both are said."""
    pair.target.kill()
    with pytest.raises(rb.ConnectionFailed) as failure:
        rb.upgrade(**there.given)
    assert failure.value.reason == "unreachable"
    assert "the server runs" in str(failure.value)
    assert "journal" not in str(failure.value)
