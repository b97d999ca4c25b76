"""What must hold of a scenario, whatever the fault was."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import redis

if TYPE_CHECKING:
    from tests.chaos.scenario import Outcome, Scenario
    from tests.support.servers import Instance

# What a library's own words about an error look like.
NOISE = ("Traceback", "RedisError", "Os {", "Error {", "Some(", "panicked", "\n", "\t", "  ")
STATES = {"unchanged", "undone", "interrupted"}
LOGIN = {"masteruser", "masterauth", "primaryuser", "primaryauth"}
# What a handover changes for good.
MOVED = {"port", "replicaof", "slaveof"}


def judge(scenario: Scenario) -> None:
    """Add what is wrong to the result's problems."""
    result = scenario.result
    for outcome in result.outcomes:
        result.problems += _outcome(outcome)
    for check in (_first, _end, _writes, _settings, _file):
        with contextlib.suppress(redis.ConnectionError):
            result.problems += check(scenario)


def _outcome(outcome: Outcome) -> list[str]:
    """See that an error is the package's own, with a reason and a state, and readable."""
    if outcome.done or outcome.killed:
        return []
    if outcome.trace:
        return [f"{outcome.call} ended with {outcome.trace}"]
    text, found = outcome.text, []
    if outcome.state not in STATES or not outcome.reason:
        found.append(f"{outcome.call}: reason {outcome.reason!r}, state {outcome.state!r}")
    if not 20 < len(text) < 400 or any(noise in text for noise in NOISE):
        found.append(f"{outcome.call}: the message is not readable: {text!r}")
    return found


def _first(scenario: Scenario) -> list[str]:
    """See that the faulty call told the truth, and nobody was promoted who must not be."""
    result, plan, found = scenario.result, scenario.plan, []
    first, demoted, after = result.outcomes[0], result.demoted, result.after_first
    if plan.fault is not None and not result.fired:
        result.notes.append("never came to that point")
    if (plan.fault is None or not result.fired) and not first.done:
        found.append(f"{plan.call} failed without a fault: {first.text}")
    untouched = first.state in {"unchanged", "undone"} and plan.victim != demoted
    if untouched and result.alone != demoted:
        found.append(f"the state is {first.state}, and {result.alone} serves, not {demoted}")
    promoted = "target" if demoted == "source" else "source"
    told = any("demote/" in point and ":EXEC" in point for point in result.passed)
    if plan.call != "replicate" and after.get(promoted, None) and not told:
        role = after[promoted]
        killed_controller = plan.fault is not None and plan.fault.kind == "kill_controller"
        if role and role[0] == "master" and plan.victim == demoted and not killed_controller:
            found.append(f"the {promoted} was promoted though nobody knew that it had everything")
    return found


def _end(scenario: Scenario) -> list[str]:
    """See that one of the two serves, and the other one does not take writes."""
    result, plan, found = scenario.result, scenario.plan, []
    wished = {"switchover": "target", "rollback": "source", "replicate": "source"}[plan.call]
    last = result.outcomes[-1]
    down = [side for side, one in scenario.servers.items() if not one.alive]
    roles = scenario.roles()
    if result.end == "nobody":
        if down and _served(scenario) in down:
            result.notes.append("the one that served is dead")
        else:
            found.append(f"nobody serves: {roles}")
        return found
    if plan.victim is None or not result.fired:
        if result.end != wished or not last.done:
            found.append(f"{result.end} serves, not {wished}: {last.text}")
        steps = 2 if plan.call != "replicate" else 3
        if len(result.outcomes) > steps:
            found.append("to run it again was not enough")
    elif not down and not last.done:
        result.notes.append(f"ended with {last.reason}")
    other = roles["source" if result.end == "target" else "target"]
    # A target that was started again is on its own until it is replicated anew.
    apart = result.end == "source" and plan.victim == "target" and not last.done
    if other and other[0] == "master" and not apart:
        found.append(f"both are masters: {roles}")
    return found


def _served(scenario: Scenario) -> str:
    """Say which side served last."""
    promoted = any("promote/" in point and ":EXEC" in point for point in scenario.result.points)
    demoted = scenario.result.demoted
    if not promoted:
        return demoted
    return "target" if demoted == "source" else "source"


def _writes(scenario: Scenario) -> list[str]:
    """See that nothing that was acknowledged is lost, and nothing was executed twice."""
    result, report = scenario.result, scenario.result.report
    if report is None:
        return []
    found: list[str] = []
    if report.lost:
        # As when any master dies, and said so: somebody asked for it, or a warning was given.
        told = any(one.call == "promote" and one.done for one in result.outcomes) or any(
            "took then" in text for one in result.outcomes for text in one.warnings
        )
        words = f"{report.lost} acknowledged writes lost ({', '.join(report.lost_examples[:3])})"
        if told and scenario.plan.victim is not None:
            result.notes.append(words)
            return found
        found.append(words)
    if report.wrong:
        found.append(f"{report.wrong_replies} wrong replies, {report.surplus_incrs} surplus INCRs")
    undamaged = scenario.plan.victim is None
    if report.errors:
        (found if undamaged else result.notes).append(f"clients saw {report.errors}")
    if undamaged and report.disconnects_max > 1:
        words = f"clients were cut {report.disconnects_max} times"
        (result.notes if result.outcomes[0].state == "undone" else found).append(words)
    return found


def _settings(scenario: Scenario) -> list[str]:
    """See that what was raised is as it was, but for what stays until `retire` or a rollback."""
    result, found = scenario.result, []
    for side, server in scenario.servers.items():
        if not server.alive:
            continue
        served = result.end if result.end != "nobody" else _served(scenario)
        stays = MOVED | LOGIN if side == "target" or served == "target" else set(MOVED)
        if side == "target" and served == "target":
            stays |= {"repl-backlog-size"}
        first, now = scenario.first_config[side], _config(server)
        raised = [
            f"{side}: {name} was {first.get(name)!r} and is {now.get(name)!r}"
            for name in sorted(first.keys() | now.keys())
            if name not in stays and first.get(name) != now.get(name)
        ]
        # Where one is dead and no call gets through, the other one's settings wait for its return.
        if side == served or result.outcomes[-1].done:
            found += raised
        else:
            result.notes += raised
    return found


def _config(server: Instance) -> dict[str, str]:
    found: dict[str, str] = server.call("CONFIG", "GET", "*")
    return found


def _file(scenario: Scenario) -> list[str]:
    """See that from their files both would come back as what they are."""
    result = scenario.result
    if result.end == "nobody":
        return []
    found, done = [], result.outcomes[-1].done
    for side, server in scenario.servers.items():
        assert server.config_file is not None
        words = [line.split() for line in server.config_file.read_text().splitlines()]
        ports = [int(line[1]) for line in words if line[:1] == ["port"]]
        follows = any(line[:1] in (["replicaof"], ["slaveof"]) for line in words)
        if side == result.end and (ports != [scenario.public] or follows):
            found.append(f"{side} serves, and its file says port {ports}, replica {follows}")
        if done and side != result.end and server.alive and ports == [scenario.public]:
            found.append(f"{side} does not serve, and its file says the public port")
    return found
