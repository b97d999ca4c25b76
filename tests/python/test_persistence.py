"""`persistence`: each switch, on servers under load, and what a crash after each command leaves."""

from __future__ import annotations

import itertools
import os
import resource
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Literal

import pytest
import redis_baton as rb
from redis_baton import Failed, InvalidInput, Refused, TimedOut

from tests.python.common import assert_readable, fails
from tests.support.load import Load
from tests.support.servers import NAMES, Instance, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import ServerFactory

Mode = Literal["rdb", "aof", "both", "none"]

SAVE = "3600 1 300 100"
# Every switch once, each from where the one before has led.
ROUND: tuple[Mode, ...] = (
    *("none", "rdb", "aof", "rdb", "both", "aof", "both"),
    *("rdb", "none", "aof", "none", "both", "none"),
)
SWITCHES = list(zip(ROUND, ROUND[1:]))
KEPT: list[tuple[Mode, Mode]] = [pair for pair in SWITCHES if "none" not in pair]
# One before the AOF had parts, and the newest of each kind.
# The others of each kind take minutes.
FEW = (
    "redis-8.6",
    *(pytest.param(name, marks=pytest.mark.long) for name in ("redis-6.0", "valkey-9.1")),
)
# One of each way to lay out files, and of each project.
ONE_OF_EACH = (
    *("redis-6.0", "redis-7.0", "valkey-9.1"),
    *(
        pytest.param(name, marks=pytest.mark.long)
        for name in NAMES
        if name not in {"redis-6.0", "redis-7.0", "valkey-9.1"}
    ),
)
KEYS = 2000
SETTINGS = ("save", "appendonly", "appendfsync", "stop-writes-on-bgsave-error")


def settings_of(server: Instance) -> dict[str, str]:
    return {name: server.call("CONFIG", "GET", name)[name] for name in SETTINGS}


def mode_of(server: Instance) -> str:
    found = settings_of(server)
    modes = {(True, False): "rdb", (False, True): "aof", (True, True): "both"}
    return modes.get((found["save"] != "", found["appendonly"] == "yes"), "none")


def put(server: Instance, prefix: str, keys: int = KEYS) -> None:
    with server.client() as client:
        client.mset({f"{prefix}:{n}": os.urandom(50).hex() for n in range(keys)})


def count(server: Instance, prefix: str) -> int:
    with server.client() as client:
        return sum(1 for _ in client.scan_iter(f"{prefix}:*", count=1000))


def crash(server: Instance) -> None:
    """Kill it, and start it from its configuration file and the files that there are."""
    server.kill()
    server.start()


def begin(server: Instance, mode: Mode, **options: Any) -> None:  # noqa: ANN401
    """Take a server to a mode, with data that a crash leaves."""
    put(server, "kept")
    if mode != "none":
        rb.persistence(server=server.url, mode=mode, **options)


@pytest.mark.parametrize("name", NAMES)
def test_each_switch_dry_then_for_real_then_again(server: ServerFactory, name: str) -> None:
    one = server(name)
    put(one, "kept")
    for before, after in SWITCHES:
        case = f"{before} to {after}"
        dry = rb.persistence(server=one.url, mode=after, dry_run=True)
        assert mode_of(one) == before, case
        done = rb.persistence(server=one.url, mode=after)
        again = rb.persistence(server=one.url, mode=after)
        assert (dry.changed, done.changed, again.changed) == (True, True, False), case
        assert dry.actions == done.actions, case
        assert again.actions == [], case
        for result in (dry, done):
            assert (result.previous_mode, result.mode, result.rewritten) == (before, after, True)
            assert (result.before["mode"], result.after["mode"]) == (before, after), case
            assert len(result.warnings) == (after == "none"), case
        assert dry.after == done.after == again.before == again.after
        assert done.files_seen
        assert mode_of(one) == after, case
        assert (done.aof_bytes is not None) == (after in ("aof", "both")), case
        assert done.save == one.call("CONFIG", "GET", "save")["save"], case
        assert settings_of(one)["stop-writes-on-bgsave-error"] == "yes", case
        # A restart comes back with it, and with the data.
        crash(one)
        assert mode_of(one) == after, case
        if after == "none":
            one.call("FLUSHALL")
            put(one, "kept")
        assert count(one, "kept") == KEYS, case


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_a_crash_right_after_the_switch_loses_nothing_acknowledged(
    server: ServerFactory, name: str
) -> None:
    one = server(name)
    for before, after in SWITCHES:
        if after not in ("aof", "both"):
            rb.persistence(server=one.url, mode=after)
            continue
        with Load(port=one.port, rate=3000, prefix=f"{before}-{after}") as load:
            rb.persistence(server=one.url, mode=after, appendfsync="always")
            crash(one)
            report = load.stop()
        assert report.acknowledged > 0, (before, after)
        assert (report.lost, report.wrong) == (0, 0), (before, after, report)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_a_crash_of_one_with_save_points_loses_nothing_from_before_the_save(
    server: ServerFactory, name: str
) -> None:
    one = server(name)
    for before, after in SWITCHES:
        if after != "rdb":
            rb.persistence(server=one.url, mode=after)
            continue
        put(one, before)
        with Load(port=one.port, rate=3000, prefix="load"):
            done = rb.persistence(server=one.url, mode=after)
            one.kill()
        one.start()
        assert done.actions[-1].endswith("EXEC")
        assert count(one, before) == KEYS, before


