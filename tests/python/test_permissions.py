"""A login that may not run a needed command is refused before anything is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis_baton as rb
from redis_baton import Refused

from tests.python.common import SECRET, Given, Pair, assert_readable, put, state_of
from tests.support.servers import eventually

if TYPE_CHECKING:
    from tests.support.servers import Instance

# All that an upgrade until `retire` sends to one server or the other.
COMMANDS = [
    "info",
    "config|get",
    "config|set",
    "config|rewrite",
    "replicaof",
    "client|pause",
    "client|unpause",
    "client|kill",
    "client|list",
    "client|setname",
    "multi",
    "exec",
    "acl|list",
    "acl|setuser",
    "module|list",
    "time",
    "ping",
    "select",
    "randomkey",
    "type",
    "pttl",
    "strlen",
    "get",
    "del",
    "shutdown",
]


def limit(server: Instance, user: str, *rules: str) -> str:
    """Give the server a user with these rules; return its URL."""
    server.call("ACL", "SETUSER", user, "reset", "on", f">{SECRET}", "~*", "&*", *rules)
    return f"redis://{user}:{SECRET}@{server.address}"


def given(pair: Pair, source_rules: list[str], target_rules: list[str]) -> Given:
    return Given(
        source=limit(pair.source, "for-source", *source_rules),
        target=limit(pair.target, "for-target", *target_rules),
        journal_dir=pair.journal_dir,
    )


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_forbidden_command_is_found_at_once_or_not_needed(
    pair: Pair, side: str, command: str
) -> None:
    put(pair.source, 10)
    rules = {"source": ["+@all"], "target": ["+@all"]}
    rules[side].append(f"-{command}")
    arguments = given(pair, rules["source"], rules["target"])
    before = state_of(pair.source), state_of(pair.target)
    refusal: rb.BatonError | None = None
    try:
        rb.upgrade(**arguments, until="retire", quiet_for=0.1)
    except rb.BatonError as error:
        refusal = error
    if refusal is None:
        eventually(lambda: not pair.source.alive, "the source has ended")
        assert pair.target.role == "master"
        assert pair.target.call("DBSIZE") == 10
        return
    assert isinstance(refusal, Refused), refusal
    assert (refusal.reason, refusal.state) == ("permission_denied", "unchanged"), refusal
    assert command.replace("|", " ").upper() in str(refusal)
    assert f"for-{side}" in str(refusal)
    assert_readable(refusal)
    assert (state_of(pair.source), state_of(pair.target)) == before
