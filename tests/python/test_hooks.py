"""Hooks: at what moments they run, what they are told, and what becomes of one that fails."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import redis_baton as rb

from tests.python.common import Given, Pair, config_of, records_of, state_of
from tests.support.controller import Controller, lives
from tests.support.gate import PROMOTION, Gate
from tests.support.load import Load
from tests.support.servers import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.python.conftest import PairFactory

MOMENTS = ("before", "paused", "promoted", "after", "undone")
DONE = ["before", "paused", "promoted", "after"]


class Diary:
    """A file in which hooks write down what they were told."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "diary"

    def hooks(self, **others: object) -> Any:  # noqa: ANN401
        """Return a hook for each moment that writes it down; `others` come in their place."""
        note = ["sh", "-c", 'cat >> "$0"', str(self.file)]
        return {**dict.fromkeys(MOMENTS, note), **others}

    def failing(self, status: int = 3) -> list[str]:
        """Return a hook that writes it down, complains and fails."""
        script = f'cat >> "$0"; echo "it is Friday" >&2; exit {status}'
        return ["sh", "-c", script, str(self.file)]

    def hanging(self) -> list[str]:
        """Return a hook that writes it down and its process's id, and does not end."""
        script = 'cat >> "$0"; echo $$ > "$0.pid"; sleep 600 & wait; echo "too late" >> "$0"'
        return ["sh", "-c", script, str(self.file)]

    @property
    def process(self) -> int | None:
        """The one that hangs."""
        try:
            return int(self.file.with_name("diary.pid").read_text())
        except (OSError, ValueError):
            return None

    @property
    def told(self) -> list[dict[str, str]]:
        """What was written down since the last look."""
        if not self.file.exists():
            return []
        lines = self.file.read_text().splitlines()
        self.file.write_text("")
        return [json.loads(line) for line in lines]

    @property
    def moments(self) -> list[str]:
        """The moments of that."""
        return [facts["moment"] for facts in self.told]


@pytest.fixture
def diary(tmp_path: Path) -> Diary:
    return Diary(tmp_path)


def settled(pair: Pair) -> int:
    return len([record for record in records_of(pair) if record["record"] == "settled"])


def test_they_run_at_their_moments_and_are_told_who_serves(pair: Pair, diary: Diary) -> None:
    pair.follow()
    source, target = f"127.0.0.1:{pair.source.port}", f"127.0.0.1:{pair.target.port}"
    hooks = diary.hooks()
    events: list[dict[str, Any]] = []

    planned = rb.switchover(**pair.given, hooks=hooks, dry_run=True).actions
    assert [action for action in planned if action.startswith("hook")] == [
        f"hook {moment}: sh" for moment in DONE
    ]
    assert planned[0] == "hook before: sh"
    assert not diary.told

    done = rb.switchover(**pair.given, redirect="none", hooks=hooks, on_event=events.append)
    common = {"step": "switchover", "source": source, "target": target}
    way = {**common, "from": source, "to": target}
    assert diary.told == [
        {**way, "moment": "before", "serving": source},
        {**way, "moment": "paused", "serving": source},
        {**way, "moment": "promoted", "serving": target},
        {**way, "moment": "after", "serving": target},
    ]
    assert [action for action in done.actions if action.startswith("hook")] == [
        f"hook {moment}: sh" for moment in DONE
    ]
    ran = [event for event in events if event["event"] == "hook"]
    assert [event["moment"] for event in ran] == DONE
    assert all(event["failed"] is None for event in ran)
    assert "hold" in [phase.name for phase in done.phases]

    # Nothing is handed over any more.
    assert not rb.switchover(**pair.given, redirect="none", hooks=hooks).changed
    assert not diary.told

    seen: list[tuple[str, str, tuple[str, str]]] = []

    def look(facts: dict[str, str]) -> None:
        seen.append((facts["moment"], facts["serving"], pair.roles))

    back = rb.rollback(**pair.given, hooks=dict.fromkeys(MOMENTS, look))  # type: ignore[arg-type]
    assert seen == [
        ("before", target, ("slave", "master")),
        ("paused", target, ("slave", "master")),
        ("promoted", source, ("master", "slave")),
        ("after", source, ("master", "slave")),
    ]
    name = "test_they_run_at_their_moments_and_are_told_who_serves.<locals>.look"
    assert f"hook paused: {name}" in back.actions


