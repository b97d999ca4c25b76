"""The options of a verb, made from the parameters of its step: their names and defaults are there.

An option that is not given is not passed on, so what holds then is what the step says.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable

import click

from . import gather, passwords
from .kinds import DURATION, SIZE, Measure, StepName
from .servers import OF_LOGIN
from .words import verb_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .kinds import Kind

# Parameters that are no option: the servers are arguments, passwords are never on the command line,
# and events are what is shown.
ELSEWHERE = frozenset({"source", "target", "server", "replication_password", "on_event"})
STEPS = (
    "preflight",
    "replicate",
    "wait-synced",
    "verify",
    "switchover",
    "wait-quiescent",
    "retire",
)


@dataclass(frozen=True)
class Wish:
    """How a parameter is given."""

    help: str
    type: Kind | None = None
    """None for a flag."""
    metavar: str | None = None
    gathers: Callable[[Iterable[str], str], Any] | None = None
    """It may be given several times, and this makes one value of it."""
    flag: str | None = None
    """Where that is not the parameter's name."""


PATH = click.Path()
WISHES: dict[str, Wish] = {
    "appendfsync": Wish(
        "when the AOF is told to be on disk [default: as it is]",
        click.Choice(["always", "everysec", "no"]),
    ),
    "aside_port": Wish(
        "the port the source moves to [default: the first free one above the target's]",
        click.INT,
        "PORT",
    ),
    "attempts": Wish("how many pauses are tried, each with more time to catch up", click.INT, "N"),
    "backlog_bytes": Wish(
        "replication backlog of the new master while the old one is warm", SIZE, "SIZE"
    ),
    "break_lock": Wish("cut off another controller that is at work on these servers"),
    "by": Wish(
        "with --level full: by the streams that a replica would be sent, or by reads of each key",
        click.Choice(["streams", "reads"]),
    ),
    "directory": Wish("where the new server keeps its files; made if it is missing", PATH, "DIR"),
    "disconnect": Wish(
        "cut those from the source that fit, once the target serves: "
        f"{', '.join(gather.CRITERIA)}; again for more",
        click.STRING,
        "CRITERION=PATTERN",
        gather.selection,
    ),
    "dry_run": Wish("say what would be done, and send nothing"),
    "end": Wish("end the relay, if nobody is connected"),
    "fail": Wish("whether a difference is a failure, or only reported"),
    "force": Wish("take a target that holds data of its own: it is WIPED"),
    "guard": Wish("post a process that finishes or takes back the handover if this one is killed"),
    "hook_timeout": Wish("time that each hook may take", DURATION, "TIME"),
    "hooks": Wish(
        f"run a command at a moment of the handover ({', '.join(gather.MOMENTS)}); again for more",
        click.STRING,
        "MOMENT=COMMAND",
        gather.hooks,
        flag="--hook",
    ),
    "html": Wish("write the report there, as one HTML file", PATH, "FILE"),
    "journal_dir": Wish(
        "where journals are kept [default: ~/.local/state/redis-baton]", PATH, "DIR"
    ),
    "json": Wish("write the report there, as JSON", PATH, "FILE", flag="--json-file"),
    "level": Wish(
        "what is compared: key counts, a sample of keys too, or every key",
        click.Choice(["counts", "sample", "full"]),
    ),
    "max_differences": Wish("how many keys that differ are described", click.INT, "N"),
    "max_lag_bytes": Wish("how far behind the target may be", SIZE, "SIZE"),
    "max_latency": Wish(
        "how long the server that serves may take to answer at that moment", DURATION, "TIME"
    ),
    "mode": Wish(
        "rdb (save points), aof, both, or none", click.Choice(["rdb", "aof", "both", "none"])
    ),
    "monitor": Wish(
        "ask MONITOR that long first who sends what; it costs a busy server throughput",
        DURATION,
        "TIME",
    ),
    "monitor_lines": Wish("commands after which MONITOR ends at the latest", click.INT, "N"),
    "other_than": Wish(
        "run id of a process that does not count, such as the one before a restart",
        click.STRING,
        "RUN_ID",
    ),
    "parameters": Wish(
        "a parameter that goes before the source's; again for more",
        click.STRING,
        "NAME=VALUE",
        gather.parameters,
        flag="--set",
    ),
    "patience": Wish("how long to wait for a good moment before each attempt", DURATION, "TIME"),
    "pause_budget": Wish("how long writes wait at most in one attempt", DURATION, "TIME"),
    "probe": Wish("measure from outside what a client sees, through the address clients use"),
    "program": Wish("the server to run [default: the source's own]", PATH, "FILE"),
    "prometheus": Wish("write the figures there, for Prometheus's textfiles", PATH, "FILE"),
    "quiet_for": Wish("for how long nothing may arrive", DURATION, "TIME"),
    "rate": Wish("keys a second that are read at most", click.INT, "N"),
    "redirect": Wish("how clients are moved [default: takeover]", click.Choice(gather.WAYS)),
    "replication_user": Wish("ACL user for replication [default: the login]", click.STRING, "NAME"),
    "resume": Wish("go on where reads of every key were interrupted"),
    "rewrite": Wish("save the configuration to the server's file"),
    "sample_keys": Wish("how many random keys are read on both servers", click.INT, "N"),
    "save": Wish(
        "save points, such as '3600 1 300 100' [default: those there are]", click.STRING, "POINTS"
    ),
    "sync_timeout": Wish("how long the initial sync may take", DURATION, "TIME"),
    "unit": Wish("the systemd unit that runs it", click.STRING, "UNIT"),
    "until": Wish(f"the last step to run: {', '.join(STEPS)}", StepName(STEPS), "STEP"),
    "user": Wish("who runs it and owns its files; needs root", click.STRING, "NAME"),
    "wait_timeout": Wish("how long to wait at most", DURATION, "TIME"),
}

