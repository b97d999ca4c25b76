"""What a controller that died in the middle of a handover leaves, and what a rerun makes of it."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest
import redis_baton as rb
from redis_baton import Failed

from tests.python.common import Pair, put
from tests.support.servers import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ServerFactory


@pytest.fixture
def pair(server: ServerFactory, journal_dir: Path) -> Pair:
    return Pair(server("redis-7.0"), server("redis-8.0"), journal_dir)


def note(pair: Pair, **record: object) -> None:
    """Write a line into the journal, as a controller does that dies right after it."""
    name = f"127.0.0.1_{pair.source.port}--127.0.0.1_{pair.target.port}.jsonl"
    with (pair.journal_dir / name).open("a") as file:
        file.write(json.dumps({"at": 0.0, **record}) + "\n")


def note_handover(
    pair: Pair, *, back: bool, home: int, public: int, aside: int, before: int
) -> None:
    """Write the line that a handover begins with."""
    source, target = pair.source, pair.target
    demoted = target if back else source
    ports = {"home": home, "public": public, "aside": aside, "from": before}
    note(
        pair,
        record="handover",
        source=source.info("server")["run_id"],
        target=target.info("server")["run_id"],
        back=back,
        source_config=str(source.config_file),
        target_config=str(target.config_file),
        replid=demoted.info("replication")["master_replid"],
        **{name: {"plain": port, "tls": 0} for name, port in ports.items()},
    )


def demote(pair: Pair, *, journal: bool = True, wait: bool = True) -> int:
    """Do what a controller has done that dies right after the demotion; return the aside port."""
    source, target = pair.source, pair.target
    aside = target.port + 1
    if journal:
        run_id, parameter = source.info("server")["run_id"], "repl-ping-replica-period"
        note(pair, record="raised", run_id=run_id, parameter=parameter, original="10")
        note_handover(
            pair,
            back=False,
            home=source.port,
            public=source.port,
            aside=aside,
            before=target.port,
        )
    source.call("CONFIG", "SET", "repl-ping-replica-period", 86400)
    offset = source.info("replication")["master_repl_offset"]
    if wait:
        eventually(lambda: target.info("replication")["slave_repl_offset"] >= offset, "in step")
    with source.client() as client, client.pipeline(transaction=True) as transaction:
        transaction.execute_command("CONFIG", "SET", "port", aside)
        transaction.execute_command("REPLICAOF", "127.0.0.1", source.port)
        transaction.execute()
    return aside


def test_a_rollback_that_died_after_its_command_is_finished_without_the_target(pair: Pair) -> None:
    """The source serves again, the target is gone: what was raised for the handover is restored."""
    pair.follow(100)
    public = pair.source.port
    demote(pair)
    pair.target.kill()
    pair.source.call("REPLICAOF", "NO", "ONE")
    pair.source.call("CONFIG", "SET", "port", public)
    assert rb.rollback(**pair.given).changed
    assert (pair.source.role, ping_period(pair)) == ("master", "10")


def test_who_was_restarted_and_may_have_served_is_not_gone_back_from_silently(
    server: ServerFactory, journal_dir: Path
) -> None:
    """In a rollback: nothing here tells whether the source was promoted before it died."""
    old, new = server("redis-7.0", appendonly=True), server("redis-8.0", appendonly=True)
    pair = Pair(old, new, journal_dir)
    pair.switch(100)
    source, target = pair.source, pair.target
    put(target, 50)
    public, aside = target.current_port, source.current_port
    note_handover(pair, back=True, home=public, public=public, aside=aside + 1, before=aside)
    with target.client() as client, client.pipeline(transaction=True) as transaction:
        transaction.execute_command("CONFIG", "SET", "port", aside + 1)
        transaction.execute_command("REPLICAOF", "127.0.0.1", public)
        transaction.execute()
    source.kill()
    source.start()
    with pytest.raises(rb.Refused) as refused:
        rb.rollback(**pair.given)
    assert refused.value.reason == "history_lost"
    assert "log" in refused.value.remedy
    done = rb.switchover(**pair.given)
    assert "what it took then is not in this one" in " ".join(done.warnings)
    assert pair.target.role == "master"


def ping_period(pair: Pair) -> str:
    period: str = pair.source.call("CONFIG", "GET", "repl-ping-replica-period")[
        "repl-ping-replica-period"
    ]
    return period


def test_a_rerun_goes_on_after_the_demotion(pair: Pair) -> None:
    pair.follow(500)
    aside = demote(pair)
    assert pair.roles == ("slave", "slave")
    done = rb.switchover(**pair.given)
    assert (done.changed, done.warm) == (True, True)
    assert done.serving == f"127.0.0.1:{pair.source.port}"
    assert done.parked == f"127.0.0.1:{aside}"
    assert pair.roles == ("slave", "master")
    assert pair.target.client().dbsize() == 500
    assert ping_period(pair) == "10"
    assert rb.switchover(**pair.given).changed is False


def test_the_whole_upgrade_goes_on_too(pair: Pair) -> None:
    pair.follow(500)
    demote(pair)
    assert rb.upgrade(**pair.given, quiet_for=0.1).stage == "switched"
    assert pair.roles == ("slave", "master")


def test_a_rollback_takes_the_demotion_back(pair: Pair) -> None:
    pair.follow(500)
    demote(pair)
    done = rb.rollback(**pair.given)
    assert done.changed is True
    assert pair.roles == ("master", "slave")
    assert pair.ports == (pair.source.port, pair.target.port)
    assert ping_period(pair) == "10"
    eventually(
        lambda: pair.target.info("replication")["master_link_status"] == "up", "the target follows"
    )
    # And from there the upgrade can be done after all.
    assert rb.switchover(**pair.given).warm is True


def test_data_the_target_lacks_brings_the_source_back(pair: Pair) -> None:
    """The demoted one has writes that the target never got: nobody is promoted over them."""
    pair.follow(500)
    # The source takes no login from anybody, so the target can't come back for the rest.
    pair.target.call("CONFIG", "SET", "masterauth", "keeps it away")
    pair.source.call("CLIENT", "KILL", "TYPE", "replica")
    put(pair.source, 600)
    demote(pair, wait=False)
    with pytest.raises(rb.BatonError) as failure:
        rb.switchover(**pair.given)
    assert (failure.value.reason, failure.value.state) == ("lag_too_high", "undone")
    assert pair.roles == ("master", "slave")
    assert pair.source.current_port == pair.source.port
    assert pair.source.client().dbsize() == 600
    assert ping_period(pair) == "10"


def test_without_the_journal_a_half_done_handover_is_refused(pair: Pair) -> None:
    pair.follow(100)
    demote(pair, journal=False)
    with pytest.raises(rb.BatonError) as failure:
        rb.switchover(**pair.given)
    assert failure.value.reason in ("unreachable", "half_done")
    assert pair.roles == ("slave", "slave")


def test_a_pair_given_the_wrong_way_round_is_told_of(pair: Pair) -> None:
    pair.follow(100)
    done = rb.switchover(**Pair(pair.target, pair.source, pair.journal_dir).given)
    assert not done.changed
    assert "given the wrong way round" in " ".join(done.warnings)
    assert pair.roles == ("master", "slave")
    assert rb.switchover(**pair.given).changed
    assert not rb.switchover(**pair.given).warnings


def test_a_rollback_with_nothing_to_go_back_from_says_nothing_of_that(pair: Pair) -> None:
    pair.follow(100)
    done = rb.rollback(**pair.given)
    assert not done.changed
    assert not done.warnings


def test_a_crash_right_after_the_promotion_needs_no_more_than_a_rerun(pair: Pair) -> None:
    pair.follow(100)
    demote(pair)
    with pair.target.client() as client, client.pipeline(transaction=True) as transaction:
        transaction.execute_command("REPLICAOF", "NO", "ONE")
        transaction.execute_command("CONFIG", "SET", "port", pair.source.port)
        transaction.execute()
    done = rb.switchover(**pair.given)
    assert done.serving == f"127.0.0.1:{pair.source.port}"
    assert ping_period(pair) == "10"
    eventually(
        lambda: pair.source.info("replication")["master_link_status"] == "up", "the old one follows"
    )
    assert pair.target.info("stats")["sync_full"] == 0


def test_a_target_that_dies_between_the_transactions_is_not_guessed_about(pair: Pair) -> None:
    pair.follow(100)
    demote(pair)
    pair.target.kill()
    with pytest.raises(Failed) as failure:
        rb.switchover(**pair.given)
    assert (failure.value.reason, failure.value.state) == ("half_done", "interrupted")
    assert pair.source.role == "slave"


def test_a_rollback_brings_the_source_back_when_the_target_died(pair: Pair) -> None:
    pair.follow(100)
    demote(pair)
    pair.target.kill()
    done = rb.rollback(**pair.given)
    assert done.serving == f"127.0.0.1:{pair.source.port}"
    assert "was promoted and served" in done.warnings[0]
    assert (pair.source.role, pair.source.current_port) == ("master", pair.source.port)
    assert pair.source.client().dbsize() == 100
    assert ping_period(pair) == "10"


def test_a_target_restarted_in_the_middle_never_serves_its_old_data(pair: Pair) -> None:
    """It comes back empty, and as a master: whom would follow it would be emptied too."""
    pair.follow(100)
    demote(pair)
    pair.target.kill()
    pair.target.start()
    with pytest.raises(rb.Refused) as failure:
        rb.switchover(**pair.given)
    assert (failure.value.reason, failure.value.state) == ("history_lost", "interrupted")
    rb.rollback(**pair.given)
    assert (pair.source.role, pair.source.current_port) == ("master", pair.source.port)
    assert pair.source.client().dbsize() == 100
    assert rb.upgrade(**pair.given, quiet_for=0.1).stage == "switched"


def test_a_promoted_target_that_has_not_taken_the_port_is_finished_by_a_rerun(pair: Pair) -> None:
    pair.follow(100)
    demote(pair)
    pair.target.call("REPLICAOF", "NO", "ONE")
    for step in (rb.retire, rb.rollback):
        with pytest.raises(rb.BatonError) as failure:
            step(**pair.given)
        assert "public port" in str(failure.value)
    done = rb.switchover(**pair.given)
    assert (done.changed, pair.target.current_port) == (True, pair.source.port)
    eventually(
        lambda: pair.source.info("replication")["master_link_status"] == "up", "the old one follows"
    )
    assert rb.rollback(**pair.given).changed is True


def test_a_finished_upgrade_is_known_after_both_were_restarted(pair: Pair) -> None:
    """The run ids are gone then; the configuration files tell who is who."""
    pair.switch(100)
    pair.source.kill()
    pair.target.kill()
    pair.target.start()
    assert pair.target.current_port == pair.source.port
    again = rb.upgrade(**pair.given, until="retire")
    assert again.stage == "retired"
    # What was raised is known to be its, and restored now.
    assert pair.target.call("CONFIG", "GET", "repl-backlog-size") == {
        "repl-backlog-size": "1048576"
    }
    assert not rb.upgrade(**pair.given, until="retire").changed


def test_two_controllers_exclude_each_other(pair: Pair) -> None:
    pair.follow(100)
    for server in (pair.source, pair.target):
        with server.client() as other:
            other.client_setname("redis-baton:another")
            with pytest.raises(rb.Refused) as failure:
                rb.switchover(**pair.given)
            assert failure.value.reason == "locked"
            assert "break_lock" in str(failure.value)
            assert pair.roles == ("master", "slave")
            assert not rb.preflight(**pair.given).changed  # looking is free
    assert rb.switchover(**pair.given).changed is True


def test_the_lock_of_a_controller_that_hangs_is_broken_on_demand(pair: Pair) -> None:
    pair.follow(100)
    with pair.source.client() as other:
        other.client_setname("redis-baton:another")
        held = other.client_id()
        done = rb.switchover(**pair.given, break_lock=True)
        assert done.changed
        assert any("was broken" in warning for warning in done.warnings)
        assert other.client_id() != held


def test_a_source_that_dies_between_the_transactions_is_not_guessed_about(pair: Pair) -> None:
    pair.follow(100)
    demote(pair)
    pair.source.kill()
    with pytest.raises(Failed) as failure:
        rb.switchover(**pair.given)
    assert (failure.value.reason, failure.value.state) == ("half_done", "interrupted")
    assert pair.target.role == "slave"
    assert rb.promote(**pair.given, force=True).promoted is True
    assert pair.target.role == "master"


def test_a_target_that_comes_back_with_an_older_file_never_serves(pair: Pair) -> None:
    """Its file even names the source's history: the offset tells that it lacks what came later."""
    pair.follow(100)
    pair.target.call("SAVE")
    put(pair.source, 600)
    demote(pair)
    pair.target.kill()
    pair.target.start()
    assert pair.target.client().dbsize() == 100
    with pytest.raises(rb.Refused) as failure:
        rb.switchover(**pair.given)
    assert failure.value.reason == "history_lost"
    rb.rollback(**pair.given)
    assert (pair.source.role, pair.source.client().dbsize()) == ("master", 600)


