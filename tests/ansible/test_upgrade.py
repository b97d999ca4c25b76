"""The playbook baton.redis.upgrade, which runs the role, under load and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.ansible.runner import connection
from tests.support.load import Load
from tests.support.servers import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.ansible.runner import Ansible, Outcome
    from tests.conftest import ServerFactory

PLAYBOOK = "baton.redis.upgrade"


def assert_nothing_changed(outcome: Outcome) -> None:
    assert outcome.status == 0, outcome.output
    assert outcome.changed == []


def test_the_playbook_upgrades_under_load(
    ansible: Ansible, server: ServerFactory, journal_dir: Path
) -> None:
    source, target = server("redis-7.0"), server("redis-8.0")
    public = source.port
    handed_over = journal_dir.with_name("handed-over")
    variables = {
        f"upgrade_{name}": value for name, value in connection(source, target, journal_dir).items()
    } | {"upgrade_quiet_for": 0.2, "upgrade_hooks": {"after": ["touch", str(handed_over)]}}
    page = journal_dir.with_name("report.html")
    variables |= {"upgrade_probe": True, "upgrade_report": str(page)}
    with Load(port=public, rate=5000) as load:
        checked = ansible.playbook(PLAYBOOK, "--check", "--diff", variables=variables)
        assert checked.status == 0, checked.output
        said = checked["Say what would be done"].result["msg"]
        assert any(line.startswith("switchover: ") for line in said["plan"]), said
        assert {found["level"] for found in said["findings"]} <= {"warning"}, said
        assert (source.role, target.role) == ("master", "master")
        assert target.call("DBSIZE") == 0
        assert not handed_over.exists()

        done = ansible.playbook(PLAYBOOK, variables=variables)
        assert done.status == 0, done.output
        switched = done["Make the target the master"].result
        assert handed_over.exists()
        assert f":{public} serves" in done["Say where things stand"].result["msg"]

        assert_nothing_changed(ansible.playbook(PLAYBOOK, variables=variables))
        assert_nothing_changed(ansible.playbook(PLAYBOOK, "--check", variables=variables))
        report = load.stop(verify_port=public)
    assert report.lost == 0, report
    assert report.wrong == 0, report
    assert report.disconnects_max <= 1, report
    assert switched["write_gap_ms"] < 1000
    assert switched["probe"]["lost"] == 0
    assert switched["probe"]["longest_gap_ms"] > switched["write_gap_ms"] / 2
    assert (target.role, target.current_port) == ("master", public)
    assert source.role == "slave"

    # To the end, then again with the old server gone.
    until_retire = variables | {"upgrade_until": "retire"}
    assert ansible.playbook(PLAYBOOK, variables=until_retire).changed == ["Shut the source down"]
    eventually(lambda: not source.alive, "the source has ended")
    assert_nothing_changed(ansible.playbook(PLAYBOOK, variables=until_retire))
    assert_nothing_changed(ansible.playbook(PLAYBOOK, "--check", variables=variables))
    assert 'data-outcome="retired"' in page.read_text()


def test_the_playbook_stops_where_it_is_told(
    ansible: Ansible, server: ServerFactory, journal_dir: Path
) -> None:
    source, target = server("redis-7.0"), server("redis-8.0")
    variables = {
        f"upgrade_{name}": value for name, value in connection(source, target, journal_dir).items()
    } | {"upgrade_until": "verify"}
    outcome = ansible.playbook(PLAYBOOK, variables=variables)
    assert outcome.changed == [
        "Make the target replicate from the source",
        "Wait until the target is in sync",
    ], outcome.output
    assert (source.role, target.role) == ("master", "slave")
    assert_nothing_changed(ansible.playbook(PLAYBOOK, variables=variables))


def test_a_pair_that_cannot_work_is_refused(
    ansible: Ansible, server: ServerFactory, journal_dir: Path
) -> None:
    source, target = server("redis-8.0"), server("redis-7.0")
    variables = {
        f"upgrade_{name}": value for name, value in connection(source, target, journal_dir).items()
    }
    outcome = ansible.playbook(PLAYBOOK, variables=variables)
    assert outcome.status != 0
    refusal = outcome["Check that nothing stands in the way"].result
    assert (refusal["reason"], refusal["state"]) == ("rdb_too_new", "unchanged")
    assert (source.role, target.role) == ("master", "master")

    outcome = ansible.playbook(PLAYBOOK, variables=variables | {"upgrade_source_port": "redis"})
    assert outcome.status != 0
    assert "upgrade_source_port" in outcome.output
