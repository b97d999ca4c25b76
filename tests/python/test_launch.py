"""A target runs with the live configuration of the source: several pairs, and how it fails."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis_baton as rb

from tests.python.common import SECRET, assert_readable, fails, state_of
from tests.support.load import Load
from tests.support.ports import release_block, reserve_block
from tests.support.servers import Instance, eventually, find

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import ServerFactory
    from tests.support.certificates import Certificates

PAIRS = [
    ("redis-6.0", "redis-8.0"),
    ("redis-7.0", "redis-8.6"),
    ("valkey-8.1", "valkey-9.1"),
    ("redis-7.0", "valkey-9.1"),
]


class Place:
    """Where a target is to run: a free port and a directory that is not there yet."""

    def __init__(self, folder: Path, journal_dir: Path) -> None:
        self.port = reserve_block()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.directory = folder / "new"
        self.config_file = self.directory / "redis-baton.conf"
        self.journal_dir = journal_dir

    def given(self, source: Instance, **more: Any) -> dict[str, Any]:  # noqa: ANN401
        """Return the arguments of a launch there."""
        common = {"source": source.url, "target": self.url, "journal_dir": self.journal_dir}
        # Where servers lie in a folder of their own, the program itself may need its wrapper.
        program = str(source.binary.server)
        return {**common, "directory": self.directory, "program": program, **more}

    def client(
        self, *, port: int | None = None, username: str | None = None, password: str | None = None
    ) -> redis.Redis:
        """Return a client of the target."""
        return redis.Redis(
            port=port or self.port,
            username=username,
            password=password,
            decode_responses=True,
            socket_timeout=10,
        )

    def config(self, name: str, *, password: str | None = None) -> str:
        """Return the value of a parameter of the target."""
        with self.client(password=password) as client:
            found: dict[str, str] = client.config_get(name)
            return found[name]

    def processes(self) -> list[int]:
        """Return who works in the directory, but not this test."""
        return [pid for pid in all_processes() if works_in(pid, self.directory)]

    def end(self) -> None:
        """End what was launched, by its number."""
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: not self.processes(), f"nobody works in {self.directory}")
        release_block(self.port)


def all_processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def works_in(pid: int, directory: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == directory
    except OSError:
        return False


@pytest.fixture
def place(tmp_path: Path, journal_dir: Path) -> Iterator[Place]:
    """Return a place for a target; what was launched there ends with the test."""
    place = Place(tmp_path, journal_dir)
    yield place
    place.end()


def program(name: str) -> str:
    binary = find(name)
    if binary is None:
        pytest.skip(f"{name} is not on this machine")
    return str(binary.server)


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_from_launch_to_switchover_under_load(
    server: ServerFactory, place: Place, old: str, new: str
) -> None:
    source = server(old, save="3600 1", databases=20)
    source.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")  # in no file
    source.call("CONFIG", "SET", "save", "900 7 60 1000")
    source.call("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1048576 524288 30")
    source.call("ACL", "SETUSER", "app", "on", f">{SECRET}", "~app:*", "+@all")
    before = state_of(source)
    given = place.given(source, program=program(new))
    wishes = {"hz": 25, "databases": 32, "lazyfree-lazy-user-del": True}

    foreseen = rb.launch(**given, parameters=wishes, dry_run=True)
    assert (foreseen.changed, foreseen.launched, foreseen.pid) == (True, False, None)
    assert not place.directory.exists()

    done = rb.launch(**given, parameters=wishes)
    assert (done.changed, done.launched, done.actions) == (True, True, foreseen.actions)
    assert [done.carried, done.dropped] == [foreseen.carried, foreseen.dropped]
    assert {"maxmemory-policy", "save", "client-output-buffer-limit"} <= set(done.carried)
    assert done.version.lower().startswith(new.replace("-", " "))
    assert place.processes() == [done.pid]
    assert state_of(source) == before
    assert place.config("maxmemory-policy") == "allkeys-lru"
    assert place.config("save") == "900 7 60 1000"
    assert "pubsub 1048576 524288 30" in place.config("client-output-buffer-limit")
    assert [place.config(name) for name in ("hz", "databases")] == ["25", "32"]
    assert place.config("lazyfree-lazy-user-del") == "yes"
    assert place.config("dir") == str(place.directory)
    with place.client(username="app", password=SECRET) as app:
        assert app.set("app:x", "1")
        assert app.delete("app:x")

    again = rb.launch(**given, parameters=wishes)
    assert (again.changed, again.launched, again.pid) == (False, True, done.pid)

    common: dict[str, Any] = {name: given[name] for name in ("source", "target", "journal_dir")}
    with Load(port=source.port, rate=2000) as load:
        switched = rb.upgrade(**common, quiet_for=0.1)
        report = load.stop(verify_port=source.port)
    assert (report.lost, report.wrong, report.errors) == (0, 0, {})
    assert report.acknowledged > 0
    # A 6.0 is shut down in the switchover.
    assert switched.stage == ("retired" if old == "redis-6.0" else "switched")
    # It has moved, and is known all the same.
    moved = rb.launch(**given, parameters=wishes)
    assert (moved.changed, moved.pid) == (False, done.pid)
    with place.client(port=source.port) as client:
        assert client.info("server")["process_id"] == done.pid


def test_it_shares_nothing_and_survives_the_caller(server: ServerFactory, place: Place) -> None:
    source = server("redis-7.0", appendonly=True, save="900 1", pidfile="own.pid")
    script = "import json, sys, redis_baton as rb\nprint(rb.launch(**json.loads(sys.argv[1])).pid)"
    given: dict[str, Any] = {name: str(value) for name, value in place.given(source).items()}
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(given)],
        env={**os.environ, "BATON_TEST_SECRET": SECRET},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    pid = int(done.stdout)
    assert place.processes() == [pid]
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"BATON_TEST_SECRET" not in environment
    assert b"HOME=" not in environment
    assert os.getsid(pid) == pid
    log = str(place.directory / "server.log")
    assert [str(Path(f"/proc/{pid}/fd/{n}").readlink()) for n in range(3)] == [
        "/dev/null",
        log,
        log,
    ]
    assert "Umask:\t0077" in Path(f"/proc/{pid}/status").read_text()

    for name in ("port", "dir", "pidfile", "logfile", "unixsocket"):
        assert place.config(name) != source.call("CONFIG", "GET", name)[name], name
    assert place.config("appendonly") == "yes"
    assert stat.S_IMODE(place.directory.stat().st_mode) == 0o750
    with place.client() as client:
        client.set("x", "1")
        client.save()
        client.config_rewrite()
    for file in place.directory.rglob("*"):
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file
    assert "redis-baton launch" in place.config_file.read_text()
    assert rb.launch(**place.given(source)).changed is False


def test_a_source_that_has_nothing_of_its_own(server: ServerFactory, place: Place) -> None:
    source = server("redis-8.0", bind="* -::*")
    done = rb.launch(**place.given(source))
    assert (done.launched, done.carried, done.dropped) == (True, [], [])


def test_one_that_died_is_started_again(server: ServerFactory, place: Place) -> None:
    source = server("redis-7.0")
    given = place.given(source, program=program("redis-8.0"))
    first = rb.launch(**given)
    assert first.pid
    os.kill(first.pid, signal.SIGKILL)
    eventually(lambda: not place.processes(), "it has ended")
    source.call("CONFIG", "SET", "hz", "33")
    second = rb.launch(**given)
    assert (second.changed, second.launched) == (True, True)
    assert second.pid != first.pid
    assert place.config("hz") == "33"


def test_one_that_was_needed_for_a_while_is_retired(server: ServerFactory, place: Place) -> None:
    source = server("redis-7.0")
    source.call("SET", "x", "1")
    given = place.given(source, program=program("redis-8.0"))
    assert rb.launch(**given).launched
    there: dict[str, Any] = {name: given[name] for name in ("source", "target", "journal_dir")}
    rb.upgrade(**there, quiet_for=0.1)
    rb.rollback(**there)
    back: dict[str, Any] = {**there, "source": place.url, "target": source.url}
    assert rb.retire(**back).retired
    eventually(lambda: not place.processes(), "it has ended")
    assert (source.role, source.call("GET", "x")) == ("master", "1")
    # And it can be launched again: what it had is loaded.
    again = rb.launch(**given)
    assert again.changed
    assert any("earlier launch" in warning for warning in again.warnings)


@pytest.mark.parametrize("event", ["step", "action", "waiting"])
def test_a_controller_that_dies_leaves_what_a_rerun_can_use(
    server: ServerFactory, place: Place, event: str
) -> None:
    source = server("redis-7.0")
    given = place.given(source)
    die = f"lambda e: e['event'] == {event!r} and os.kill(os.getpid(), 9)"
    script = "import json, os, sys, redis_baton as rb\n"
    script += f"rb.launch(**json.loads(sys.argv[1]), on_event={die})"
    arguments = json.dumps({name: str(value) for name, value in given.items()})
    done = subprocess.run([sys.executable, "-c", script, arguments], timeout=30, check=False)
    assert done.returncode == -signal.SIGKILL

    def launched() -> bool:
        try:
            return rb.launch(**given).launched
        except rb.BatonError as error:
            assert error.reason == "directory_in_use"  # noqa: PT017 # it is still coming up
            return False

    eventually(launched, "it runs")
    assert len(place.processes()) == 1


def test_a_program_that_is_asked_ends_with_its_controller(
    server: ServerFactory, place: Place, tmp_path: Path
) -> None:
    source = server("redis-7.0")
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\necho $$ > $(dirname $0)/pid\nexec sleep 60\n")
    slow.chmod(0o755)
    script = "import json, sys, redis_baton as rb\nrb.launch(**json.loads(sys.argv[1]))"
    given = place.given(source, program=slow)
    arguments = json.dumps({name: str(value) for name, value in given.items()})
    controller = subprocess.Popen([sys.executable, "-c", script, arguments])
    file = tmp_path / "pid"
    eventually(lambda: file.exists() and file.read_text().endswith("\n"), "it is asked")
    pid = int(file.read_text())
    controller.kill()
    controller.wait()
    eventually(lambda: not Path(f"/proc/{pid}").exists(), "it has ended too")
    assert not place.directory.exists()


def test_other_wishes_are_refused_while_it_runs(server: ServerFactory, place: Place) -> None:
    source = server("redis-7.0")
    given = place.given(source)
    done = rb.launch(**given, parameters={"hz": 20})
    with fails(rb.Refused, "launched_otherwise", source):
        rb.launch(**given, parameters={"hz": 21})
    assert place.processes() == [done.pid]
    assert place.config("hz") == "20"


def test_passwords_are_carried_and_shown_nowhere(server: ServerFactory, place: Place) -> None:
    source = server("redis-7.0", password=SECRET)
    said: list[Any] = []
    done = rb.launch(**place.given(source), on_event=said.append)
    assert {"requirepass", "masterauth"} <= set(done.carried)
    assert place.config("requirepass", password=SECRET) == SECRET
    with pytest.raises(redis.AuthenticationError), place.client() as stranger:
        stranger.ping()
    assert stat.S_IMODE(place.config_file.stat().st_mode) == 0o600
    command = Path(f"/proc/{done.pid}/cmdline").read_text()
    for shown in (repr(done), str(said), command, (place.directory / "server.log").read_text()):
        assert SECRET not in shown
    common: dict[str, Any] = {
        name: place.given(source)[name] for name in ("source", "target", "journal_dir")
    }
    assert rb.upgrade(**common, quiet_for=0.1).stage == "switched"


def test_users_in_a_file_get_a_file(server: ServerFactory, place: Place, tmp_path: Path) -> None:
    users = tmp_path / "users.acl"
    users.write_text(f"user default on nopass ~* &* +@all\nuser app on >{SECRET} ~a:* +@read\n")
    source = server("redis-7.0", aclfile=str(users))
    done = rb.launch(**place.given(source, program=program("valkey-9.1")))
    assert done.users_carried == ["app", "default"]
    assert place.config("aclfile") == str(place.directory / "users.acl")
    assert SECRET not in (place.directory / "users.acl").read_text()
    with place.client(username="app", password=SECRET) as app:
        assert app.get("a:x") is None
    with place.client() as client:
        assert client.acl_save()
        assert "nocommands" not in str(client.acl_list())


def test_over_tls(server: ServerFactory, place: Place, certificates: Certificates) -> None:
    source = server("redis-7.0", tls=certificates)
    source_end, target_end = (
        rb.Endpoint(port=port, tls=True, ca_certs=str(certificates.ca))
        for port in (source.port, place.port)
    )
    given: dict[str, Any] = {
        "source": source_end,
        "target": target_end,
        "journal_dir": place.journal_dir,
    }
    done = rb.launch(**given, directory=place.directory, program=program("redis-8.0"))
    assert {"tls-cert-file", "tls-key-file", "tls-replication"} <= set(done.carried)
    assert rb.upgrade(**given, quiet_for=0.1).stage == "switched"


def test_at_a_unix_socket(server: ServerFactory, place: Place) -> None:
    source = server("redis-7.0")
    path = source.unix_socket.with_name("t")
    target = rb.Endpoint(port=place.port, unix_socket=str(path))
    done = rb.launch(**{**place.given(source), "target": target})
    assert done.launched
    assert (place.config("unixsocket"), place.config("port")) == (str(path), str(place.port))


def test_a_renamed_command_and_a_raised_setting(server: ServerFactory, place: Place) -> None:
    source = server("redis-7.0", rename_command='FLUSHALL ""')
    rename = {"rename-command": ['FLUSHALL ""', "DEBUG hidden-debug"]}
    plain = rb.launch(**place.given(source), dry_run=True)
    assert any("flushall" in warning for warning in plain.warnings)
    rb.launch(**place.given(source), parameters=rename)
    with place.client() as client, pytest.raises(redis.ResponseError, match="unknown command"):
        client.flushall()


# How it fails: the source is as before, and nothing is left.


def test_a_taken_port(server: ServerFactory, place: Place) -> None:
    source = server("redis-7.0")
    stranger = server("redis-8.0", port=place.port)
    with fails(rb.Refused, "port_taken", source, stranger) as caught:
        rb.launch(**place.given(source))
    assert "server.conf" in caught.message
    assert not place.directory.exists()


def test_the_sources_own_address_and_directory(server: ServerFactory, place: Place) -> None:
    source = server("redis-7.0")
    with fails(rb.Refused, "same_server", source):
        rb.launch(**{**place.given(source), "target": source.url})
    with fails(rb.Refused, "directory_in_use", source):
        rb.launch(**{**place.given(source), "directory": source.folder})


def test_a_directory_with_files_of_others(server: ServerFactory, place: Place) -> None:
    source = server("redis-7.0")
    place.directory.mkdir()
    (place.directory / "dump.rdb").write_bytes(b"precious")
    with fails(rb.Refused, "directory_in_use", source) as caught:
        rb.launch(**place.given(source))
    assert "dump.rdb" in caught.message
    assert [file.name for file in place.directory.iterdir()] == ["dump.rdb"]


def test_programs_that_are_none(server: ServerFactory, place: Place, tmp_path: Path) -> None:
    source = server("redis-7.0")
    plain = tmp_path / "plain"
    plain.write_text("no program")
    for path in ("/no/such/program", plain, "/bin/true", "/bin/cat", tmp_path):
        with fails(rb.Refused, "program_unusable", source):
            rb.launch(**place.given(source, program=path))
    assert not place.directory.exists()


def test_a_value_that_the_program_refuses(server: ServerFactory, place: Place) -> None:
    source = server("redis-7.0")
    before = state_of(source)
    for wishes, said in (
        ({"io-threads": 100000}, "io-threads"),
        ({"requirepass": SECRET, "maxmemory": "plenty"}, "maxmemory"),
        ({"loadmodule": "/no/such/module.so"}, "module"),
    ):
        with pytest.raises(rb.Failed) as failed:
            rb.launch(**place.given(source), parameters=wishes)
        assert (failed.value.reason, failed.value.state) == ("launch_failed", "undone")
        assert said in str(failed.value)
        assert_readable(failed.value)
        assert not place.directory.exists()
        assert place.processes() == []
    assert state_of(source) == before


def test_a_directory_that_was_there_is_left_as_it_was(server: ServerFactory, place: Place) -> None:
    source = server("redis-7.0")
    place.directory.mkdir()
    with pytest.raises(rb.Failed):
        rb.launch(**place.given(source), parameters={"io-threads": 100000})
    assert list(place.directory.iterdir()) == []


def test_one_that_never_answers_is_ended(server: ServerFactory, place: Place) -> None:
    source = server("redis-7.0")
    with pytest.raises(rb.Failed) as failed:
        rb.launch(**place.given(source), parameters={"bind": "127.0.0.9"}, wait_timeout=1)
    assert failed.value.reason == "launch_failed"
    assert "bind" in str(failed.value)
    assert place.processes() == []
    assert not place.directory.exists()


@pytest.mark.parametrize(
    "wishes",
    [{"port": 1}, {"dir": "/"}, {"replicaof": "h 1"}, {"no-such": 1}, {"hz": None}, {"hz": "1\n2"}],
    ids=str,
)
def test_wishes_that_make_no_sense(
    server: ServerFactory, place: Place, wishes: dict[str, Any]
) -> None:
    source = server("redis-7.0")
    with fails(rb.InvalidInput, "invalid_input", source) as caught:
        rb.launch(**place.given(source), parameters=wishes)
    assert "parameters" in caught.message
    assert not place.directory.exists()


def test_a_user_and_a_unit_that_are_not_there(server: ServerFactory, place: Place) -> None:
    source = server("redis-7.0")
    with fails(rb.InvalidInput, "invalid_input", source):
        rb.launch(**place.given(source, user="no-such-user"))
    with pytest.raises(rb.BatonError) as refused:
        rb.launch(**place.given(source, unit="no-such-unit.service"))
    assert refused.value.reason in {"invalid_input", "host_denied"}
    assert refused.value.state == "unchanged"
    with fails(rb.Refused, "other_host", source):
        rb.launch(**{**place.given(source), "target": "redis://192.0.2.1:7000"})
    assert not place.directory.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take another user")
def test_another_user(server: ServerFactory, place: Place) -> None:
    source = server("redis-7.0")
    with pytest.raises(rb.BatonError) as denied:
        rb.launch(**place.given(source, user="nobody"))
    # The folders of this test are root's alone.
    assert denied.value.state == "undone"
    assert not place.directory.exists()


def test_a_rule_that_the_program_does_not_know(server: ServerFactory, place: Place) -> None:
    source = server("redis-8.0")
    source.call("ACL", "SETUSER", "app", "on", f">{SECRET}", "~*", "+vadd")
    with fails(rb.Refused, "user_refused", source) as caught:
        rb.launch(**place.given(source, program=program("redis-7.0")))
    assert "app" in caught.message
    assert "+vadd" in caught.message
    assert not place.directory.exists()
