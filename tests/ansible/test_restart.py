"""The role baton.redis.restart with plain processes: under load, and stopped at each point."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from tests.support.load import Load
from tests.support.ports import release_block, reserve_block
from tests.support.servers import eventually, find
from tests.support.service import Service, end_stand_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.ansible.runner import Ansible, Outcome, Running
    from tests.support.service import Task

# On a quiet machine each takes half a minute or less.
pytestmark = pytest.mark.timeout(300)

PLAYBOOK = "baton.redis.restart"
KEYS = 2000


@dataclass
class Place:
    """A service, and what the role is told of it."""

    service: Service
    ansible: Ansible
    folder: Path
    block: int

    @property
    def directory(self) -> Path:
        """Where the stand-in has its files."""
        return self.folder / "stand-in"

    @property
    def aside(self) -> int:
        """The port of the service while the stand-in serves."""
        return self.block + 1

    @property
    def databases(self) -> int:
        """Of the service as it runs now."""
        (value,) = self.service.call("CONFIG", "GET", "databases").values()
        return int(value)

    def restart(self, *tasks: Task, options: Sequence[str] = (), **variables: object) -> Outcome:
        """Run the playbook with these tasks."""
        return self.begin(*tasks, options=options, **variables).finish()

    def begin(self, *tasks: Task, options: Sequence[str] = (), **variables: object) -> Running:
        """Start the playbook with these tasks."""
        return self.ansible.begin(
            PLAYBOOK,
            *options,
            variables={
                **self.service.in_place(self.folder, self.block, tasks),
                "restart_quiet_for": 0.2,
                "restart_load_timeout": 10,
                **variables,
            },
        )

    @property
    def serving(self) -> int:
        """The process that listens at the service's port."""
        with redis.Redis(port=self.service.port, decode_responses=True) as client:
            return int(client.info("server")["process_id"])

    def assert_aside(self) -> None:
        """See that the stand-in serves."""
        pid = int((self.directory / "server" / "server.pid").read_text())
        assert self.serving == pid

    def assert_restarted(self) -> None:
        """See that the service serves as before, and that nothing is left of the stand-in."""
        service = self.service
        assert (service.role, service.current_port) == ("master", service.port)
        assert not self.directory.exists()
        assert service.config_file
        saved = service.config_file.read_text()
        assert f"port {service.port}\n" in saved
        for trace in ("replicaof", "redis-baton", str(self.aside)):
            assert trace not in saved, saved


@pytest.fixture
def place(ansible: Ansible, tmp_path: Path) -> Iterator[Place]:
    """Return a service with data."""
    binary = find("redis-7.0")
    if binary is None:
        pytest.skip("redis-7.0 is not on this machine")
    block = reserve_block()
    service = Service(binary, tmp_path / "service", databases=16, save="3600 1")
    place = Place(service, ansible, tmp_path, block)
    try:
        with service.start().client() as client:
            client.mset({f"key:{n}": f"value {n}" for n in range(KEYS)})
        yield place
    finally:
        end_stand_in(tmp_path)
        service.close()
        release_block(block)


def test_an_immutable_parameter_is_changed_under_load(place: Place) -> None:
    service = place.service
    before = service.pid
    with Load(port=service.port, rate=5000) as load:
        outcome = place.restart(place.service.wants("databases", 32), place.service.restarts)
        report = load.stop(verify_port=service.port)
    assert outcome.status == 0, outcome.output
    assert report.lost == 0, report
    assert report.wrong == 0, report
    assert report.errors == {}, report
    assert report.disconnects_max <= 2, report
    assert (place.databases, service.pid == before) == (32, False)
    assert service.call("DBSIZE") > KEYS
    place.assert_restarted()


def test_check_mode_changes_nothing(place: Place) -> None:
    service = place.service
    before = service.pid
    assert service.config_file
    saved = service.config_file.read_text()
    outcome = place.restart(place.service.restarts, options=["--check", "--diff"])
    assert outcome.status == 0, outcome.output
    assert outcome["Launch the stand-in"].result["actions"]
    assert "would be begun" in outcome["Say what a restart would begin with"].result["msg"]
    assert (service.pid, service.role) == (before, "master")
    assert service.config_file.read_text() == saved
    assert not place.directory.exists()


def test_one_that_is_not_wanted_is_not_begun(place: Place) -> None:
    before = place.service.pid
    outcome = place.restart(place.service.restarts, restart_wanted=False)
    assert (outcome.status, outcome.changed) == (0, []), outcome.output
    assert place.service.pid == before


