"""A dry run as a person would write it: what is sent to whom, what clients see, what is final."""

from __future__ import annotations

from typing import Any

from .parameters import as_typed
from .words import counted, number, seconds, size, table, verb_of, wrapped

Facts = dict[str, Any]
# What a dry run says of itself, since the steps before it were not done.
OF_DRY_RUN = "the target does not replicate yet"


def servers(facts: Facts) -> str:
    """Return both servers in a table; nothing where the step has told of none."""
    rows = [
        (side, one["address"], one["version"], one["role"], counted(one["keys"], "key"))
        for side, one in facts.items()
        if side in ("source", "target") and isinstance(one, dict) and "address" in one
    ]
    return table(rows, right=(4,)) if rows else ""


def plan(
    step: str, result: Facts, preflight: Facts | None, wishes: Facts, *, commands: bool = True
) -> str:
    """Return what the step would do; `commands` are those that would be sent."""
    if not result["changed"]:
        return "\n\n".join(filter(None, [servers(result["before"]), "Nothing is left to do."]))
    if step == "upgrade":
        order = _order(result, _sentences(preflight), preflight, commands=commands)
    else:
        order = _sent(result["actions"]) if commands else []
    parts = [
        servers(result["before"]),
        _section("In this order", order),
        _section("What clients see", _clients_see(step, result, preflight)),
        _section("What is not carried over", _left(result)),
        _section("What needs a restart", _after_restart(result)),
        _section("What can't be undone", _for_good(step, result, preflight, wishes)),
        _section("What stands against it", against(preflight, result)),
    ]
    return "\n\n".join(filter(None, parts))


def _section(title: str, lines: list[str]) -> str:
    return "\n".join([title, *lines]) if lines else ""


def _item(text: str) -> str:
    return wrapped(text, "  - ")


def _sentences(preflight: Facts | None) -> dict[str, str]:
    """Return the plan of `preflight`, by the step that a sentence is about."""
    parts = (line.partition(": ") for line in (preflight or {}).get("plan", []))
    return {name: text for name, colon, text in parts if colon}


def _sent(actions: list[str]) -> list[str]:
    return [wrapped(f"to the {action}", "    ", "        ") for action in actions]


def _order(
    result: Facts, sentences: dict[str, str], preflight: Facts | None, *, commands: bool
) -> list[str]:
    lines = []
    for at, step in enumerate(result["steps"], 1):
        name = step["name"]
        text = sentences.get(name, DOES.get(name, ""))
        if name == "switchover" and step["changed"] and not _is_fenced(preflight):
            # What clients see of it has its own place.
            text = "the source is demoted, the target promoted, each in one transaction"
        if name == "verify":
            text = COMPARES[step["result"]["level"]]
        if name == "wait_synced" and preflight and preflight["stage"] == "apart":
            estimates = preflight["estimates"]
            took, room = seconds(estimates["sync_seconds"]), size(estimates["memory_bytes"])
            text = f"{text}: about {took} at 100 MB/s, and {room} of memory on the target"
        lines.append(wrapped(f"{verb_of(name)}: {text}", f"  {at}. ", "     "))
        if commands:
            lines += _sent(step["result"]["actions"])
    return lines


def _is_fenced(preflight: Facts | None) -> bool:
    return preflight is not None and preflight["strategy"] == "fenced"


DOES = {
    "preflight": "looks at both, changes nothing",
    "replicate": "the target is a replica of the source already",
    "wait_synced": "until the initial sync is done",
    "switchover": "the target is the master already",
    "wait_quiescent": "until no application uses the source any more",
    "retire": "shuts the source down",
}


COMPARES = {
    "counts": "key counts, a ping",
    "sample": "key counts, some random keys, a ping",
    "full": "key counts, every key, a ping",
}


