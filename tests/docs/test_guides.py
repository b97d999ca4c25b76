"""The examples of the guides in docs/ run as they stand there, on real servers."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis_baton

from tests.ansible.runner import COLLECTIONS, TOOLS, Ansible
from tests.docs.examples import COLLECTION, REPOSITORY, blocks, example
from tests.python.common import connected_to
from tests.support.haproxy import NAME, HAProxy, find_haproxy
from tests.support.sentinel import Sentinels
from tests.support.servers import eventually, find

RUN_TIME = 60.0

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ServerFactory
    from tests.support.servers import Instance


def at(text: str, server: Instance) -> str:
    """Return the text with the address of this server."""
    assert "redis.example" in text
    assert "6379" in text
    return text.replace("redis.example", server.host).replace("6379", str(server.port))


def run_python(text: str, given: dict[str, Any] | None = None) -> dict[str, Any]:
    names: dict[str, Any] = {"redis_baton": redis_baton, **(given or {})}
    exec(text, names)  # noqa: S102 # our own documents
    return names


def run_tasks(text: str, folder: Path) -> None:
    if not (TOOLS / "ansible-playbook").exists():
        pytest.skip("there is no Ansible for this Python (it needs 3.11 or newer)")
    import yaml  # type: ignore[import-untyped]  # noqa: PLC0415 # it comes with Ansible

    folder.mkdir()
    outcome = Ansible(folder).tasks(yaml.safe_load(text), defaults={})
    assert outcome.status == 0, outcome.output


@example(sets="docs/config.md python")
def test_config(sets: str, server: ServerFactory) -> None:
    one = server("redis-8.0")
    done = run_python(at(sets, one))["done"]
    # What the comments of the example say.
    assert (done.set, done.rewritten) == (["maxmemory", "save", "lazyfree-lazy-eviction"], True)
    assert [(left.parameter, left.present) for left in done.restart_required] == [
        ("databases", "16")
    ]
    assert one.call("CONFIG", "GET", "maxmemory") == {"maxmemory": str(2 << 30)}


@example(aof="docs/persistence.md python", both="docs/persistence.md yaml")
def test_persistence(aof: str, both: str, server: ServerFactory, tmp_path: Path) -> None:
    one = server("redis-8.0")
    run_python(at(aof, one))
    assert one.call("CONFIG", "GET", "appendonly") == {"appendonly": "yes"}
    run_tasks(at(both, one), tmp_path / "ansible")
    assert one.call("CONFIG", "GET", "save") == {"save": "3600 1 300 100"}


@example(
    script="docs/redirects/hooks.md sh",
    there="docs/redirects/hooks.md python",
    back="docs/redirects/hooks.md yaml",
)
def test_hooks(script: str, there: str, back: str, server: ServerFactory, tmp_path: Path) -> None:
    """The command leads clients to the target, and back."""
    source, target = server("redis-7.0"), server("redis-8.0")
    redis_baton.replicate(source=source.url, target=target.url)
    redis_baton.wait_synced(source=source.url, target=target.url)
    command, address = tmp_path / "lead-clients", tmp_path / "redis-address"
    command.write_text(script.replace("/etc/redis-address", str(address)))
    command.chmod(0o755)

    def here(text: str) -> str:
        text = text.replace("/usr/local/bin/lead-clients", str(command))
        text = text.replace("redis-new.example:6379", f"127.0.0.1:{target.port}")
        of_source, new, of_target = text.partition("login_host: redis-new.example")
        of_target = of_target.replace("6379", str(target.port))
        return at(of_source, source) + new.replace("redis-new.example", target.host) + of_target

    assert run_python(here(there))["done"].warm
    assert address.read_text() == f"127.0.0.1:{target.port}\n"
    run_tasks(here(back), tmp_path / "ansible")
    assert address.read_text() == f"127.0.0.1:{source.port}\n"
    assert source.role == "master"


@example(there="docs/redirects/haproxy.md python", back="docs/redirects/haproxy.md yaml")
def test_haproxy(there: str, back: str, server: ServerFactory, tmp_path: Path) -> None:
    """There by the first example, back by the second."""
    source, target, program = server("redis-7.0"), server("redis-8.0"), find_haproxy()
    if program is None:
        pytest.skip(f"{NAME} is not on this machine")
    servers = {"old": source.address, "new": target.address}
    with HAProxy(program, tmp_path / "proxy", servers, disabled=["new"]) as proxy:

        def here(text: str) -> str:
            text = text.replace("/run/haproxy/admin.sock", str(proxy.socket))
            return at(text.replace("6380", str(target.port)), source)

        run_python(here(there))
        assert proxy.serving == ["new"]
        run_tasks(here(back), tmp_path / "ansible")
        assert proxy.serving == ["old"]
        assert (source.role, target.role) == ("master", "slave")


@example(compares="docs/verify.md python", likewise="docs/verify.md yaml")
def test_verify(compares: str, likewise: str, server: ServerFactory, tmp_path: Path) -> None:
    source, target = server("redis-7.0"), server("redis-8.0")
    source.call("SET", "key", "value")
    journal = tmp_path / "journal"
    redis_baton.replicate(source=source.url, target=target.url, journal_dir=journal)
    redis_baton.wait_synced(source=source.url, target=target.url, journal_dir=journal)

    def here(text: str) -> str:
        assert "redis.example" in text
        text = text.replace("redis.example", source.host)
        return text.replace("6379", str(source.port)).replace("6380", str(target.port))

    done = run_python(here(compares))["done"]
    assert (done.equal, done.compared, done.differing) == (True, 1, 0)
    run_tasks(here(likewise), tmp_path / "ansible")


@example(tells="docs/report.md python", likewise="docs/report.md yaml")
def test_report(
    tells: str,
    likewise: str,
    server: ServerFactory,
    tmp_path: Path,
) -> None:
    source, target = server("redis-7.0"), server("redis-8.0")
    redis_baton.replicate(source=source.url, target=target.url)

    def here(text: str) -> str:
        text = text.replace("redis.example", source.host).replace("/var/tmp", str(tmp_path))  # noqa: S108
        return text.replace("6379", str(source.port)).replace("6380", str(target.port))

    assert run_python(here(tells))["told"].outcome == "following"
    assert {file.name for file in tmp_path.glob("upgrade.*")} == {
        "upgrade.html",
        "upgrade.json",
        "upgrade.prom",
    }
    run_tasks(here(likewise), tmp_path / "ansible")
    assert "following" in (tmp_path / "redis-upgrade.html").read_text()


@example(looks="docs/probe.md python", likewise="docs/probe.md yaml")
def test_probe(looks: str, likewise: str, server: ServerFactory, tmp_path: Path) -> None:
    """The first example upgrades, the second finds that done."""
    source, target = server("redis-7.0"), server("redis-8.0")

    def here(text: str) -> str:
        text = text.replace("redis.example", source.host)
        return text.replace("6379", str(source.port)).replace("6380", str(target.port))

    seen = run_python(here(looks))["done"].probe
    assert (seen.lost, seen.reconnects) == (0, 2)
    run_tasks(here(likewise), tmp_path / "ansible")


@example(launches="docs/launch.md console", removes="docs/launch.md yaml")
def test_launch(launches: str, removes: str, server: ServerFactory, tmp_path: Path) -> None:
    """The console example launches a target, the tasks at its end remove it."""
    source, program = server("redis-7.0"), find("valkey-9.1")
    if program is None:
        pytest.skip("valkey-9.1 is not on this machine")
    port, directory = source.port + 1, tmp_path / "valkey-new"

    def here(text: str) -> str:
        text = text.replace("/var/lib/valkey-new", str(directory))
        text = text.replace("/usr/bin/valkey-server", str(program.server))
        text = text.replace("redis-cli", str(program.cli))
        return text.replace("6379", str(source.port)).replace("6380", str(port))

    command = here(launches).removeprefix("$ ")
    if not (TOOLS / "ansible").exists():
        pytest.skip("there is no Ansible for this Python (it needs 3.11 or newer)")
    _, *arguments = shlex.split(command)
    done = subprocess.run(
        [TOOLS / "ansible", *arguments, "-e", f"ansible_python_interpreter={TOOLS / 'python'}"],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_TIME,
    )
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        assert (directory / "redis-baton.conf").exists() or list(directory.glob("*.conf"))
    finally:
        run_tasks(here(removes), tmp_path / "ansible")
    assert not directory.exists()
    eventually(lambda: not _listens(port), "the launched server has ended")


@example(there="docs/redirects/sentinel.md yaml", back="docs/redirects/sentinel.md python")
def test_sentinel(there: str, back: str, server: ServerFactory, tmp_path: Path) -> None:
    """The tasks upgrade, the Python example finds that done and goes back."""
    source, target = server("redis-7.0"), server("redis-8.0")
    with Sentinels([source.binary] * 3, tmp_path / "sentinels", source) as sentinels:

        def here(text: str) -> str:
            text = text.replace("10.0.0.1:26379", sentinels.all[0].address)
            text = text.replace("10.0.0.1", source.host).replace("6380", str(target.port))
            return text.replace("port: 6379", f"port: {source.port}")

        run_tasks(here(there), tmp_path / "ansible")
        assert sentinels.agree(target.address)
        done = run_python(here(back), {"SOURCE": source.url, "TARGET": target.url})
        assert not done["done"].changed
        assert sentinels.agree(source.address)


@example(
    inventory="docs/clients.md python",
    quiet="docs/clients.md python 1",
    disconnect="docs/clients.md yaml",
    monitor="docs/clients.md yaml 1",
)
def test_clients(
    inventory: str,
    quiet: str,
    disconnect: str,
    monitor: str,
    server: ServerFactory,
    tmp_path: Path,
) -> None:
    source, target = server("redis-7.0"), server("redis-8.0")

    def here(text: str) -> str:
        assert "6380" in text
        return at(text, source).replace("6380", str(target.port))

    with source.client() as app:
        app.client_setname("shop-1")
        names = run_python(here(inventory))
    assert [one.follows for one in names["clients"].source if one.name] == ["reconnects", "ours"]
    assert names["in_transaction"] == 0
    redis_baton.upgrade(source=source.url, target=target.url, until="switchover")
    run_python(here(quiet))
    one, other = (
        redis.Redis(unix_socket_path=str(source.unix_socket), client_name=name)
        for name in ("shop-2", "shop-3")
    )
    with one, other, other.pubsub() as subscriber:
        one.ping()
        subscriber.subscribe("news")
        eventually(lambda: {"shop-2", "shop-3"} <= named(source), "both are connected")
        run_tasks(here(monitor), tmp_path / "look")
        run_tasks(here(disconnect), tmp_path / "cut")
        assert {"shop-2", "shop-3"} & named(source) == {"shop-2"}


@example(moves="docs/redirects/relay.md yaml", ends="docs/redirects/relay.md yaml 1")
def test_relay(moves: str, ends: str, server: ServerFactory, tmp_path: Path) -> None:
    source, target = server("redis-7.0"), server("redis-8.0")
    redis_baton.replicate(source=source.url, target=target.url)
    redis_baton.wait_synced(source=source.url, target=target.url)

    def here(text: str) -> str:
        text = text.replace("/var/lib/redis-baton/relay-6379.sock", str(tmp_path / "r.sock"))
        text = text.replace("source_port: 6379", f"source_port: {source.port}")
        return text.replace("login_host: db2.example.com", f"login_port: {target.port}")

    try:
        run_tasks(here(moves), tmp_path / "there")
        assert (target.role, target.current_port) == ("master", target.port)
        with redis.Redis(port=source.port) as app:
            app.set("key", "through the relay")
        assert target.call("GET", "key") == "through the relay"
    finally:
        run_tasks(here(ends), tmp_path / "end")
    eventually(lambda: not _listens(source.port), "the relay has ended")


@example(ready="docs/two-hosts.md python", hands_over="docs/two-hosts.md yaml")
def test_two_hosts(ready: str, hands_over: str, server: ServerFactory, tmp_path: Path) -> None:
    source, target = server("redis-7.0"), server("redis-8.0")

    def here(text: str) -> str:
        for said, really in (("10.0.0.1", source), ("10.0.0.2", target)):
            text = text.replace(f"{said}:6379", really.address)
            for side in ("source", "login"):
                text = re.sub(
                    rf"{side}_host: {said}(\s+){side}_port: 6379",
                    rf"{side}_host: {really.host}\g<1>{side}_port: {really.port}",
                    text,
                )
        assert "6379" not in text.replace(str(source.port), "").replace(str(target.port), "")
        return text

    assert run_python(here(ready))["ready"].stage == "following"
    run_tasks(here(hands_over), tmp_path / "ansible")
    assert (source.role, target.role) == ("slave", "master")


@example(prints="docs/results.md python", refused="docs/results.md python 1")
def test_results(
    prints: str, refused: str, server: ServerFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a switchover prints is what the page says."""
    source, target = server("redis-7.0"), server("redis-8.0")
    given = {"SOURCE": source.url, "TARGET": target.url}
    target.call("SET", "of its own", 1)
    run_python(refused, given)
    assert "holds" in capsys.readouterr().out
    target.call("FLUSHALL")
    redis_baton.replicate(source=source.url, target=target.url)
    redis_baton.wait_synced(source=source.url, target=target.url)
    done = run_python(prints, given)["done"]
    printed = capsys.readouterr().out
    for said, really in (("6379", source.port), ("6380", target.port), ("6381", done.parked)):
        printed = printed.replace(str(really).rpartition(":")[2], said)
    (page,) = [one.text for one in blocks("docs/results.md") if one.kind == "text"]
    assert printed.splitlines() == page.splitlines() or done.attempts > 1