def test_switching_there_and_back_under_load_loses_nothing(server: ServerFactory) -> None:
    one = server("redis-8.0", save=SAVE)
    with Load(port=one.port, rate=5000) as load:
        for _, after in KEPT:
            rb.persistence(server=one.url, mode=after)
        report = load.stop()
    assert (report.lost, report.wrong, report.disconnects, report.errors) == (0, 0, 0, {})


# Runs a switch and kills its server, or itself, once so many commands were answered.
KILLING = """
import os, signal, sys
import redis_baton

url, mode, journal_dir, left, whom = sys.argv[1:]
left = int(left)

def on_event(event):
    global left
    if event["event"] == "action":
        left -= 1
        if left == 0:
            os.kill(int(whom) or os.getpid(), signal.SIGKILL)

redis_baton.persistence(
    server=url, mode=mode, appendfsync="always" if mode != "rdb" else None,
    journal_dir=journal_dir, on_event=on_event,
)
"""


def run_until(server: Instance, mode: str, journal_dir: Path, left: int, whom: int) -> None:
    command = [sys.executable, "-c", textwrap.dedent(KILLING), server.url, mode]
    subprocess.run(
        [*command, str(journal_dir), str(left), str(whom)],
        capture_output=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(("before", "after"), KEPT, ids=[f"{a}-{b}" for a, b in KEPT])
@pytest.mark.parametrize("name", FEW)
def test_whoever_dies_after_whichever_command_a_rerun_finishes(
    server: ServerFactory, journal_dir: Path, name: str, before: Mode, after: Mode
) -> None:
    given: Any = {"mode": after, "journal_dir": journal_dir}
    one = server(name)
    begin(one, before, journal_dir=journal_dir)
    commands = len(rb.persistence(server=one.url, **given, dry_run=True).actions)
    assert commands >= 2
    for whose, number in itertools.product(("server", "controller"), range(1, commands + 1)):
        case = f"{whose} after command {number}"
        run_until(one, after, journal_dir, number, one.pid if whose == "server" else 0)
        if whose == "server":
            eventually(lambda: not one.alive, case)
            one.start()
        assert count(one, "kept") == KEYS, case
        put(one, "later", 10)
        done = rb.persistence(server=one.url, **given)
        assert done.mode == after, case
        # The file says so too, and names files that have everything.
        crash(one)
        assert mode_of(one) == after, case
        assert count(one, "kept") == KEYS, case
        if before != "none":
            rb.persistence(server=one.url, mode=before, journal_dir=journal_dir)


@pytest.fixture
def limited() -> Callable[..., None]:
    """Limit the size of the files that a server may write, as a full disk does."""

    def limit(server: Instance, size: int = resource.RLIM_INFINITY) -> None:
        hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size, hard))

    return limit


@pytest.mark.parametrize(("before", "after"), KEPT, ids=[f"{a}-{b}" for a, b in KEPT])
@pytest.mark.parametrize("name", FEW)
def test_a_disk_that_fails_leaves_the_old_way_on(
    server: ServerFactory, limited: Callable[..., None], name: str, before: Mode, after: Mode
) -> None:
    one = server(name)
    begin(one, before)
    if (before, after) == ("both", "aof"):
        # Its AOF is there already. It is written anew where that has failed the last time.
        limited(one, 60_000)
        one.call("BGREWRITEAOF")
        failed = "aof_last_bgrewrite_status"
        eventually(lambda: one.info("persistence")[failed] == "err", "the rewrite has failed")
    earlier = settings_of(one)
    limited(one, 60_000)
    with pytest.raises(Failed) as raised:
        rb.persistence(server=one.url, mode=after)
    error = raised.value
    assert (error.reason, error.state) == ("save_failed", "undone"), error
    assert_readable(error)
    if (before, after) == ("both", "rdb"):
        # Otherwise it would refuse all writes until a save succeeds.
        earlier["stop-writes-on-bgsave-error"] = "no"
    assert settings_of(one) == earlier
    assert "log says why" in error.remedy
    limited(one)
    one.call("SET", "writes are", "taken")
    done = rb.persistence(server=one.url, mode=after)
    assert (done.mode, mode_of(one)) == (after, after)
    assert settings_of(one)["stop-writes-on-bgsave-error"] == "yes"
    crash(one)
    assert (mode_of(one), count(one, "kept")) == (after, KEYS)


