"""What a step has done, for a person: on standard output, once it is over."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Callable

from .plan import against, servers
from .words import counted, milliseconds, number, seconds, size, table, wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

Facts = dict[str, Any]


def outcome(step: str, result: Facts) -> str:
    """Return it in words."""
    tell = TELLS.get(step)
    lines = tell(result) if tell else []
    if not result["changed"] and step in CHANGES:
        lines = ["Nothing was left to do.", *lines]
    return "\n".join(lines)


def _preflight(result: Facts) -> list[str]:
    estimates = result["estimates"]
    verdict = "Nothing blocks the upgrade." if result["ok"] else "The upgrade would be refused."
    return [
        servers(result["before"]),
        "",
        wrapped(f"{verdict} Stage: {result['stage']}."),
        "",
        "What would be done",
        *(wrapped(line, "  - ") for line in result["plan"]),
        "",
        "What it would cost",
        f"  - a sync of about {seconds(estimates['sync_seconds'])}, at 100 MB/s",
        f"  - {size(estimates['memory_bytes'])} of memory on the target",
        f"  - writes wait for about {estimates['write_gap_ms']:.0f} ms, if the target keeps up",
        "",
        "What stands against it",
        *against(result, None),
    ]


def _upgrade(result: Facts) -> list[str]:
    lines = []
    for step in result["steps"]:
        if step["name"] == "switchover" and step["result"]["phases"]:
            lines += _gap(step["result"])
    return _serving(result, result["stage"]) + lines + _probe(result)


def _switchover(result: Facts) -> list[str]:
    return _handover(result, "old", "`redis-baton rollback` goes back")


def _rollback(result: Facts) -> list[str]:
    return _handover(result, "new", "`redis-baton switchover` goes there again")


def _handover(result: Facts, other: str, back: str) -> list[str]:
    masters = [one["version"] for one in result["after"].values() if one.get("role") == "master"]
    if len(masters) > 1:
        return ["Both are masters, and neither follows the other: nothing was handed over."]
    lines = [f"{masters[0] if masters else 'Nobody'} serves, at {result['serving']}."]
    if result["parked"] and result["warm"]:
        lines.append(wrapped(f"The {other} one follows at {result['parked']}: {back}."))
    elif result["parked"]:
        lines.append(wrapped(f"The {other} one is at {result['parked']}, but not warm."))
    return lines + (_gap(result) if result["phases"] else []) + _probe(result)


def _serving(result: Facts, stage: str) -> list[str]:
    serving, parked = result["serving"], result["parked"]
    if stage == "switched":
        lines = [wrapped(f"The new server serves, at {serving}.")]
        if parked:
            lines.append(
                wrapped(
                    f"The old one is at {parked}. `redis-baton rollback` makes it serve again; "
                    "`redis-baton retire` shuts it down."
                )
            )
        return lines
    if stage == "retired":
        return [wrapped(f"The new server serves, at {serving}. The old one is gone.")]
    return [wrapped(f"The old server serves, at {serving}.")]


def _gap(result: Facts) -> list[str]:
    attempts = "" if result["attempts"] == 1 else f", in {counted(result['attempts'], 'attempt')}"
    return [f"Writes waited for {result['write_gap_ms']:.1f} ms{attempts}."]


def _probe(result: Facts) -> list[str]:
    probe = result.get("probe")
    if not probe:
        return []
    errors = ", ".join(f"{count} {error}" for error, count in probe["errors"].items())
    return [
        wrapped(
            f"The probe saw {counted(probe['writes'], 'write')} and "
            f"{counted(probe['reads'], 'read')}: {errors or 'no errors'}, {probe['lost']} lost, "
            f"median {milliseconds(probe['median_us'])}, 99 % within "
            f"{milliseconds(probe['p99_us'])}, longest gap {probe['longest_gap_ms']:.0f} ms."
        )
    ]


def _launch(result: Facts) -> list[str]:
    lines = [
        f"It runs {result['version']} ({result['program']})."
        if result["launched"]
        else f"It would run {result['version']} ({result['program']}).",
        f"Configuration: {result['config_file']}",
        f"Log: {result['log_file']}",
    ]
    lines += [
        wrapped(f"{left['parameter']} {left['value']} was not carried: {left['why']}", "  - ")
        for left in result["dropped"]
    ]
    return lines


def _replicate(result: Facts) -> list[str]:
    carried = counted(len(result["users_carried"]), "ACL user")
    lines = ["The target replicates from the source.", f"{carried} carried over."]
    if result["users_overwritten"]:
        lines.append(
            wrapped(f"The target had others by the names {', '.join(result['users_overwritten'])}.")
        )
    return lines


def _wait_synced(result: Facts) -> list[str]:
    if not result["synced"]:
        return ["The target is not in sync."]
    return [f"The target is in sync, {size(result['lag_bytes'])} behind."]


def _verify(result: Facts) -> list[str]:
    if result["differing"] or result["differences"]:
        verdict = "They DIFFER."
    elif result["equal"]:
        verdict = "No difference was found."
    elif result["attempts"]:
        verdict = "No difference was found, but not everything could be compared."
    else:
        return ["Nothing was compared."]
    lines = [
        verdict,
        table(
            [
                ("database", "serving", "following"),
                *(
                    (one["number"], number(one["source_keys"]), number(one["target_keys"]))
                    for one in result["databases"]
                ),
            ],
            right=(0, 1, 2),
        ),
        f"{counted(result['compared'], 'key')} in full, {number(result['differing'])} differ.",
    ]
    share = result["detectable_share"]
    if share:
        lines.append(
            wrapped(
                f"Were {share:.1%} of all keys different, that would have been seen with a "
                "probability of 95 %."
            )
        )
    lines += [wrapped(line, "  - ") for line in result["differences"]]
    if result["unsettled"]:
        lines.append(f"{counted(result['unsettled'], 'key')} changed all the time.")
    lines += [
        wrapped(f"Could not be compared: {why} ({number(count)})")
        for why, count in result["not_comparable"].items()
    ]
    return lines


def _clients(result: Facts) -> list[str]:
    lines = []
    for side in ("source", "target"):
        groups = result[side]
        connections = sum(one["connections"] for one in groups)
        lines.append(f"{side}: {counted(connections, 'connection')}")
        if groups:
            lines.append(_columns(groups, GROUP, right=(0, 6)))
    if result["stragglers"]:
        lines.append(f"Still on the source, which serves no more: {len(result['stragglers'])}")
        lines.append(_columns(result["stragglers"], STRAGGLER, right=(4,)))
    if result["disconnected"]:
        cut = ", ".join(one["address"] for one in result["disconnected"])
        lines.append(wrapped(f"Disconnected: {cut}"))
    return lines


# Facts by the heads of their columns.
GROUP = {
    "count": "connections",
    "kind": "kind",
    "follows": "follows",
    "from": "address",
    "user": "user",
    "name": "name",
    "idle s": "idle",
}
STRAGGLER = {
    "from": "address",
    "user": "user",
    "name": "name",
    "last command": "command",
    "idle s": "idle",
}
ACTIVE = {"from": "address", "user": "user", "name": "name", "last command": "command"}


def _columns(facts: list[Facts], columns: dict[str, str], right: Sequence[int] = ()) -> str:
    rows = [[one[name] for name in columns.values()] for one in facts]
    return table([list(columns), *rows], right=right)


def _wait_quiescent(result: Facts) -> list[str]:
    quiet = f"Nothing has arrived at the source for {seconds(result['quiet_seconds'])}."
    lines = [quiet if result["quiet"] else "The source is not quiet."]
    if result["active"]:
        lines.append(_columns(result["active"], ACTIVE))
    return lines


def _promote(result: Facts) -> list[str]:
    return ["The target is a master."] if result["promoted"] else ["The target is a replica."]


def _retire(result: Facts) -> list[str]:
    if not result["retired"]:
        return ["The source runs."]
    return ["The source is gone." + (" It has saved its data." if result["saved"] else "")]


def _status(result: Facts) -> list[str]:
    serves = f"{result['serving']} serves." if result["serving"] else "NOBODY serves."
    lines = [servers(result["after"]), f"Stage: {result['stage']}. {serves}"]
    since = result["since"]
    when = f" since {time.strftime('%Y-%m-%d %H:%M:%S %Z', time.localtime(since))}" if since else ""
    if result["warm"]:
        lasts = result["backlog_seconds"]
        gap = f" It may be cut off for {seconds(lasts)}." if lasts is not None else ""
        lines.append(wrapped(f"The old one is warm{when}: `redis-baton rollback` goes back.{gap}"))
    elif result["warm"] is False:
        lines.append(wrapped(f"The old one is NOT warm{when}: {result['why']}"))
    if result["raised"]:
        lines.append("Raised until the upgrade is over")
        lines += [f"  - {one}" for one in result["raised"]]
    return lines


def _relay(result: Facts) -> list[str]:
    if not result["running"]:
        return ["The relay has ended." if result["ended"] else "No relay runs."]
    lines = [
        wrapped(
            f"The relay leads from {', '.join(result['listens'])} to {result['leads_to']}: "
            f"{counted(len(result['connections']), 'client')} now, "
            f"{number(result['taken'])} in all."
        )
    ]
    if result["connections"]:
        rows = [(one["address"], f"{one['idle']:.0f} s") for one in result["connections"]]
        lines.append(table([("client", "idle"), *rows], right=(1,)))
    return lines


def _config(result: Facts) -> list[str]:
    lines = [
        f"{name}: {result['before'].get(name)} -> {result['after'].get(name)}"
        for name in result["set"]
    ]
    lines += [
        wrapped(f"{one['parameter']} needs a restart to become {one['wanted']}: {one['why']}")
        for one in result["restart_required"]
    ]
    return lines + (["Saved to the configuration file."] if result["rewritten"] else [])


def _persistence(result: Facts) -> list[str]:
    lines = [f"It writes {result['mode']} (before: {result['previous_mode']})."]
    if result["save"]:
        lines.append(f"Save points: {result['save']}")
    if result["aof_bytes"] is not None:
        lines.append(f"AOF: {size(result['aof_bytes'])}, fsync {result['appendfsync']}")
    return lines + (["Saved to the configuration file."] if result["rewritten"] else [])


def _wait_ready(result: Facts) -> list[str]:
    if not result["ready"]:
        return ["It is not ready."]
    follows = f" of {result['follows']}" if result["follows"] else ""
    return [
        f"{result['version']}, {result['role']}{follows}, {counted(result['key_count'], 'key')}",
        f"process {result['process_id']}, run id {result['run_id']}",
        f"Configuration: {result['config_file'] or 'none'}",
    ]


def _report(result: Facts) -> list[str]:
    written = [f"Written: {action.removeprefix('write ')}" for action in result["actions"]]
    return [wrapped(result["sentence"]), *written]


# Of the steps that change something: the others have nothing to leave undone.
CHANGES = frozenset(
    {
        "upgrade",
        "launch",
        "replicate",
        "switchover",
        "rollback",
        "promote",
        "retire",
        "config",
        "persistence",
    }
)
TELLS: dict[str, Callable[[Facts], list[str]]] = {
    "preflight": _preflight,
    "launch": _launch,
    "replicate": _replicate,
    "wait_synced": _wait_synced,
    "verify": _verify,
    "clients": _clients,
    "wait_quiescent": _wait_quiescent,
    "switchover": _switchover,
    "rollback": _rollback,
    "promote": _promote,
    "retire": _retire,
    "status": _status,
    "relay": _relay,
    "config": _config,
    "persistence": _persistence,
    "wait_ready": _wait_ready,
    "upgrade": _upgrade,
    "report": _report,
}
