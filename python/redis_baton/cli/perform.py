"""One verb from its options to what it leaves on standard output."""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import redis_baton as rb

from . import gather, passwords, servers
from .codes import Exit
from .command import NOT_OF_STEP
from .outcome import CHANGES, outcome
from .output import err, out
from .parameters import ARGUMENTS, WISHES, parameters_of
from .plan import against, plan, question
from .plan import servers as servers_table
from .settings import Settings
from .view import View, view_for
from .words import verb_of, wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .stop import Stop
    from .verbs import Verb

Values = dict[str, Any]
AT_ITS_EDGE = (
    "stopped just as the step began or ended; `redis-baton status` says how things stand "
    "(interrupted: run the same thing again)"
)
# Whose plan needs what `preflight` finds.
WITH_PREFLIGHT = ("upgrade", "switchover")


class NotConfirmed(Exception):
    """Nobody said yes."""


class Stopped(Exception):
    """A step was stopped from outside; its text says in what state that left things."""


def perform(verb: Verb, values: Values, verbs: Sequence[Verb], stop: Stop) -> int:
    """Run it, and return the exit status of one that ended well."""
    passwords.take_ours()
    ours = {name: values.pop(name) for name in NOT_OF_STEP}
    path = ours["config_path"]
    known = {one.step: set(parameters_of(one.function)) for one in verbs}
    settings = Settings(Path(path) if path is not None else None, known)
    named = {side: values.pop(side) for side in verb.sides}
    probe_at = values.pop("probe_at", None)
    wishes = _wishes(verb, values, settings)
    if probe_at is not None or isinstance(wishes.get("probe"), str):
        wishes["probe"] = servers.for_probe(probe_at or wishes["probe"], ours, settings)
    endpoints = {
        side: servers.endpoint(side, given, ours, settings) for side, given in named.items()
    }
    if "replication_user" in wishes and "replication_password" not in wishes:
        _add_replication_password(wishes, asks=ours["ask_password"])
    call = _Call(verb, {**endpoints, **wishes}, wishes)
    if verb.plans or wishes.get("dry_run"):
        return _plan(call, as_json=ours["as_json"])
    if verb.asks(wishes):
        _ask(call, yes=ours["yes"], commands=ours["verbose"])
    with view_for(quiet=ours["quiet"], verbose=ours["verbose"]) as view:
        result = call.run(view, stop)
    return _show(call, result, as_json=ours["as_json"])


class _Call:
    """A step with its arguments."""

    def __init__(self, verb: Verb, arguments: Values, wishes: Values) -> None:
        self.step = verb.step
        self.wishes = wishes
        self._arguments = arguments

    def run(self, view: View, stop: Stop) -> Values:
        """Run it, and return its result as plain facts; from its end on signals are passed over."""
        try:
            try:
                result = getattr(rb, self.step)(**self._arguments, on_event=view)
            finally:
                stop.raises = False
        except KeyboardInterrupt as stopped:
            # Where the signal came when the step had failed, what it has said counts.
            if isinstance(stopped.__context__, rb.BatonError):
                raise stopped.__context__ from None
            raise Stopped(str(stopped) or AT_ITS_EDGE) from None
        facts: Values = result.as_dict()
        return facts

    def planned(self) -> Values:
        """Return what it says it would do; nothing is sent."""
        return self._look(self.step, self._arguments)

    def preflight(self) -> Values | None:
        """Run the preflight with what it takes of these arguments, where a plan needs it."""
        if self.step not in WITH_PREFLIGHT:
            return None
        taken = inspect.signature(rb.preflight).parameters
        return self._look(
            "preflight", {name: v for name, v in self._arguments.items() if name in taken}
        )

    @staticmethod
    def _look(step: str, arguments: Values) -> Values:
        # What is only planned leaves nothing behind, not even in the chronicle.
        facts: Values = getattr(rb, step)(**{**arguments, "dry_run": True}).as_dict()
        return facts


def _wishes(verb: Verb, values: Values, settings: Settings) -> Values:
    """Return what was wished: in the file, and on the command line, which goes before."""
    parameters = parameters_of(verb.function)
    names = set(inspect.signature(verb.function).parameters)
    wishes = settings.options(verb.step, names)
    redirect_options = values.pop("redirect_option", ())
    for name, value in values.items():
        if value is None or value == ():
            continue
        wish = WISHES[name]
        typed = ARGUMENTS.get((verb.step, name), wish.flag or name)
        wishes[name] = wish.gathers(value, typed) if wish.gathers else value
    if redirect_options or "redirect" in values:
        _redirect(wishes, values.get("redirect"), redirect_options)
    for name, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and name not in wishes:
            typed = ARGUMENTS.get((verb.step, name), f"--{verb_of(name)}")
            raise click.UsageError(f"{typed} is missing")
    return wishes


def _redirect(wishes: Values, way: str | None, options: Sequence[str]) -> None:
    if way is None and options:
        raise click.UsageError("--redirect-option needs --redirect")
    if way is not None:
        wishes["redirect"] = gather.redirect(way, options, "--redirect-option")
    given = wishes.get("redirect")
    if isinstance(given, dict) and "sentinel" in given and "password" not in given["sentinel"]:
        password = passwords.from_environment(passwords.SENTINEL)
        if password is not None:
            given["sentinel"]["password"] = password


def _add_replication_password(wishes: Values, *, asks: bool) -> None:
    password = passwords.from_environment(passwords.REPLICATION)
    if password is None and asks:
        password = passwords.asked(f"the replication user {wishes['replication_user']}")
    if password is not None:
        wishes["replication_password"] = password


def _plan(call: _Call, *, as_json: bool) -> int:
    """Say what would be done. What stands against it is said whole, not only the first of it."""
    preflight = None if as_json else call.preflight()
    if preflight is not None and not preflight["ok"]:
        out(servers_table(preflight["before"]))
        out("\nThis would be refused, and nothing changed\n")
        out("\n".join(against(preflight, None)))
        return Exit.REFUSED
    result = call.planned()
    if as_json:
        return _show(call, result, as_json=True)
    if call.step not in CHANGES and not result["changed"]:
        return _show(call, result, as_json=False)
    out("A plan: nothing is sent.\n")
    out(plan(call.step, result, preflight, call.wishes))
    return Exit.DONE


def _ask(call: _Call, *, yes: bool, commands: bool) -> None:
    """Ask, with the facts: what would be done, to which servers."""
    if yes:
        return
    terminal = sys.stdin.isatty() and sys.stderr.isatty()
    if not terminal:
        raise NotConfirmed(
            f"{call.step} asks before it begins, and there is nobody to ask without a terminal; "
            "give --yes, or look first with --dry-run (unchanged)"
        )
    preflight = call.preflight()
    if preflight is not None and not preflight["ok"]:
        err("\n".join(against(preflight, None)))
    result = call.planned()
    if not result["changed"]:
        return
    text = plan(call.step, result, preflight, call.wishes, commands=commands)
    err(f"{text}\n")
    if not click.confirm(wrapped(question(call.step, result, call.wishes)), err=True):
        raise NotConfirmed("not done, as nobody said yes (unchanged)")


def _show(call: _Call, result: Values, *, as_json: bool) -> int:
    if as_json:
        out(json.dumps(result, indent=2))
    else:
        out(outcome(call.step, result))
    return Exit.REFUSED if call.step == "preflight" and not result["ok"] else Exit.DONE