@pytest.mark.parametrize("after", ["aof", "rdb"])
def test_an_aof_that_a_dead_controller_began_is_turned_off_if_it_fails(
    server: ServerFactory, journal_dir: Path, limited: Callable[..., None], after: Mode
) -> None:
    one = server("redis-8.0", save=SAVE)
    begin(one, "rdb")
    one.call("SAVE")
    limited(one, 60_000)
    run_until(one, "aof", journal_dir, 2, 0)
    assert mode_of(one) == "both"
    with pytest.raises(Failed) as raised:
        rb.persistence(server=one.url, mode=after, journal_dir=journal_dir)
    assert (raised.value.reason, raised.value.state) == ("save_failed", "undone")
    assert mode_of(one) == "rdb"
    limited(one)
    crash(one)
    assert (mode_of(one), count(one, "kept")) == ("rdb", KEYS)


def test_an_aof_with_always_does_not_end_a_server_whose_disk_is_full(
    server: ServerFactory, limited: Callable[..., None]
) -> None:
    one = server("redis-8.0", save=SAVE, appendfsync="always")
    put(one, "kept")
    limited(one, 60_000)
    with pytest.raises(Failed):
        rb.persistence(server=one.url, mode="aof")
    assert (settings_of(one)["appendfsync"], mode_of(one)) == ("always", "rdb")
    limited(one)
    done = rb.persistence(server=one.url, mode="aof")
    assert (done.appendfsync, settings_of(one)["appendfsync"]) == ("always", "always")
    assert "CONFIG SET appendfsync everysec" in "".join(done.actions)


@pytest.fixture
def without_forks(
    tmp_path: Path, server: ServerFactory
) -> Iterator[Callable[[str, Mode], Instance]]:
    """Start a server whose user may start no more processes."""
    instances: list[Instance] = []
    setpriv = "setpriv --reuid=65534 --clear-groups" if os.geteuid() == 0 else ""

    def start(name: str, mode: Mode) -> Instance:
        one = server(name)
        if setpriv:  # root has no limit: the server runs as another user, who may use these files
            one.close()
            program = tmp_path / "unprivileged"
            capability = "--inh-caps=+dac_override --ambient-caps=+dac_override"
            program.write_text(f'#!/bin/sh\nexec {setpriv} {capability} {one.binary.server} "$@"\n')
            program.chmod(0o755)
            one = Instance(replace(one.binary, server=program), tmp_path / "without-forks")
            instances.append(one.start())
        begin(one, mode)
        limit = [*setpriv.split(), "prlimit", "--pid", str(one.pid), "--nproc=1:"]
        subprocess.run(limit, check=True, timeout=10)
        return one

    yield start
    for one in instances:
        one.close()


@pytest.mark.parametrize(("before", "after"), [("rdb", "aof"), ("aof", "rdb"), ("both", "rdb")])
@pytest.mark.parametrize("name", FEW)
def test_a_fork_that_fails_leaves_the_old_way_on(
    without_forks: Callable[[str, Mode], Instance], name: str, before: Mode, after: Mode
) -> None:
    one = without_forks(name, before)
    with pytest.raises(Failed) as raised:
        rb.persistence(server=one.url, mode=after)
    error = raised.value
    assert (error.reason, error.state) == ("save_failed", "undone"), error
    assert_readable(error)
    assert mode_of(one) == before
    assert "fork: Resource temporarily unavailable" in one.log_tail()
    one.call("SET", "writes are", "taken")
    crash(one)
    assert (mode_of(one), count(one, "kept")) == (before, KEYS)


def test_save_points_and_fsync_are_settings_too(server: ServerFactory) -> None:
    one = server("redis-7.0", save=SAVE)
    done = rb.persistence(server=one.url, mode="rdb")
    assert (done.changed, done.save) == (False, SAVE)
    done = rb.persistence(server=one.url, mode="rdb", save="60  1")
    assert (done.changed, done.save) == (True, "60 1")
    assert not any("BGSAVE" in action for action in done.actions)
    done = rb.persistence(server=one.url, mode="both", appendfsync="always")
    assert (done.save, done.appendfsync) == ("60 1", "always")
    done = rb.persistence(server=one.url, mode="both", appendfsync="no")
    assert (done.changed, done.appendfsync) == (True, "no")
    assert rb.persistence(server=one.url, mode="rdb").save == "60 1"
    rb.persistence(server=one.url, mode="aof")
    # None are left to go by.
    assert rb.persistence(server=one.url, mode="rdb").save == "3600 1 300 100 60 10000"
    assert not rb.persistence(server=one.url, mode="rdb", save="3600 1 300 100 60 10000").changed