def named(server: Instance) -> set[str]:
    return {one["name"] for one in connected_to(server)}


def _listens(port: int) -> bool:
    """Whether somebody listens there, as the system says."""
    with open("/proc/net/tcp") as table:  # noqa: PTH123 # no file of ours
        return re.search(rf":{port:04X} 00000000:0000 0A", table.read()) is not None


@example(installs="docs/install.md console")
def test_install(installs: str, tmp_path: Path) -> None:
    """The collection is installed from its tarball, and then it is found without the clone."""
    if not (TOOLS / "ansible-galaxy").exists():
        pytest.skip("there is no Ansible for this Python (it needs 3.11 or newer)")
    found = {
        **{name: text for name, text in os.environ.items() if not name.startswith("ANSIBLE_")},
        "ANSIBLE_HOME": str(tmp_path / "home"),
        "ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "installed"),
        "PATH": f"{TOOLS}:{os.environ['PATH']}",
        "LC_ALL": "C.UTF-8",
    }

    def typed(command: str) -> str:
        done = subprocess.run(
            ["bash", "-euc", command], cwd=tmp_path, env=found, capture_output=True, text=True,
            check=False, timeout=RUN_TIME,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    typed(f"ansible-galaxy collection build {REPOSITORY / COLLECTION} --output-path dist")
    typed(installs.removeprefix("$ "))
    assert "Replace a live Redis" in typed("ansible-doc -t role baton.redis.upgrade")