def test_in_a_takeover_the_address_stays(pair: Pair, diary: Diary) -> None:
    pair.follow()
    address = f"127.0.0.1:{pair.source.port}"
    given: Any = {**pair.given, "hooks": diary.hooks()}
    assert rb.upgrade(**given, quiet_for=0.1).stage == "switched"
    assert [(told["from"], told["to"], told["serving"]) for told in diary.told] == [
        (address, address, address)
    ] * 4


def test_one_that_fails_before_anything_changes_nothing(pair: Pair, diary: Diary) -> None:
    pair.follow()
    before = state_of(pair.source), state_of(pair.target)
    with pytest.raises(rb.Failed) as raised:
        rb.switchover(**pair.given, hooks=diary.hooks(before=diary.failing()))
    error = raised.value
    assert (error.reason, error.state, error.actions) == (
        "hook_failed",
        "unchanged",
        ["hook undone: sh"],
    )
    assert str(error).startswith(
        "the hook before (sh) ended with exit status: 3, having said: it is Friday; "
    )
    assert diary.moments == ["before", "undone"]
    assert (state_of(pair.source), state_of(pair.target)) == before


def interrupted(_: dict[str, str]) -> None:
    raise KeyboardInterrupt


def mistaken(_: dict[str, str]) -> None:
    raise ValueError("not on a Friday")


def test_one_that_fails_under_the_pause_ends_it_and_all_is_as_before(
    pair: Pair, diary: Diary
) -> None:
    pair.follow()
    before = config_of(pair.source), config_of(pair.target)
    with Load(port=pair.source.port, connections=4, rate=2000) as load:
        for hook, says in (
            (diary.failing(), "ended with exit status: 3, having said: it is Friday"),
            (diary.hanging(), "did not end within 0."),
            (mistaken, "raised ValueError: not on a Friday"),
        ):
            with pytest.raises(rb.Failed) as raised:
                rb.switchover(**pair.given, hooks=diary.hooks(paused=hook), pause_budget=0.6)
            assert (raised.value.reason, raised.value.state) == ("hook_failed", "undone")
            assert says in str(raised.value)
            noted = [] if hook is mistaken else ["paused"]
            assert diary.moments == ["before", *noted, "undone"]
        # What a function raises that is no ordinary exception is the caller's.
        with pytest.raises(KeyboardInterrupt, match="undone: all is as before"):
            rb.switchover(**pair.given, hooks=diary.hooks(paused=interrupted))
        assert diary.moments == ["before", "undone"]
        assert pair.roles == ("master", "slave")
        assert (config_of(pair.source), config_of(pair.target)) == before
        report = load.stop()
    assert diary.process
    assert not lives(diary.process)
    assert (report.lost, report.wrong, report.errors, report.disconnects) == (0, 0, {}, 0)


def test_a_load_waits_while_one_works_under_the_pause(pair: Pair, diary: Diary) -> None:
    pair.follow()
    slow = ["sh", "-c", "sleep 0.2"]
    with Load(port=pair.source.port, connections=4, rate=2000) as load:
        done = rb.switchover(**pair.given, hooks=diary.hooks(paused=slow))
        report = load.stop(verify_port=pair.source.port)
    assert done.write_gap_ms >= 200
    assert (report.lost, report.wrong, report.errors) == (0, 0, {})
    assert report.disconnects_per_connection == {1: 4}


def test_one_that_fails_when_the_new_one_serves_is_run_again(pair: Pair, diary: Diary) -> None:
    pair.follow()
    done = rb.switchover(**pair.given, hooks=diary.hooks(promoted=diary.failing()))
    assert done.warm
    [warning] = [warning for warning in done.warnings if "hook" in warning]
    assert warning.startswith("the hook promoted (sh) ended with exit status: 3")
    assert diary.moments == ["before", "paused", "promoted"]
    assert settled(pair) == 0
    # A rerun does what is left.
    again = rb.switchover(**pair.given, hooks=diary.hooks(after=diary.failing()))
    assert diary.moments == ["promoted", "after"]
    assert any("the hook after" in warning for warning in again.warnings)
    assert settled(pair) == 1
    assert not rb.switchover(**pair.given, hooks=diary.hooks()).changed
    assert diary.moments == []


def killed_in(moment: str, pair: Pair, diary: Diary, **others: object) -> None:
    """Kill a controller while its hook of that moment runs; return when its guard has ended."""
    # The guard has hooks of its own: one that hangs once only.
    once = 'cat >> "$0"; [ -e "$0.pid" ] && exit; echo $$ > "$0.pid"; sleep 600 & wait'
    hooks = diary.hooks(**{moment: ["sh", "-c", once, str(diary.file)], **others})
    with Controller("switchover", {**pair.given, "hooks": hooks, "pause_budget": 20.0}) as killed:
        eventually(lambda: diary.process is not None, f"the hook {moment} runs", within=20)
        [guard] = killed.guards
        killed.kill()
    eventually(lambda: not lives(guard), "the guard has ended", within=20)
    assert diary.process
    assert not lives(diary.process)