def test_a_server_without_a_configuration_file(server: ServerFactory) -> None:
    one = server("redis-7.0", config_file=False)
    with fails(Refused, "no_config_file", one) as caught:
        rb.persistence(server=one.url, mode="aof")
    assert "rewrite=false" in caught.message
    assert not rb.persistence(server=one.url, mode="none").changed
    done = rb.persistence(server=one.url, mode="aof", rewrite=False)
    assert (done.mode, done.rewritten, mode_of(one)) == ("aof", False, "aof")
    (warning,) = done.warnings
    assert "configuration file" in warning


def test_a_configuration_file_that_can_not_be_written(server: ServerFactory) -> None:
    one = server("redis-8.0", save=SAVE)
    assert one.config_file
    text = one.config_file.read_text()
    one.config_file.unlink()
    one.config_file.mkdir()
    (one.config_file / "in the way").touch()
    with pytest.raises(Failed) as raised:
        rb.persistence(server=one.url, mode="aof")
    assert (raised.value.reason, raised.value.state) == ("not_saved", "unchanged")
    assert (mode_of(one), raised.value.actions) == ("rdb", [])
    (one.config_file / "in the way").unlink()
    one.config_file.rmdir()
    one.config_file.write_text(text)
    assert rb.persistence(server=one.url, mode="aof").rewritten


def test_a_save_that_runs_already_is_waited_for(server: ServerFactory) -> None:
    keys = 20_000
    one = server("redis-8.0", save=SAVE, rdb_key_save_delay=100)
    put(one, "kept", keys)
    one.call("BGSAVE")
    events: list[dict[str, Any]] = []
    with pytest.raises(TimedOut) as raised:
        rb.persistence(server=one.url, mode="aof", wait_timeout=0.3, on_event=events.append)
    assert (raised.value.reason, raised.value.state) == ("save_timed_out", "interrupted")
    assert {event["stage"] for event in events if event["event"] == "saving"} == {"waiting"}
    assert settings_of(one)["save"] == SAVE
    events.clear()
    done = rb.persistence(server=one.url, mode="aof", on_event=events.append)
    assert (done.mode, done.previous_mode) == ("aof", "both")
    writing = [e for e in events if e["event"] == "saving" and e["stage"] == "writing"]
    assert writing
    assert {event["file"] for event in writing} == {"aof"}
    last = writing[-1]
    assert (last["total"], 0 < last["keys"] <= keys) == (keys, True)
    assert last["rate"] > 0
    assert last["seconds_left"] >= 0


def test_a_replica_too(server: ServerFactory) -> None:
    master, one = server("redis-7.0", repl_diskless_sync_delay=0), server("redis-8.0")
    put(master, "kept", 100)
    one.call("REPLICAOF", master.host, master.port)
    eventually(lambda: one.info()["master_link_status"] == "up", "the link is up")
    done = rb.persistence(server=one.url, mode="both")
    assert (done.before["role"], done.mode) == ("replica", "both")
    eventually(lambda: one.info()["master_link_status"] == "up", "the link is up")
    crash(one)
    assert (mode_of(one), one.call("DBSIZE")) == ("both", 100)


def test_wishes_that_can_not_be_met(server: ServerFactory) -> None:
    one = server("redis-8.0")
    cases: list[dict[str, Any]] = [
        {"mode": "snapshots"},
        {"mode": "rdb", "save": "3600"},
        {"mode": "rdb", "save": ""},
        {"mode": "aof", "save": SAVE},
        {"mode": "rdb", "appendfsync": "always"},
        {"mode": "aof", "appendfsync": "sometimes"},
        {"mode": "aof", "wait_timeout": -1},
    ]
    for case in cases:
        with fails(InvalidInput, "invalid_input", one):
            rb.persistence(server=one.url, **case)


def test_a_user_who_may_not_save(server: ServerFactory) -> None:
    one = server("redis-8.0")
    url = f"redis://limited:secret@{one.address}"
    for command in ("bgsave", "config|rewrite", "config|set", "time"):
        one.call("ACL", "SETUSER", "limited", "reset", "on", ">secret", "+@all", f"-{command}")
        with pytest.raises(Refused) as raised:
            rb.persistence(server=url, mode="rdb")
        assert raised.value.reason == "permission_denied"
        assert mode_of(one) == "none"


def test_one_controller_at_a_time(server: ServerFactory) -> None:
    one = server("redis-8.0")
    with one.client() as other:
        other.client_setname("redis-baton:0123456789abcdef")
        number = other.client_id()
        with fails(Refused, "locked", one):
            rb.persistence(server=one.url, mode="aof")
        assert rb.persistence(server=one.url, mode="aof", break_lock=True).mode == "aof"
        # It had to come again.
        assert other.client_id() != number