# Where it means something else for one step.
OF_STEP: dict[tuple[str, str], str] = {
    ("launch", "force"): "launch it though memory or disk seem short",
    (
        "promote",
        "force",
    ): "though the source is in use or gone: what the target lacks is LOST",
    ("relay", "force"): "end it whoever is connected: they are cut off",
    ("rollback", "redirect"): "only where it needs a password: clients go back the way they came",
    ("retire", "redirect"): "where Sentinel moved the clients, as in the switchover",
    ("retire", "rewrite"): "save the target's configuration when its raised settings are restored",
    (
        "verify",
        "max_latency",
    ): "slow down while the server that serves takes longer to answer",
    ("config", "parameters"): "parameters to set; one that is given again has several lines",
}

# Given by their place and not by a name.
ARGUMENTS: dict[tuple[str, str], str] = {
    ("persistence", "mode"): "MODE",
    ("config", "parameters"): "NAME=VALUE...",
}


# As the library's sentences call them: those with a name that is no word. What is quoted, or part
# of a path or of another name, only happens to be called so.
_TYPED = {name: f"--{verb_of(name)}" for name in (*WISHES, *OF_LOGIN) if "_" in name}
_TYPED["replication_password"] = f"${passwords.REPLICATION}"
_SAID = re.compile(
    r"""(?P<quoted>"(?:[^"\\]|\\.)*"|(?<!\w)'[^']*'(?!\w)|`[^`]*`)"""
    rf"|(?<![\w/.-])(?:or (?P<force>force)|redirect=(?P<way>\w+)|(?P<name>{'|'.join(_TYPED)}))"
    r"(?![\w/-]|\.\w)"
)


def as_typed(sentence: str) -> str:
    """Return what the library says with its parameters as the options that they are here."""

    def typed(found: re.Match[str]) -> str:
        if found["quoted"]:
            return found[0]
        if found["force"]:
            return "or --force"
        return f"--redirect {found['way']}" if found["way"] else _TYPED[found["name"]]

    return _SAID.sub(typed, sentence)


def parameters_of(step: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the step's parameters that are options or arguments here."""
    found = inspect.signature(step).parameters
    return {name: one for name, one in found.items() if name not in ELSEWHERE}


def options_of(name: str, step: Callable[..., Any]) -> list[click.Parameter]:
    """Return the options and arguments of a step."""
    made: list[click.Parameter] = []
    for parameter in parameters_of(step).values():
        wish = WISHES.get(parameter.name)
        if wish is None:
            continue  # a newer core than this: the tests look that none is left out
        if (name, parameter.name) in ARGUMENTS:
            made.append(_argument(name, parameter.name, wish))
            continue
        made.append(_option(name, parameter, wish))
        if parameter.name in BESIDE:
            made.append(BESIDE[parameter.name])
    return made


# What one word on the command line can't say.
BESIDE = {
    "redirect": click.Option(
        ["--redirect-option"],
        multiple=True,
        metavar="NAME=VALUE",
        help="an option of that way, such as sockets=/run/haproxy.sock; again for more",
    ),
    "probe": click.Option(
        ["--probe-at"],
        metavar="SERVER",
        help="the same at this address, where that is not the source's, such as HAProxy's",
    ),
}


def _argument(step: str, name: str, wish: Wish) -> click.Argument:
    metavar = ARGUMENTS[step, name]
    if wish.gathers:
        return click.Argument([name], type=wish.type, nargs=-1, required=False, metavar=metavar)
    return click.Argument([name], type=wish.type, required=False, metavar=metavar)


def _option(step: str, parameter: inspect.Parameter, wish: Wish) -> click.Option:
    flag = wish.flag or f"--{verb_of(parameter.name)}"
    text = OF_STEP.get((step, parameter.name), wish.help)
    if wish.type is None:
        if parameter.default is True:
            flag, text = f"{flag}/--no-{flag[2:]}", f"{text} [default: yes]"
        return click.Option([flag, parameter.name], is_flag=True, default=None, help=text)
    if isinstance(parameter.default, (int, float, str)):
        text = f"{text} [default: {_shown(parameter.default, wish.type)}]"
    return click.Option(
        [flag, parameter.name],
        type=wish.type,
        multiple=wish.gathers is not None,
        default=None,
        metavar=wish.metavar,
        help=text,
    )


def _shown(default: float | str, kind: Kind) -> str:
    if isinstance(kind, Measure) and not isinstance(default, str):
        return kind.shown(default)
    return verb_of(default) if isinstance(default, str) else str(default)