def _clients_see(step: str, result: Facts, preflight: Facts | None) -> list[str]:
    if step == "retire":
        return [_item("nothing, unless somebody still uses the source")]
    if step == "clients":
        return [_item(f"{counted(len(result['disconnected']), 'connection')} to the source cut")]
    steps = result.get("steps", [])
    moves = any(one["name"] == "switchover" and one["changed"] for one in steps)
    if not moves and step not in ("switchover", "rollback"):
        return []
    sentence = "writes wait for some milliseconds, every client is disconnected once"
    lines = [_item(_sentences(preflight).get("switchover", sentence))]
    if preflight:
        gap = preflight["estimates"]["write_gap_ms"]
        lines.append(_item(f"writes wait for about {gap:.0f} ms if the target keeps up"))
    return lines


def _left(result: Facts) -> list[str]:
    return [
        _item(f"{one['parameter']} {one['value']}: {one['why']}")
        for one in result.get("dropped", [])
    ]


def _after_restart(result: Facts) -> list[str]:
    return [
        _item(f"{one['parameter']} {one['wanted']} (now {one['present']}): {one['why']}")
        for one in result.get("restart_required", [])
    ]


def _for_good(step: str, result: Facts, preflight: Facts | None, wishes: Facts) -> list[str]:
    lines = []
    target = result["before"].get("target")
    if step in ("upgrade", "replicate") and wishes.get("force") and target and target["keys"]:
        lines.append(f"the {counted(target['keys'], 'key')} that the target has now are wiped")
    if step in ("upgrade", "switchover") and _is_fenced(preflight):
        lines.append("the source is shut down in the switchover: there is no way back")
    if step == "retire" or (step == "upgrade" and wishes.get("until") == "retire"):
        lines.append("the source ends, and with it the way back")
    if step == "promote":
        lines.append(
            "the target takes writes of its own: what the source gets from then on it does not have"
        )
    if step == "promote" and wishes.get("force"):
        lines.append("what the target lacks now is lost")
    if step == "persistence" and result.get("mode") == "none":
        lines.append(
            "nothing is written to the disk any more: who restarts it, or a crash, empties it"
        )
    if step == "relay":
        lines.append("nothing listens at the source's address any more")
    if not lines and step in ("upgrade", "switchover"):
        lines.append("nothing: `rollback` goes back, until `retire`")
        lines.append("settings that are raised for it are put back")
    if not lines and step == "rollback":
        lines.append("nothing: the target follows, and `switchover` goes there again")
    return [_item(line) for line in lines]


def against(preflight: Facts | None, result: Facts | None) -> list[str]:
    """Return the findings with what to do, and warnings; that there are none is worth a line."""
    findings = (preflight or {}).get("findings", [])
    lines = [
        "{level} {code}, {server}: {found}; {remedy}".format_map(finding) for finding in findings
    ]
    # The same is a warning of the result.
    known = [finding["found"] for finding in findings]
    lines += [
        f"warning: {warning}"
        for warning in (result or {}).get("warnings", [])
        if not warning.startswith(OF_DRY_RUN) and not any(found in warning for found in known)
    ]
    if preflight and not lines:
        lines = ["nothing"]
    return [_item(as_typed(line)) for line in lines]


def question(step: str, result: Facts, wishes: Facts) -> str:
    """Return what is asked before it is done, with the facts."""
    before = result["before"]
    source, target = (_named(before.get(side)) for side in ("source", "target"))
    connected = len(result.get("connections", []))
    clients = f"{counted(connected, 'client')} {'is' if connected == 1 else 'are'}"
    if step == "upgrade" and wishes.get("until") == "retire":
        return f"Replace {source} by {target}, and shut it down?"
    return {
        "upgrade": f"Replace {source} by {target}?",
        "switchover": f"Make {target} the master in place of {source}?",
        "rollback": f"Go back from {target} to {source}?",
        "promote": f"Make {target} a master of its own?",
        "retire": f"Shut down {source}? There is no way back then.",
        "replicate": f"Wipe {target}, and make it a replica of {source}?",
        "clients": f"Cut {counted(len(result.get('disconnected', [])), 'connection')} to {source}?",
        "relay": f"End the relay, through which {clients} connected?",
        "persistence": f"Let {before.get('address')} write nothing to the disk any more?",
    }[step]


def _named(server: Facts | None) -> str:
    if not server or "address" not in server:
        return "the server that is gone"
    return f"{server['address']} ({server['version']}, {number(server['keys'])} keys)"