def test_killed_under_the_pause_its_guard_ends_the_hook_and_takes_it_back(
    pair: Pair, diary: Diary
) -> None:
    pair.follow()
    killed_in("paused", pair, diary, undone=diary.failing())
    assert diary.moments == ["before", "paused", "undone"]
    assert pair.roles == ("master", "slave")
    assert pair.source.call("SET", "written", "1")
    [outcome] = [record["outcome"] for record in records_of(pair) if record["record"] == "guarded"]
    assert "called off" in outcome
    assert "the hook undone (sh) ended with exit status: 3, having said: it is Friday" in outcome


def test_killed_after_the_promotion_its_guard_does_the_rest(pair: Pair, diary: Diary) -> None:
    pair.follow()
    killed_in("promoted", pair, diary)
    assert diary.moments == ["before", "paused", "promoted", "promoted", "after"]
    assert pair.roles == ("slave", "master")
    assert rb.status(**pair.given).warm
    assert not rb.switchover(**pair.given, hooks=diary.hooks()).changed
    assert diary.moments == []


@pytest.mark.parametrize(
    ("step", "moments", "roles"),
    [
        ("switchover", ["promoted", "after"], ("slave", "master")),
        ("rollback", ["undone"], ("master", "slave")),
        ("rollback", ["undone"], ("master", None)),
    ],
)
def test_a_rerun_of_what_stands_half_way_runs_what_is_still_to_come(
    pair: Pair, diary: Diary, step: str, moments: list[str], roles: tuple[str, str | None]
) -> None:
    pair.follow()
    with Gate(pair.target.port, PROMOTION) as gate:
        given = Given(**{**pair.given, "target": f"redis://127.0.0.1:{gate.port}"})
        with Controller("switchover", {**given, "guard": False}) as controller:
            assert gate.reached.wait(20)
            controller.kill()
        assert pair.roles == ("slave", "slave")
        if roles[1] is None:
            pair.target.kill()
        hooks = diary.hooks()
        planned = getattr(rb, step)(**given, hooks=hooks, dry_run=True).actions
        assert planned[-len(moments) :] == [f"hook {moment}: sh" for moment in moments]
        getattr(rb, step)(**given, hooks=hooks)
    assert diary.moments == moments
    assert (pair.source.role, pair.target.role if pair.target.alive else None) == roles


def test_a_handover_that_is_given_up_is_undone(pair: Pair, diary: Diary) -> None:
    pair.follow()
    with pytest.raises(rb.TimedOut):
        rb.switchover(**pair.given, hooks=diary.hooks(), max_latency=0, patience=0.1)
    assert diary.moments == ["before", "undone"]


def test_before_redis_6_2_too(pair_of: PairFactory, diary: Diary) -> None:
    pair = pair_of("redis-6.0", "redis-8.0")
    pair.follow()
    with pytest.raises(rb.Failed) as raised:
        rb.switchover(**pair.given, hooks=diary.hooks(paused=diary.failing()))
    assert (raised.value.reason, raised.value.state) == ("hook_failed", "undone")
    assert diary.moments == ["before", "paused", "undone"]
    rb.switchover(**pair.given, hooks=diary.hooks())
    assert diary.moments == DONE
    assert pair.target.role == "master"


@pytest.mark.parametrize(
    ("hooks", "problem"),
    [
        ({"later": ["true"]}, "'later'"),
        ({"paused": "true --now"}, "paused: is neither a list of words"),
        ({"paused": []}, "paused: is an empty list"),
        ({"paused": [1]}, "paused: is neither a list of words"),
        ({"after": ["/nowhere/at-all"]}, "after: /nowhere/at-all is no program"),
        (["true"], "is not a mapping"),
    ],
)
def test_what_can_not_be_run_is_refused_at_once(hooks: Any, problem: str) -> None:  # noqa: ANN401
    for step in (rb.switchover, rb.rollback, rb.upgrade):
        with pytest.raises(rb.InvalidInput) as raised:
            # Nothing listens there: no server is asked.
            step(source="redis://127.0.0.1:1", target="redis://127.0.0.1:2", hooks=hooks)
        assert "hooks: " in str(raised.value)
        assert problem.replace("'", '"') in str(raised.value)
