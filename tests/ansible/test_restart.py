"""The role baton.redis.restart with plain processes: under load, stopped at each point, and run again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.load import Load
from tests.support.ports import release_block, reserve_block
from tests.support.servers import find
from tests.support.service import Service, end

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.ansible.runner import Ansible, Outcome

PLAYBOOK = "baton.redis.restart"
KEYS = 2000

Task = dict[str, Any]


@dataclass
class Place:
    """A service, and what the role is told of it."""

    service: Service
    ansible: Ansible
    folder: Path
    ports: tuple[int, int]

    @property
    def directory(self) -> Path:
        """Where the stand-in has its files."""
        return self.folder / "stand-in"

    @property
    def databases(self) -> int:
        """Of the service as it runs now."""
        (value,) = self.service.call("CONFIG", "GET", "databases").values()
        return int(value)

    def restart(self, *tasks: Task, options: Sequence[str] = (), **variables: object) -> Outcome:
        """Run the playbook with these tasks; the last one restarts the service, if it is to."""
        file = self.folder / "tasks.yml"
        file.write_text(json.dumps(list(tasks)))
        return self.ansible.playbook(
            PLAYBOOK,
            *options,
            variables={
                "restart_login_port": self.service.port,
                "restart_stand_in_port": self.ports[0],
                "restart_aside_port": self.ports[1],
                "restart_directory": str(self.directory),
                "restart_program": str(self.service.binary.server),
                "restart_tasks": str(file),
                "restart_quiet_for": 0.2,
                "restart_load_timeout": 10,
                **variables,
            },
        )

    @property
    def restarts(self) -> Task:
        """The task that restarts the service."""
        return {"name": "Restart it", "ansible.builtin.command": str(self.service.restart)}

    @property
    def more_databases(self) -> Task:
        """The task that writes another value into the configuration file."""
        assert self.service.config_file
        return {
            "name": "Want more databases",
            "ansible.builtin.lineinfile": {
                "path": str(self.service.config_file),
                "regexp": "^databases ",
                "line": "databases 32",
            },
        }

    def assert_restarted(self) -> None:
        """See that the service serves as before, and that nothing is left of the stand-in."""
        service = self.service
        assert (service.role, service.current_port) == ("master", service.port)
        assert not self.directory.exists()
        assert service.config_file
        saved = service.config_file.read_text()
        assert f"port {service.port}\n" in saved
        for trace in ("replicaof", "redis-baton", str(self.ports[1])):
            assert trace not in saved, saved


@pytest.fixture
def place(ansible: Ansible, tmp_path: Path) -> Iterator[Place]:
    """Return a service with data."""
    binary = find("redis-7.0")
    if binary is None:
        pytest.skip("redis-7.0 is not on this machine")
    block = reserve_block()
    service = Service(binary, tmp_path / "service", databases=16, save="3600 1")
    place = Place(service, ansible, tmp_path, (block, block + 1))
    try:
        with service.start().client() as client:
            client.mset({f"key:{n}": f"value {n}" for n in range(KEYS)})
        yield place
    finally:
        stand_in = place.directory / "server" / "server.pid"
        if stand_in.exists():
            end(int(stand_in.read_text()))
        service.close()
        release_block(block)


def test_an_immutable_parameter_is_changed_under_load(place: Place) -> None:
    service = place.service
    before = service.pid
    with Load(port=service.port, rate=5000) as load:
        outcome = place.restart(place.more_databases, place.restarts)
        report = load.stop(verify_port=service.port)
    assert outcome.status == 0, outcome.output
    assert report.lost == 0, report
    assert report.wrong == 0, report
    assert report.errors == {}, report
    assert report.disconnects_max <= 2, report
    assert (place.databases, service.pid == before) == (32, False)
    assert service.call("DBSIZE") > KEYS
    place.assert_restarted()