def test_whatever_goes_wrong_aside_a_rerun_finishes_it(place: Place) -> None:
    service = place.service
    with Load(port=service.port, rate=2000) as load:
        failed = place.restart(
            {"name": "Break", "ansible.builtin.fail": {}}, place.service.restarts
        )
        assert failed["Break"].status == "failed", failed.output
        place.assert_aside()
        assert service.role == "slave"

        # It takes no new value, and does not come up.
        failed = place.restart(
            place.service.wants("databases", "none"), place.service.restarts, restart_load_timeout=1
        )
        (up,) = [task for task in failed.of("wait_ready") if task.status == "failed"]
        assert up.result["reason"] == "unreachable", failed.output
        place.assert_aside()
        assert not service.alive

        # It would come up where the stand-in serves, as from a file of a package.
        failed = place.restart(
            place.service.wants("databases", 32),
            place.service.wants("port", service.port),
            place.service.wants("replicaof", "no one"),
            place.service.restarts,
            restart_load_timeout=1,
        )
        assert failed.status != 0
        place.assert_aside()
        assert not service.alive
        assert "Address already in use" in service.log_tail()

        # One that was begun is finished, wanted or not.
        done = place.restart(
            place.service.wants("port", place.aside), place.service.restarts, restart_wanted=False
        )
        assert done.status == 0, done.output
        report = load.stop(verify_port=service.port)
    assert report.lost == 0, report
    assert report.wrong == 0, report
    assert report.errors == {}, report
    assert report.disconnects_max <= 2, report
    assert place.databases == 32
    place.assert_restarted()


def test_tasks_that_restart_nothing_are_found_out(place: Place) -> None:
    failed = place.restart(place.service.wants("databases", 32), restart_load_timeout=0.2)
    (same,) = [task for task in failed.of("wait_ready") if task.status == "failed"]
    assert same.result["reason"] == "not_restarted", failed.output
    place.assert_aside()
    assert place.restart(place.service.restarts).status == 0
    assert place.databases == 32
    place.assert_restarted()


@pytest.mark.long
def test_it_is_killed_in_the_second_sync(place: Place) -> None:
    service = place.service
    # It comes back with nothing, so all is sent again, and each key takes its time.
    service.call("CONFIG", "SET", "save", "")
    service.call("CONFIG", "REWRITE")
    slow: Task = {
        "name": "Slow it down",
        "ansible.builtin.command": f"{service.binary.cli} -p {service.port} "
        "config set rdb-key-save-delay 1500",
    }
    with Load(port=service.port, rate=2000) as load:
        running = place.begin(slow, place.service.restarts)
        try:
            eventually(lambda: syncs(place), "the second sync has begun", within=150)
        finally:
            running.kill()
        place.assert_aside()
        with redis.Redis(port=service.port) as stand_in:
            stand_in.config_set("rdb-key-save-delay", 0)
        # A server that is sent its data slowly does not answer meanwhile.
        done = place.restart(service.restarts, restart_load_timeout=60)
        report = load.stop(verify_port=service.port)
    assert done.status == 0, done.output
    # The tasks have had their turn.
    assert not [task for task in done if task.name == "Restart it"]
    assert report.lost == 0, report
    assert report.disconnects_max <= 2, report
    place.assert_restarted()


def syncs(place: Place) -> bool:
    """Return whether the service is aside and receives its data."""
    try:
        aside = place.service.current_port == place.aside
        return aside and bool(place.service.info("replication")["master_sync_in_progress"])
    except redis.RedisError:  # it is being restarted
        return False


def test_one_that_can_not_be_is_refused_and_leaves_nothing(place: Place) -> None:
    service = place.service
    before = service.pid
    with socket.create_server(("127.0.0.1", place.aside)):
        outcome = place.restart(place.service.restarts)
    assert outcome.status != 0
    assert "taken" in outcome["Stop where something does"].result["msg"]
    assert (service.pid, service.role, service.current_port) == (before, "master", service.port)
    assert service.info("replication")["connected_slaves"] == 0
    assert not place.directory.exists()


@pytest.mark.long
def test_it_can_be_done_again_and_again(place: Place) -> None:
    service = place.service
    for databases in (32, 64):
        outcome = place.restart(place.service.wants("databases", databases), place.service.restarts)
        assert outcome.status == 0, outcome.output
        assert place.databases == databases
        place.assert_restarted()
    assert service.call("DBSIZE") == KEYS


def test_the_login_for_replication_comes_back(place: Place) -> None:
    service = place.service
    for command in (
        "ACL SETUSER replication on >hunter2 +psync +replconf +ping",
        "CONFIG SET masteruser replication",
        "CONFIG SET masterauth hunter2",
        "CONFIG REWRITE",
    ):
        service.call(*command.split())
    refused = place.restart(service.restarts)
    assert "restart_replication_password" in refused.output
    assert service.role == "master"
    login = {"restart_replication_user": "replication", "restart_replication_password": "hunter2"}
    outcome = place.restart(service.restarts, **login)
    assert outcome.status == 0, outcome.output
    assert "hunter2" not in outcome.output
    place.assert_restarted()
    assert service.config_file
    saved = service.config_file.read_text()
    assert "masteruser replication\n" in saved or 'masteruser "replication"\n' in saved
    assert "hunter2" in saved
