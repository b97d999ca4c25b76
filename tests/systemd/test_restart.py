"""Debian's redis-server is restarted under load; the host is booted again in the middle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis

from tests.support.load import Load
from tests.support.servers import eventually
from tests.support.systemd_host import kill
from tests.systemd.conftest import CONFIG, KEYS, UNIT

if TYPE_CHECKING:
    from tests.systemd.conftest import Service

pytestmark = pytest.mark.timeout(500)


@pytest.mark.long
def test_the_package_is_upgraded_under_load(service: Service) -> None:
    older, newer = service.versions
    assert service.installed == older
    before = service.pid()
    with Load(port=service.public, rate=5000) as load:
        played = service.restart(service.install(newer))
        report = load.stop(verify_port=service.public)
    assert played.status == 0, played.output
    assert report.lost == 0, report
    assert report.wrong == 0, report
    assert report.errors == {}, report
    assert report.disconnects_max <= 2, report
    assert (service.installed, service.pid() == before) == (newer, False)
    service.assert_restarted()


def databases(number: int) -> dict[str, object]:
    """Return the task that writes a parameter which takes a restart."""
    line = {"path": CONFIG, "regexp": "^databases ", "line": f"databases {number}"}
    return {"name": "Want more databases", "ansible.builtin.lineinfile": line}


def has_databases(service: Service, number: int) -> bool:
    with service.at(service.public) as client:
        return bool(client.config_get("databases") == {"databases": str(number)})


def test_the_role_restarts_the_unit(service: Service) -> None:
    checked = service.restart(databases(32), options=["--check"])
    assert checked.status == 0, checked.output
    before = service.pid()
    with Load(port=service.public, rate=5000) as load:
        played = service.restart(databases(32))
        report = load.stop(verify_port=service.public)
    assert played.status == 0, played.output
    assert report.lost == 0, report
    assert report.wrong == 0, report
    assert report.disconnects_max <= 2, report
    assert service.pid() != before
    assert has_databases(service, 32)
    service.assert_restarted()


@pytest.mark.long
def test_a_package_that_restarts_the_service_with_its_own_file(service: Service) -> None:
    """It comes back aside, though its new file says something else."""
    newer = service.versions[1]
    fresh = service.install(newer)
    fresh["ansible.builtin.shell"] = (
        f"rm {CONFIG} && {fresh['ansible.builtin.shell']} -o Dpkg::Options::=--force-confmiss"
    )
    aside = {
        "name": "See that it came back aside",
        "ansible.builtin.command": f"redis-cli -p {service.aside} info replication",
        "register": "aside",
        "until": "'role:slave' in aside.stdout",
        "retries": 20,
        "delay": 0.2,
    }
    theirs = {"name": "See its file", "ansible.builtin.command": f"grep -n port {CONFIG}"}
    stop = {"name": "Stop here", "ansible.builtin.fail": {}}
    with Load(port=service.public, rate=2000) as load:
        played = service.restart(fresh, aside, theirs, stop)
        assert "Stop here" in played.output, played.output
        assert service.installed == newer
        assert service.who(service.aside) == (CONFIG, "slave")
        # Also where somebody writes the old port back, and where it is started by hand.
        service.host.run("sed", "-i", f"s/^port .*/port {service.public}/; /^replicaof/d", CONFIG)
        service.host.run("systemctl", "restart", UNIT)
        assert service.who(service.aside) == (CONFIG, "slave")
        played = service.restart()
        report = load.stop(verify_port=service.public)
    assert played.status == 0, played.output
    assert report.lost == 0, report
    assert report.wrong == 0, report
    service.assert_restarted()


@pytest.mark.long
def test_the_host_is_booted_again_while_the_stand_in_serves(service: Service) -> None:
    played = service.restart({"name": "Stop here", "ansible.builtin.fail": {}})
    assert "Stop here" in played.output, played.output
    stand_in, _ = service.who(service.public)
    assert stand_in.startswith(service.directory)
    # As a package would, or a template: without the unit's help both would want the port.
    service.host.run("sed", "-i", f"s/^port .*/port {service.public}/; /^replicaof/d", CONFIG)
    with service.at(service.public) as client:
        client.set("since", "the handover")
    service.host.reboot()
    eventually(lambda: answers(service, service.public), "the stand-in is back")
    eventually(lambda: answers(service, service.aside), "the service is back")
    assert service.who(service.public) == (stand_in, "master")
    assert service.who(service.aside) == (CONFIG, "slave")

    played = service.restart(databases(32))
    assert played.status == 0, played.output
    assert has_databases(service, 32)
    with service.at(service.public) as client:
        assert (client.get("since"), client.dbsize()) == ("the handover", KEYS + 1)
    service.assert_restarted()


@pytest.mark.long
def test_the_host_is_booted_again_in_the_second_sync(service: Service) -> None:
    # It comes back with nothing, so all is sent again, and each key takes its time.
    slow = {
        "name": "Slow it down",
        "ansible.builtin.shell": f"redis-cli -p {service.aside} config set save '' && "
        f"redis-cli -p {service.public} config set rdb-key-save-delay 5000",
    }
    process = service.begin(slow, databases(32))
    try:
        eventually(lambda: syncs(service), "the second sync has begun", within=200)
    finally:
        kill(process)
    service.host.reboot()
    eventually(lambda: answers(service, service.public), "the stand-in is back")
    assert service.who(service.public)[0].startswith(service.directory)
    assert service.who(service.public)[1] == "master"
    played = service.restart(databases(32))
    assert played.status == 0, played.output
    with service.at(service.public) as client:
        assert client.dbsize() == KEYS
    service.assert_restarted()


@pytest.mark.long
def test_the_host_is_booted_again_when_the_service_serves(service: Service) -> None:
    process = service.begin(databases(32), restart_quiet_for=8)
    try:
        eventually(lambda: is_back(service), "the service serves", within=200)
    finally:
        kill(process)
    with service.at(service.public) as client:
        client.set("since", "the handover")
    service.host.reboot()
    eventually(lambda: answers(service, service.public), "the service is back")
    assert service.who(service.public) == (CONFIG, "master")
    played = service.restart()
    assert played.status == 0, played.output
    with service.at(service.public) as client:
        assert (client.get("since"), client.dbsize()) == ("the handover", KEYS + 1)
    service.assert_restarted()


def answers(service: Service, port: int) -> bool:
    try:
        with service.at(port) as client:
            return not client.info("persistence")["loading"]
    except redis.RedisError:
        return False


def syncs(service: Service) -> bool:
    """Return whether the service is aside and receives its data."""
    try:
        with service.at(service.aside) as client:
            return bool(client.info("replication")["master_sync_in_progress"])
    except redis.RedisError:
        return False


def is_back(service: Service) -> bool:
    """Return whether the service serves again, with the stand-in aside."""
    try:
        there = service.who(service.stand_in)[0].startswith(service.directory)
        return there and service.who(service.public) == (CONFIG, "master")
    except redis.RedisError:
        return False
