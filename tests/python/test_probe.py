"""The probe: a light client that looks on, and what it says it saw."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import redis_baton as rb

from tests.python.common import (
    SECRET,
    Given,
    Pair,
    assert_probe_saw_no_harm,
    connected_to,
    fails,
    put,
)
from tests.support.servers import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ServerFactory
    from tests.support.servers import Instance

Event = dict[str, Any]
NAME = "redis-baton.probe"
KEYS = "redis-baton:probe:*"
# What a client may see of a handover: its connections are cut, and its port is closed for a moment.
CUT = {"closed", "refused"}


def keys_of(*servers: Instance) -> list[str]:
    return [key for server in servers for key in server.call("KEYS", KEYS)]


def probes_in(events: list[Event]) -> list[Event]:
    return [event for event in events if event["event"] == "probe"]


def test_it_sees_the_gap_and_nothing_lost(pair: Pair) -> None:
    put(pair.source, 200)
    seen: list[Event] = []
    done = rb.upgrade(**pair.given, probe=True, quiet_for=0.1, on_event=seen.append)
    probe = done.probe
    assert (done.stage, done.warnings) == ("switched", [])
    assert_probe_saw_no_harm(probe, "refused")
    assert probe is not None
    assert 0 < probe.median_us <= probe.p99_us <= probe.max_us
    # While writes wait none is acknowledged.
    [cut] = [step.result for step in done.steps if step.name == "switchover"]
    assert probe.longest_gap_ms > cut["write_gap_ms"] / 2
    assert cut["probe"] is None, "there is one for all steps"
    pieces = probes_in(seen)
    assert sum(piece["writes"] for piece in pieces) == probe.writes
    assert sum(piece["reads"] for piece in pieces) == probe.reads
    assert max(piece["longest_gap_us"] for piece in pieces) == round(probe.longest_gap_ms * 1000)
    assert all(piece["since"] < piece["until"] for piece in pieces)
    short = [piece for piece in pieces if piece["until"] - piece["since"] < 0.1]
    assert len(short) >= 5, "around the cut the pieces are short"
    assert keys_of(pair.source, pair.target) == []
    assert json.loads(json.dumps(done.as_dict()))["probe"]["writes"] == probe.writes
    back = rb.rollback(**pair.given, probe=True)
    assert_probe_saw_no_harm(back.probe, "refused")


def test_where_nothing_moves_clients_it_goes_to_the_target_itself(pair: Pair) -> None:
    pair.follow()
    done = rb.switchover(**pair.given, redirect="none", probe=True)
    assert done.probe is not None
    assert done.probe.lost == 0
    assert set(done.probe.errors) <= CUT | {"READONLY"}
    assert "READONLY" in done.probe.errors
    again = rb.switchover(**pair.given, redirect="none", probe=True)
    assert again.changed is False
    back = rb.rollback(**pair.given, probe=True)
    assert back.probe is not None
    assert back.probe.lost == 0
    assert back.probe.errors.get("READONLY", 0) > 0, "it was at the target before"
    assert keys_of(pair.source, pair.target) == []


def test_it_counts_as_ours_and_is_cut_like_everybody(pair: Pair) -> None:
    pair.follow()
    groups: list[list[rb.ClientGroup]] = []
    named: list[int] = []

    def look(_: object) -> None:
        named.append(sum(one["name"] == NAME for one in connected_to(pair.source)))
        with ThreadPoolExecutor() as another:
            groups.append(another.submit(lambda: rb.clients(**pair.given)).result(20).source)

    done = rb.switchover(**pair.given, hooks={"before": look}, probe=True)
    assert named == [2]
    assert {group.kind for group in groups[0]} <= {"ours", "replica"}
    assert done.probe is not None
    assert done.probe.reconnects == 2
    assert rb.wait_quiescent(**pair.given, quiet_for=0.1).quiet


def test_an_acknowledged_write_that_is_gone_is_told(pair: Pair) -> None:
    pair.follow()

    def lose(_: object) -> None:
        eventually(lambda: len(keys_of(pair.source)) == 1, "it writes")
        [key] = keys_of(pair.source)
        eventually(lambda: int(pair.source.call("GET", key)) > 5, "it writes on")
        ours = [one["id"] for one in connected_to(pair.source) if one["name"] == NAME]
        with pair.source.client() as client, client.pipeline() as together:
            together.set(key, 1)
            for one in ours:
                together.execute_command("CLIENT", "KILL", "ID", one)
            together.execute()

    done = rb.switchover(**pair.given, hooks={"before": lose}, probe=True)
    assert done.probe is not None
    assert done.probe.lost > 0


def test_an_account_that_may_not_write_the_key_is_no_obstacle(pair: Pair) -> None:
    for one in (pair.source, pair.target):
        one.call("ACL", "SETUSER", "ops", "on", f">{SECRET}", "~app:*", "&*", "+@all")
    given = Given(
        source=f"redis://ops:{SECRET}@127.0.0.1:{pair.source.port}",
        target=f"redis://ops:{SECRET}@127.0.0.1:{pair.target.port}",
        journal_dir=pair.journal_dir,
    )
    rb.replicate(**given)
    rb.wait_synced(**given)
    done = rb.switchover(**given, probe=True)
    assert done.probe is None
    [warning] = [said for said in done.warnings if "probe" in said]
    assert "may not write its key redis-baton:probe:" in warning
    assert "NOPERM" in warning
    assert pair.roles == ("slave", "master")


def test_an_address_is_taken_with_the_login_of_the_source(
    server: ServerFactory, journal_dir: Path
) -> None:
    pair = Pair(server("redis-7.0", password=SECRET), server("redis-8.0"), journal_dir)
    pair.follow()
    seen: list[Event] = []
    at = f"redis://127.0.0.1:{pair.source.port}"
    done = rb.switchover(**pair.given, probe=at, on_event=seen.append)
    assert done.probe is not None
    assert (done.probe.lost, done.probe.reconnects) == (0, 2)
    assert SECRET not in repr(done) + json.dumps(seen)


def test_where_nobody_answers_it_says_so(pair: Pair) -> None:
    pair.follow()
    done = rb.switchover(**pair.given, probe="redis://127.0.0.1:1")
    assert done.probe is None
    [warning] = [said for said in done.warnings if "probe" in said]
    assert "could not do anything" in warning
    assert pair.roles == ("slave", "master")


def test_a_dry_run_has_none_and_bad_input_is_named(pair: Pair) -> None:
    pair.follow()
    assert rb.switchover(**pair.given, probe=True, dry_run=True).probe is None
    assert keys_of(pair.source) == []
    with fails(rb.InvalidInput, "invalid_input", pair.source) as caught:
        rb.switchover(**pair.given, probe="yes")
    assert caught.message.startswith("probe: ")


def test_a_source_given_by_its_unix_socket(pair: Pair) -> None:
    pair.follow()
    rb.rollback(**pair.given)
    source = f"unix://{pair.source.unix_socket}"
    given = Given(source=source, target=pair.target.url, journal_dir=pair.journal_dir)
    rb.wait_synced(**given)
    seen: list[Event] = []
    done = rb.switchover(**given, probe=True, on_event=seen.append)
    assert done.probe is not None
    assert done.probe.lost == 0
    assert set(done.probe.errors) <= CUT | {"READONLY"}
    assert probes_in(seen)[-1]["writes"] > 0, "it has found the port"


def test_a_source_that_is_shut_down_for_it(server: ServerFactory, journal_dir: Path) -> None:
    pair = Pair(server("redis-6.0", appendonly=True), server("redis-7.0"), journal_dir)
    pair.follow()
    done = rb.switchover(**pair.given, probe=True)
    assert done.probe is not None
    assert done.probe.lost == 0
    assert set(done.probe.errors) <= CUT
