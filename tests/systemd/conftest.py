"""A host with Debian's redis-server as a service, on ports of its own."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import redis

from tests.ansible.runner import COLLECTIONS, TOOLS
from tests.support.ports import release_block, reserve_block
from tests.support.systemd_host import HostError, SystemdHost, kill, why_not

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

UNIT = "redis-server.service"
CONFIG = "/etc/redis/redis.conf"
KEYS = 2000
# A quiet machine takes 20 seconds.
RUN_TIME = 200
# The host's own folder; what is in it goes with the host.
PLAY = "/root/restart"

Task = dict[str, Any]


@dataclass
class Played:
    """How a run of the playbook ended."""

    status: int
    output: str


@dataclass
class Service:
    """Debian's redis-server on a host, and how to run the role for it."""

    host: SystemdHost
    versions: tuple[str, str]
    public: int
    stand_in: int = field(init=False)
    aside: int = field(init=False)

    def __post_init__(self) -> None:
        self.stand_in, self.aside = self.public + 1, self.public + 2

    @property
    def directory(self) -> str:
        """Where the stand-in has its files."""
        return f"/var/lib/redis-baton/{self.public}"

    @property
    def stand_in_unit(self) -> str:
        """The unit that runs the stand-in."""
        return f"redis-baton@{self.public}.service"

    @property
    def installed(self) -> str:
        """The version of the package."""
        return self.host.run("dpkg-query", "-W", "-f=${Version}", "redis-server").stdout

    def install(self, version: str) -> Task:
        """Return the task that installs a version of the package."""
        packages = " ".join(f"{name}={version}" for name in ("redis-server", "redis-tools"))
        return {
            "name": "Install another version",
            "ansible.builtin.shell": f"apt-get install -y --allow-downgrades {packages}",
            "environment": {"DEBIAN_FRONTEND": "noninteractive"},
        }

    def at(self, port: int) -> redis.Redis:
        """Return a client of whoever listens there."""
        return redis.Redis(port=port, decode_responses=True, socket_timeout=10)

    def who(self, port: int) -> tuple[str, str]:
        """Return the configuration file and the role of whoever listens there."""
        with self.at(port) as client:
            config_file = client.info("server")["config_file"]
            return str(config_file), str(client.info("replication")["role"])

    def pid(self) -> int:
        """Return the process of the service."""
        return int(self.host.service(UNIT)["MainPID"])

    def begin(
        self, *tasks: Task, options: Sequence[str] = (), **variables: object
    ) -> subprocess.Popen[str]:
        """Start the playbook on the host with these tasks."""
        self.host.write(f"{PLAY}/tasks.yml", json.dumps(list(tasks)))
        self.host.write(f"{PLAY}/ansible.cfg", "")  # in place of the user's
        wishes = {
            "restart_unit": UNIT,
            "restart_login_port": self.public,
            "restart_stand_in_port": self.stand_in,
            "restart_aside_port": self.aside,
            "restart_tasks": f"{PLAY}/tasks.yml",
            "restart_quiet_for": 0.2,
            "restart_load_timeout": 20,
            "ansible_python_interpreter": sys.executable,
            **variables,
        }
        return self.host.start(
            str(TOOLS / "ansible-playbook"),
            "baton.redis.restart",
            "--extra-vars",
            json.dumps(wishes),
            *options,
            ANSIBLE_COLLECTIONS_PATH=str(COLLECTIONS),
            ANSIBLE_CONFIG=f"{PLAY}/ansible.cfg",
            ANSIBLE_HOME=f"{PLAY}/home",
            ANSIBLE_NOCOLOR="1",
            ANSIBLE_PIPELINING="1",
            HOME="/root",
            LC_ALL="C.UTF-8",
        )

    def restart(self, *tasks: Task, options: Sequence[str] = (), **variables: object) -> Played:
        """Run the playbook to its end."""
        process = self.begin(*tasks, options=options, **variables)
        try:
            output, _ = process.communicate(timeout=RUN_TIME)
        except BaseException as error:
            output = kill(process)
            raise HostError(f"{error!r}: {output}") from error
        return Played(process.returncode, output)

    def assert_restarted(self) -> None:
        """See that the service serves as before, and that nothing is left of the stand-in."""
        assert self.who(self.public) == (CONFIG, "master")
        saved = self.host.read(CONFIG)
        assert f"\nport {self.public}\n" in saved
        for trace in ("\nreplicaof", "redis-baton", str(self.aside)):
            assert trace not in saved
        places = ("/etc/systemd/system", "/var/lib/redis-baton")
        left = self.host.run("find", *places, "-name", "redis-baton*", "-o", "-name", "[0-9]*")
        # The folder of all stand-ins stays.
        assert left.stdout.split() == ["/var/lib/redis-baton"], left.stdout
        assert self.host.service(UNIT)["ActiveState"] == "active"
        assert self.host.service(self.stand_in_unit)["MainPID"] == "0"


@pytest.fixture(scope="session")
def debian() -> Iterator[tuple[SystemdHost, tuple[str, str]]]:
    """Boot a host; return it with two versions of redis-server from apt, the older one first."""
    why = why_not()
    if why:
        pytest.skip(why)
    if not (TOOLS / "ansible-playbook").exists():
        pytest.skip("there is no Ansible for this Python (it needs 3.11 or newer)")
    versions = _versions()
    if len(versions) < 2:
        pytest.skip(f"apt offers no two versions of redis-server here: {versions}")
    try:
        host = SystemdHost().__enter__()
    except HostError as error:
        pytest.skip(f"no host with systemd can be booted here: {error}")
    try:
        # The machine's may forbid it to start anything.
        host.run("rm", "-f", "/usr/sbin/policy-rc.d")
        yield host, (versions[1], versions[0])
    finally:
        host.close()


@pytest.fixture
def service(debian: tuple[SystemdHost, tuple[str, str]]) -> Iterator[Service]:
    """Install the older version as it comes, but for its port, and give it data."""
    host, versions = debian
    block = reserve_block()
    service = Service(host, versions, block)
    packages = [f"{name}={versions[0]}" for name in ("redis-server", "redis-tools")]
    try:
        host.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n")
        host.run("chmod", "755", "/usr/sbin/policy-rc.d")
        host.run("apt-get", "install", "-y", "--allow-downgrades", *packages)
        host.run("rm", "/usr/sbin/policy-rc.d")
        host.run("sed", "-i", f"s/^port .*/port {block}/", CONFIG)
        host.run("systemctl", "enable", "--now", UNIT)
        _wait_for(service)
        with service.at(block) as client:
            client.mset({f"key:{n}": f"value {n}" for n in range(KEYS)})
        yield service
    finally:
        purge = f"""
            systemctl stop {UNIT} {shlex.quote(service.stand_in_unit)}
            apt-get purge -y redis-server redis-tools
            rm -rf /etc/redis /var/lib/redis /var/lib/redis-baton {PLAY}
            rm -rf /etc/systemd/system/redis-*
            systemctl daemon-reload
            systemctl reset-failed
            true
        """
        host.run("sh", "-c", purge, check=False)
        release_block(block)


def _versions() -> list[str]:
    """Return the versions of redis-server that apt offers, the newest first."""
    said = subprocess.run(
        ["apt-cache", "madison", "redis-server"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    ).stdout
    return list(dict.fromkeys(line.split("|")[1].strip() for line in said.splitlines()))


def _wait_for(service: Service) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            with service.at(service.public) as client:
                client.ping()
                return
        except redis.ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
