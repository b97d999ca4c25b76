"""A fleet, as in the collection's example: a pair fails, the rest waits, a rerun finishes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.ansible.runner import COLLECTION
from tests.ansible.test_modules import KEYS, fill

if TYPE_CHECKING:
    from pathlib import Path

    from tests.ansible.runner import Ansible, Outcome
    from tests.conftest import ServerFactory
    from tests.support.servers import Instance

yaml = pytest.importorskip("yaml")  # it comes with Ansible

FLEET = COLLECTION / "examples" / "fleet"
NAMES = list(yaml.safe_load((FLEET / "inventory.yml").read_text())["pairs"]["hosts"])
FAILING = NAMES[1]


class Pair(NamedTuple):
    """One host of the inventory."""

    source: Instance
    target: Instance

    @property
    def upgraded(self) -> bool:
        """Whether the target is the master and listens where clients come to."""
        return self.target.role == "master" and self.target.current_port == self.source.port


def variables(pair: Pair, journal_dir: Path) -> dict[str, object]:
    """Return what the inventory says about a pair, of these servers."""
    return {
        "upgrade_source_host": pair.source.host,
        "upgrade_source_port": pair.source.port,
        "upgrade_login_port": pair.target.port,
        "upgrade_journal_dir": str(journal_dir),
        "upgrade_quiet_for": 0.1,
    }


@pytest.mark.parametrize(
    ("count", "batches"),
    [
        pytest.param(3, [1, 1, 1], id="three"),
        pytest.param(8, [1, 2, 5], id="eight", marks=pytest.mark.long),
    ],
)
def test_a_failed_pair_stops_the_rest_and_a_rerun_finishes(
    ansible: Ansible,
    server: ServerFactory,
    journal_dir: Path,
    tmp_path: Path,
    count: int,
    batches: list[int],
) -> None:
    fleet = {name: Pair(server("redis-7.0"), server("redis-8.0")) for name in NAMES[:count]}
    for pair in fleet.values():
        fill(pair.source)

    def play(**of_the_failing: object) -> Outcome:
        hosts = {name: variables(pair, journal_dir) for name, pair in fleet.items()}
        hosts[FAILING] |= of_the_failing
        ours = tmp_path / "ours.json"
        ours.write_text(json.dumps({"pairs": {"hosts": hosts}}))  # JSON is YAML
        # The later inventory wins.
        inventories = [f"--inventory={file}" for file in (FLEET / "inventory.yml", ours)]
        limit = f"--limit={','.join(fleet)}"
        serial = {"fleet_serial": batches}
        return ansible.playbook(str(FLEET / "upgrade.yml"), *inventories, limit, variables=serial)

    # What is seen by looking stops all of them before anything is changed.
    outcome = play(upgrade_login_port=1)
    assert outcome.status != 0, outcome.output
    assert not outcome.of("replicate"), outcome.output
    assert not any(task.result.get("actions") for task in outcome)

    # This is seen when the login is used: the first batch is done by then.
    outcome = play(upgrade_replication_user="nobody", upgrade_replication_password="wrong")
    assert outcome.status != 0, outcome.output
    assert [name for name, pair in fleet.items() if pair.upgraded] == NAMES[:1], outcome.output
    for pair in list(fleet.values())[1:]:
        assert (pair.source.role, pair.source.current_port) == ("master", pair.source.port)
    later = NAMES[sum(batches[:2]) : count]
    assert later
    assert all(fleet[name].target.call("DBSIZE") == 0 for name in later), outcome.output

    outcome = play()
    assert outcome.status == 0, outcome.output
    assert [name for name, pair in fleet.items() if pair.upgraded] == NAMES[:count]
    assert [pair.target.call("DBSIZE") for pair in fleet.values()] == [KEYS] * count
    assert play().changed == []