def test_a_rollback_that_lost_the_source_gives_the_service_back_to_the_target(pair: Pair) -> None:
    pair.switch(300)
    with pytest.raises(rb.BatonError) as failure:
        kill_between(pair)
    assert (failure.value.reason, failure.value.state) == ("half_done", "interrupted")
    assert "run switchover" in failure.value.remedy
    rb.switchover(**pair.given)
    assert (pair.target.role, pair.target.current_port) == ("master", pair.source.port)
    assert pair.target.client().dbsize() == 300


def kill_between(pair: Pair) -> None:
    """Do a rollback's demotion, let the source die, and run the rollback again."""
    source, target = pair.source, pair.target
    aside = source.current_port
    note_handover(
        pair, back=True, home=source.port, public=source.port, aside=target.port, before=aside
    )
    with target.client() as client, client.pipeline(transaction=True) as transaction:
        transaction.execute_command("CONFIG", "SET", "port", target.port)
        transaction.execute_command("REPLICAOF", "127.0.0.1", source.port)
        transaction.execute()
    source.kill()
    rb.rollback(**pair.given)


def test_without_a_takeover_a_dead_target_gives_the_service_back(pair: Pair) -> None:
    pair.follow(100)
    source, target = pair.source, pair.target
    note_handover(
        pair,
        back=False,
        home=source.port,
        public=target.port,
        aside=source.port,
        before=target.port,
    )
    source.call("REPLICAOF", "127.0.0.1", target.port)
    target.kill()
    done = rb.rollback(**pair.given)
    assert done.serving == f"127.0.0.1:{source.port}"
    assert (source.role, source.client().dbsize()) == ("master", 100)


def test_a_rollback_that_can_not_have_the_port_can_be_run_again(pair: Pair) -> None:
    pair.follow(100)
    demote(pair)
    pair.target.kill()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", pair.source.port))
        other.listen()
        with pytest.raises(rb.BatonError) as failure:
            rb.rollback(**pair.given)
        assert failure.value.state != "undone"
        assert pair.source.role == "slave"
    rb.rollback(**pair.given)
    assert (pair.source.role, pair.source.current_port) == ("master", pair.source.port)
