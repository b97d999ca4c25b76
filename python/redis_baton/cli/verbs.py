"""The verbs: each is a step, with what one has to know of it and an example that the tests run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

import redis_baton as rb

Wishes = dict[str, Any]


def _always(_: Wishes) -> bool:
    return True


def _never(_: Wishes) -> bool:
    return False


@dataclass(frozen=True)
class Verb:
    """What is typed, and the step that it is."""

    name: str
    summary: str
    text: str
    example: str
    asks: Callable[[Wishes], bool] = _never
    """Whether that can't be taken back, or clients notice it: then it is asked about first."""
    step_name: str | None = None
    plans: bool = False
    """It never does more than a dry run."""

    @property
    def step(self) -> str:
        """The name of the function that does it."""
        return self.step_name or self.name.replace("-", "_")

    @property
    def function(self) -> Callable[..., Any]:
        """The function."""
        found: Callable[..., Any] = getattr(rb, self.step)
        return found

    @property
    def sides(self) -> tuple[str, ...]:
        """The servers that it is about."""
        return ("server",) if self.step in ALONE else ("source", "target")


ALONE = frozenset({"config", "persistence", "wait_ready"})
VERBS = [
    Verb(
        "plan",
        "Say what an upgrade would do, and what stands against it.",
        "The preflight and a dry run of `upgrade`, as a person would write it. Changes nothing, "
        "and takes the same options as `upgrade`.",
        "redis-baton plan redis.example:6379 redis.example:6380",
        step_name="upgrade",
        plans=True,
    ),
    Verb(
        "upgrade",
        "Replace SOURCE by TARGET: all steps, from wherever things stand.",
        "The same command again goes on where it stopped. It ends with the new server serving and "
        "the old one following it; `--until retire` also shuts the old one down.",
        "redis-baton upgrade redis.example:6379 redis.example:6380 --until wait-quiescent",
        asks=lambda wishes: (
            wishes.get("until") not in ("preflight", "wait_synced", "verify", "replicate")
            or bool(wishes.get("force"))
        ),
    ),
    Verb(
        "preflight",
        "Find what stands against an upgrade, and what it would cost.",
        "Changes nothing. The exit status is 3 if something blocks the upgrade.",
        "redis-baton preflight redis.example:6379 redis.example:6380",
    ),
    Verb(
        "launch",
        "Run a target on this host with the live configuration of the source.",
        "TARGET is the address at which it is to listen. It gets files of its own.",
        "redis-baton launch redis.example:6379 redis.example:6380 --directory /var/lib/redis-new",
    ),
    Verb(
        "replicate",
        "Make the target replicate from the source, with the source's ACL users.",
        "The first step of an upgrade.",
        "redis-baton replicate redis.example:6379 redis.example:6380",
        asks=lambda wishes: bool(wishes.get("force")),
    ),
    Verb(
        "wait-synced",
        "Wait until the initial sync is done and the link is steady.",
        "Shows how far it is, how fast, and how long it will take.",
        "redis-baton wait-synced redis.example:6379 redis.example:6380 --wait-timeout 2h",
    ),
    Verb(
        "verify",
        "Compare the data: counts, a sample, or every key.",
        "A difference is a failure, unless --no-fail is given.",
        "redis-baton verify redis.example:6379 redis.example:6380 --level full",
    ),
    Verb(
        "clients",
        "List who is connected where, how they follow, and what they lose.",
        "With --disconnect, cuts some of those who still use the source after the switchover.",
        "redis-baton clients redis.example:6379 redis.example:6380",
        asks=lambda wishes: bool(wishes.get("disconnect")),
    ),
    Verb(
        "switchover",
        "Make the target the master, and clients arrive there.",
        "Writes wait for some milliseconds, each client is cut once. Whatever stops it, the same "
        "command again goes on. Afterwards the source follows, and `rollback` goes back.",
        "redis-baton switchover redis.example:6379 redis.example:6380 --patience 1m",
        asks=_always,
    ),
    Verb(
        "wait-quiescent",
        "Wait until no application uses the source any more.",
        "Says who still does, if the time is up.",
        "redis-baton wait-quiescent redis.example:6379 redis.example:6380 --quiet-for 500ms",
    ),
    Verb(
        "rollback",
        "Make the source serve again, while it is warm.",
        "A switchover backwards. What was written since stays.",
        "redis-baton rollback redis.example:6379 redis.example:6380",
        asks=_always,
    ),
    Verb(
        "promote",
        "Make the target a master, for those who move clients by hand.",
        "Nothing moves the clients, and the source goes on as a master of its own.",
        "redis-baton promote redis.example:6379 redis.example:6380",
        asks=_always,
    ),
    Verb(
        "retire",
        "Shut the source down.",
        "The end of an upgrade: there is no way back then.",
        "redis-baton retire redis.example:6379 redis.example:6380",
        asks=_always,
    ),
    Verb(
        "status",
        "Say who serves, and whether there is a way back.",
        "Changes nothing. At any time, also after something went wrong.",
        "redis-baton status redis.example:6379 redis.example:6380",
    ),
    Verb(
        "relay",
        "Look who comes through the relay that a switchover has left; end it.",
        "Only after a switchover with --redirect relay, on the host where that runs.",
        "redis-baton relay redis.example:6379 redis.example:6380",
        asks=lambda wishes: bool(wishes.get("end")),
    ),
    Verb(
        "report",
        "Tell what has happened to a pair: from the journal, without asking a server.",
        "Writes the files that are asked for; without any it says the outcome in one sentence.",
        "redis-baton report redis.example:6379 redis.example:6380 --html upgrade.html",
    ),
    Verb(
        "config",
        "Set parameters of one live server, and say which need a restart.",
        "What has its value already is left alone.",
        "redis-baton config redis.example:6379 maxmemory=2gb --rewrite",
    ),
    Verb(
        "persistence",
        "Switch what a server writes to its disk, while it runs.",
        "MODE is rdb, aof, both or none. What it wrote before stays on until the new files are "
        "complete.",
        "redis-baton persistence redis.example:6379 aof",
        asks=lambda wishes: wishes.get("mode") == "none",
    ),
    Verb(
        "wait-ready",
        "Wait until a server answers and has loaded its data.",
        "Says which process it is.",
        "redis-baton wait-ready redis.example:6379 --wait-timeout 30s",
    ),
]
