"""Which servers, and their passwords: by environment, file, prompt, or the file of --config."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.common import PASSWORD, RUN_TIME, Terminal, baton, begin, of
from tests.support.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import ServerFactory
    from tests.python.common import Pair
    from tests.support.certificates import Certificates
    from tests.support.servers import Instance


def test_a_password_by_environment_or_file(pair: Pair, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f"{PASSWORD}\n")
    assert baton("status", *of(pair)).status == 0
    assert baton("status", *of(pair), password=None).status == 3
    assert baton("status", *of(pair), "--password-file", secret, password=None).status == 0
    pair.target.call("CONFIG", "SET", "requirepass", "another")
    each = {"REDIS_BATON_TARGET_PASSWORD": "another"}
    assert baton("status", *of(pair), **each).status == 0
    secret.write_text("")
    for file, said in ((secret, "is empty"), (tmp_path / "none", "No such file")):
        wrong = baton("status", *of(pair), "--password-file", file)
        assert wrong.status == 2
        assert said in wrong.err


def test_a_password_from_a_pipe_is_for_both(pair: Pair, tmp_path: Path) -> None:
    """As `--password-file <(command)` or `command | redis-baton ... /dev/stdin` gives it."""
    of_servers = "".join(
        f'[servers.{side}]\nurl = "redis://{one.address}"\npassword_file = "/dev/stdin"\n'
        for side, one in (("source", pair.source), ("target", pair.target))
    )
    file = written(tmp_path, of_servers)
    for words in (
        ["status", *of(pair), "--password-file", "/dev/stdin"],
        ["status", "source", "target", "--config", file, "--journal-dir", pair.journal_dir],
    ):
        process = begin(*words, stdin=subprocess.PIPE)
        try:
            out, err = process.communicate(f"{PASSWORD}\n", timeout=RUN_TIME)
        finally:
            process.kill()
        assert (process.returncode, err) == (0, "")
        assert "Redis 8.0" in out


def test_a_password_in_a_url_works_and_is_warned_about(pair: Pair) -> None:
    words = [pair.source.url, pair.target.url, "--journal-dir", pair.journal_dir]
    done = baton("status", *words, password=None)
    assert done.status == 0
    assert done.err.count("everybody on this host can see the password") == 2


def test_a_user_in_the_url_and_the_password_elsewhere(pair: Pair, tmp_path: Path) -> None:
    """As docs/cli.md says to name a user."""
    secret = tmp_path / "secret"
    secret.write_text("ops-only\n")
    for one in (pair.source, pair.target):
        one.call("ACL", "SETUSER", "ops", "on", ">ops-only", "~*", "&*", "+@all")
    words = [f"redis://ops@{one.address}" for one in (pair.source, pair.target)]
    words += ["--journal-dir", str(pair.journal_dir)]
    assert baton("status", *words, password="ops-only").status == 0
    assert baton("status", *words, "--password-file", secret, password=None).status == 0
    with Terminal("status", *words, "--ask-password") as terminal:
        for side in ("source", "target"):
            terminal.read_until(f"Password of the {side}")
            terminal.enter("ops-only")
        assert terminal.end() == 0, terminal.text
    without = baton("status", *words, password=None)
    assert without.status == 2
    assert "SOURCE: a user was given without a password" in without.err
    assert "--password-file" in without.err


@pytest.mark.parametrize("where", ["redis://hunter2@h:1", "hunter2@h:1", ":hunter2@h:1"])
def test_a_password_in_the_place_of_the_user_is_not_shown(where: str) -> None:
    wrong = baton("status", where, where, password=None)
    assert wrong.status == 2
    assert "hunter2" not in wrong.err + wrong.out
    assert "SOURCE: " in wrong.err


def test_a_password_by_prompt(pair: Pair) -> None:
    with Terminal("status", *of(pair), "--ask-password") as terminal:
        for side in ("source", "target"):
            terminal.read_until(f"Password of the {side}")
            terminal.enter(PASSWORD)
        assert terminal.end() == 0, terminal.text
        assert PASSWORD not in terminal.seen


def test_no_password_is_in_the_process_list(pair: Pair, reader: Callable[[Instance], None]) -> None:
    reader(pair.source)
    process = begin("wait-quiescent", *of(pair))
    try:
        assert process.stderr is not None
        process.stderr.readline()
        listed = subprocess.run(["ps", "axww"], capture_output=True, text=True, check=True).stdout
    finally:
        process.terminate()
        process.communicate()
    assert "wait-quiescent" in listed
    assert PASSWORD not in listed


def test_no_password_comes_to_hooks(pair: Pair, tmp_path: Path) -> None:
    pair.follow(10)
    seen, hook = tmp_path / "seen", tmp_path / "hook.py"
    hook.write_text(f"import os\nopen({str(seen)!r}, 'w').write(repr(dict(os.environ)))\n")
    done = baton("switchover", *of(pair), "--yes", "--hook", f"after='{sys.executable}' '{hook}'")
    assert done.status == 0, done.err
    assert "hook after" in done.err
    assert "REDIS_BATON_SERVING" in seen.read_text()
    assert PASSWORD not in seen.read_text()


def test_tls(server: ServerFactory, certificates: Certificates) -> None:
    one = server("redis-8.0", tls=certificates, password=PASSWORD)
    ready = baton("wait-ready", f"rediss://{one.address}", "--ca-certs", certificates.ca)
    assert ready.status == 0, ready.err
    assert "Redis 8.0" in ready.out
    distrusted = baton("wait-ready", f"rediss://{one.address}", "--wait-timeout", "100ms")
    assert distrusted.status == 3
    taken = baton("wait-ready", f"rediss://{one.address}", "--no-validate-certs")
    assert taken.status == 0, taken.err


def test_where_the_password_for_replication_goes_is_said_as_it_is_here(pair: Pair) -> None:
    words = of(pair)
    missing = baton("replicate", *words, "--replication-user", "repl")
    assert missing.status == 2
    assert "$REDIS_BATON_REPLICATION_PASSWORD: is missing" in missing.err
    pair.target.call("CONFIG", "SET", "masterauth", "of another")
    wrong = baton("replicate", *words)
    assert wrong.status == 3
    assert "give --replication-user and $REDIS_BATON_REPLICATION_PASSWORD, or set" in wrong.err
    assert "replication_password" not in missing.err + wrong.err
    pair.source.call("ACL", "SETUSER", "repl", "on", ">of-repl", "+psync", "+replconf", "+ping")
    given = {"REDIS_BATON_REPLICATION_PASSWORD": "of-repl"}
    done = baton("replicate", *words, "--replication-user", "repl", **given)
    assert done.status == 0, done.err


def written(folder: Path, text: str) -> Path:
    file = folder / "pair.toml"
    file.write_text(text)
    return file


def test_a_file_names_servers_and_options(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{PASSWORD}\n")
    (tmp_path / "hook.py").write_text("print('hooked')\n")
    file = written(
        tmp_path,
        f"""
        source = "old"
        target = "new"

        [servers.old]
        url = "redis://{pair.source.address}"
        password_file = "secret"

        [servers.new]
        url = "redis://{pair.target.address}"
        password_env = "OF_NEW"
        connect_timeout = 2

        [options]
        journal_dir = "{pair.journal_dir}"
        max_lag_bytes = "1mb"

        [upgrade]
        until = "wait_synced"
        sync_timeout = "5m"

        [switchover]
        redirect = "none"
        hooks = {{ after = ["{sys.executable}", "{tmp_path / "hook.py"}"] }}
        guard = false
        """,
    )
    given = {"password": None, "OF_NEW": PASSWORD}
    assert baton("upgrade", "--config", file, "--yes", **given).status == 0
    assert pair.roles == ("master", "slave")
    # What is typed goes before it.
    one = baton("upgrade", "old", "new", "--config", file, "--until", "preflight", **given)
    assert (one.status, "verify" in one.err) == (0, False)
    switched = baton("switchover", "--config", file, "--yes", **given)
    assert switched.status == 0, switched.err
    assert "hook after" in switched.err
    assert pair.ports == (pair.source.port, pair.target.port)
    eventually(lambda: pair.roles == ("slave", "master"), "the target is the master")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("servers = 1", "servers is not a table"),
        ("[servers.a]\n", "servers.a.url is missing"),
        ("[servers.a]\nurl = 1\n", "servers.a.url is not a text"),
        ('[servers.a]\nurl = "redis://a"\npassword = "x"\n', "use password_file or password_env"),
        ('[servers.a]\nurl = "redis://a"\nport = 1\n', "servers.a.port is not known"),
        ('[servers.source]\nurl = "redis://a"\npassword_env = "NOT_THERE"\n', "names NOT_THERE"),
        (
            '[servers.source]\nurl = "redis://a"\npassword_file = "nowhere"\n',
            "nowhere can't be read",
        ),
        ("[upgrade]\nuntill = 1\n", "upgrade.untill is not known"),
        ("[upgrade]\nguard = 1\n", "upgrade.guard is not true or false"),
        ('[upgrade]\nuntil = "promote"\n', "upgrade.until can't be used"),
        ('[upgrade]\npatience = "soon"\n', "upgrade.patience can't be used"),
        ("[upgrade]\nhooks = 1\n", "upgrade.hooks is not a table"),
        ("[upgrade]\nredirect = 1\n", "upgrade.redirect is not a text"),
        ("[options]\nlevle = 1\n", "options.levle is not known"),
        ("[upgrad]\n", "upgrad is not known"),
        ("[wait-synced]\n", "wait-synced is not known; it is [wait_synced]"),
        ("[plan]\n", "plan is not known; it is [upgrade]"),
        ("source = 1", "source is not a text"),
        ("[upgrade", "is not TOML"),
        (None, "can't be read"),
    ],
)
def test_a_wrong_file_is_one_sentence(text: str | None, said: str, tmp_path: Path) -> None:
    file = tmp_path / "none.toml" if text is None else written(tmp_path, text)
    wrong = baton("upgrade", "source", "b:1", "--config", file, "--yes")
    assert (wrong.status, wrong.out) == (2, "")
    (sentence,) = [line for line in wrong.err.splitlines() if str(file) in line]
    assert said in sentence
