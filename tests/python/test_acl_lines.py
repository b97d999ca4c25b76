"""The ACL lines of docs/permissions.md: under exactly those every step runs, and none is idle."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
import redis_baton as rb

from tests.python.common import SECRET, Given, Pair, assert_readable, put, state_of
from tests.support import dataset
from tests.support.servers import eventually

if TYPE_CHECKING:
    from tests.python.conftest import PairFactory
    from tests.support.servers import Instance

PAGE = (Path(__file__).parents[2] / "docs" / "permissions.md").read_text()
PAIRS = [("redis-7.0", "redis-8.0"), ("valkey-8.1", "valkey-9.1")]
FENCE = ["+set", "+watch", "+pttl", "+monitor"]


def line(name: str) -> list[str]:
    """Return the rules that the page has under this name."""
    block = re.search(rf"```acl {name}\n(.*?)```", PAGE, re.DOTALL)
    cell = re.search(rf"<!-- acl {name} --> `([^`]*)`", PAGE)
    found = block or cell
    assert found, name
    return found[1].replace("\\|", "|").split()


def user(server: Instance, *rules: str, name: str = "baton") -> str:
    """Give the server a user that has nothing but these rules; return its URL."""
    fit = [rule for rule in rules if rule != "resetchannels" or "6.0" not in server.binary.name]
    server.call("ACL", "SETUSER", name, "reset", "on", f">{SECRET}", *fit)
    server.call("ACL", "LOG", "RESET")
    server.call("CONFIG", "RESETSTAT")
    return f"redis://{name}:{SECRET}@{server.address}"


def under(pair: Pair, *rules: str) -> Given:
    return Given(
        source=user(pair.source, *rules),
        target=user(pair.target, *rules),
        journal_dir=pair.journal_dir,
    )


def refused(*servers: Instance) -> list[str]:
    """Return what was refused to the user, as the servers have logged it."""
    return [str(entry) for one in servers if one.alive for entry in one.call("ACL", "LOG")]


def idle(rules: list[str], *servers: Instance) -> set[str]:
    """Return the rules for commands that none of the servers was sent."""
    sent = {
        name.removeprefix("cmdstat_").lower()
        for one in servers
        for name in one.info("commandstats")
    }
    return {rule for rule in rules if rule.startswith("+") and rule[1:] not in sent}


@pytest.mark.parametrize("names", PAIRS, ids="-".join)
def test_the_whole_upgrade(pair_of: PairFactory, names: tuple[str, str]) -> None:
    pair = pair_of(*names)
    put(pair.source, 50)
    rules = line("upgrade")
    given = under(pair, *rules)
    pair.source.call("ACL", "SETUSER", "app", "on", f">{SECRET}", "~app:*", "+@read")
    assert rb.preflight(**given).ok
    rb.replicate(**given)
    rb.wait_synced(**given)
    rb.verify(**given, level="counts")
    there = rb.switchover(**given)
    rb.wait_quiescent(**given, quiet_for=0.1)
    back, again = rb.rollback(**given), rb.switchover(**given)
    assert [*there.warnings, *back.warnings, *again.warnings] == []
    assert refused(pair.source, pair.target) == []
    # The preflight's questions count too: what it asks for is refused without.
    assert idle(rules, pair.source, pair.target) == set()
    assert rb.retire(**given).retired
    eventually(lambda: not pair.source.alive, "the source has ended")
    assert refused(pair.target) == []


def test_the_whole_upgrade_of_a_fenced_source(pair_of: PairFactory) -> None:
    pair = pair_of("redis-6.0", "redis-7.0")
    put(pair.source, 50)
    given = under(pair, *line("upgrade"), *FENCE)
    done = rb.upgrade(**given, until="switchover")
    assert done.stage == "retired"
    assert pair.target.role == "master"


@pytest.mark.parametrize("missing", FENCE)
def test_what_the_fence_lacks_is_found_before(pair_of: PairFactory, missing: str) -> None:
    pair = pair_of("redis-6.0", "redis-7.0")
    given = under(pair, *line("upgrade"), *[rule for rule in FENCE if rule != missing])
    found = rb.preflight(**given)
    assert not found.ok
    assert found.findings[0].code == "permission_denied"
    assert f"ACL SETUSER baton {missing}," in found.findings[0].remedy


@pytest.mark.parametrize("missing", ["+client|kill", "+config|set", "+replicaof", "+shutdown"])
def test_what_is_missing_is_named_before_anything_is_changed(pair: Pair, missing: str) -> None:
    put(pair.source, 10)
    given = under(pair, *[rule for rule in line("upgrade") if rule != missing])
    before = state_of(pair.source), state_of(pair.target)
    with pytest.raises(rb.Refused) as refusal:
        rb.upgrade(**given, until="retire", quiet_for=0.1)
    error = refusal.value
    assert (error.reason, error.state) == ("permission_denied", "unchanged")
    assert f"ACL SETUSER baton {missing}, or give another user" in error.remedy
    assert_readable(error)
    assert (state_of(pair.source), state_of(pair.target)) == before


def test_single_steps(pair: Pair) -> None:
    pair.switch()
    servers = pair.source, pair.target
    for name in ("status", "counts", "clients", "quiescent"):
        rules = line(name)
        # They have changed places, so each user goes where its server listens now.
        users = [user(one, *rules, name=name) for one in servers]
        given = Given(source=users[0], target=users[1], journal_dir=pair.journal_dir)
        if name == "status":
            assert rb.status(**given).warm
            rb.wait_synced(**given)
        elif name == "counts":
            assert rb.verify(**given, level="counts").equal
        elif name == "clients":
            rb.clients(**given)
        else:
            rb.wait_quiescent(**given, quiet_for=0.1)
        assert refused(*servers) == [], name
        assert idle(rules, *servers) == set(), name


@pytest.mark.parametrize("by", [None, "streams", "reads"])
def test_comparing_keys(pair: Pair, by: Literal["streams", "reads"] | None) -> None:
    with pair.source.client() as client:
        dataset.fill(client, keys=200)
    pair.follow()
    with pair.target.client() as replica:  # one key to look at again
        replica.config_set("replica-read-only", "no")
        replica.set("key:1", "another value")
    rules = ["~*", *line("counts"), *line("samples"), *line("sample"), *line("since-7.0")]
    if by:
        rules += [*(line("streams") if by == "streams" else []), *line("functions")]
    given = Given(
        source=user(pair.source, *rules),
        target=user(pair.target, *rules, *line("since-7.4")),
        journal_dir=pair.journal_dir,
    )
    level: Literal["sample", "full"] = "full" if by else "sample"
    with pytest.raises(rb.Refused) as differs:
        rb.verify(**given, level=level, by=by or "streams", sample_keys=1000)
    assert differs.value.reason == "values_differ"
    assert refused(pair.source, pair.target) == []


def test_a_login_for_replication(pair: Pair) -> None:
    put(pair.source, 10)
    own = [rule for rule in line("upgrade") if rule not in {"+psync", "+replconf"}]
    given = under(pair, *own)
    for one in (pair.source, pair.target):
        one.call("ACL", "SETUSER", "sync", "reset", "on", f">{SECRET}", *line("replication"))
    rb.replicate(**given, replication_user="sync", replication_password=SECRET)
    rb.wait_synced(**given)
    rb.switchover(**given, replication_user="sync", replication_password=SECRET)
    assert rb.status(**given).warm
    assert refused(pair.source, pair.target) == []


def test_the_probe(pair: Pair) -> None:
    put(pair.source, 10)
    given = under(pair, *line("upgrade"), *line("probe"))
    rb.replicate(**given)
    rb.wait_synced(**given)
    done = rb.switchover(**given, probe=True)
    assert done.probe is not None
    assert done.warnings == []
    assert refused(pair.source, pair.target) == []


def test_steps_on_one_server(pair: Pair) -> None:
    server = pair.target
    url = user(server, *line("config"), name="config")
    rb.config(server=url, parameters={"maxmemory-samples": "7"}, rewrite=True)
    assert (refused(server), idle(line("config"), server)) == ([], set())
    rules = line("persistence")
    url = user(server, *rules, name="persistence")
    for mode in ("rdb", "aof", "rdb"):
        rb.persistence(server=url, mode=mode, journal_dir=pair.journal_dir)
    assert refused(server) == []
    assert idle(rules, server) <= {"+bgrewriteaof"}  # for an AOF that is to be written anew
