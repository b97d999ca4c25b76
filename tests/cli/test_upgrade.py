"""An upgrade by the command: under load, planned, refused, stopped."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Callable

import pytest
import redis_baton as rb

from tests.cli.common import COLUMNS, ESCAPE, PASSWORD, RUN_TIME, Terminal, baton, begin, of
from tests.python.common import put, state_of
from tests.support.load import Load

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ServerFactory
    from tests.python.common import Pair
    from tests.support.servers import Instance


def test_an_upgrade_under_load(pair: Pair) -> None:
    put(pair.source, 2000)
    with Load(port=pair.source.port, rate=1000, connections=4, password=PASSWORD) as load:
        done = baton("upgrade", *of(pair), "--yes", "--verbose")
        load_report = load.stop(verify_port=pair.source.port)
    assert (done.status, load_report.lost, load_report.wrong) == (0, 0, 0), done.err
    assert pair.roles == ("slave", "master")
    assert f"The new server serves, at {pair.source.address}." in done.out
    assert re.search(r"Writes waited for \d+\.\d ms", done.out)
    # Progress is not data.
    for said in ("replicate ...", "switchover: ", "  pause ", "sent to target", "REPLICAOF NO ONE"):
        assert said in done.err
        assert said not in done.out
    again = baton("upgrade", *of(pair), "--yes", "--quiet")
    assert (again.status, again.err) == (0, "")
    assert again.out.startswith("Nothing was left to do.\n")


def test_a_plan_says_what_would_be_done_and_sends_nothing(pair: Pair) -> None:
    put(pair.source, 50)
    before = [state_of(one) for one in (pair.source, pair.target)]
    told = baton("plan", *of(pair))
    assert told.status == 0, told
    assert told.err == ""
    assert all(len(line) <= COLUMNS for line in told.out.splitlines())
    for said in (
        "A plan: nothing is sent.",
        "Redis 7.0",
        "50 keys",
        "  2. replicate: target",
        f"    to the target {pair.target.address}: REPLICAOF 127.0.0.1 {pair.source.port}",
        "What clients see",
        "every client is disconnected once",
        "What can't be undone",
        "`rollback` goes back",
        "What stands against it",
        "  - nothing",
    ):
        assert said in re.sub(r"\s+", " ", told.out) or said in told.out, said
    same = baton("upgrade", *of(pair), "--dry-run")
    # Only how much memory it needs changes from one look to the next.
    memory = r"\S+ [kM]B\s+of memory"
    assert re.sub(memory, "", same.out) == re.sub(memory, "", told.out)
    ends = baton("upgrade", *of(pair), "--dry-run", "--until", "retire")
    assert "the source ends, and with it the way back" in ends.out
    assert [state_of(one) for one in (pair.source, pair.target)] == before
    assert not list(pair.journal_dir.iterdir())


def test_a_plan_lists_all_that_stands_against_it(pair: Pair) -> None:
    pair.target.call("SET", "of its own", 1)
    pair.target.call("CONFIG", "SET", "maxmemory", "1mb")
    put(pair.source, 50)
    told = baton("plan", *of(pair))
    assert told.status == 3
    assert "blocker target_has_data" in told.out
    forced = baton("plan", *of(pair), "--force")
    assert "the 1 key that the target has now are wiped" in forced.out or forced.status == 3
    found = baton("preflight", *of(pair))
    assert found.status == 3
    assert "The upgrade would be refused." in found.out


def test_json_is_one_document(pair: Pair) -> None:
    put(pair.source, 10)
    planned = baton("plan", *of(pair), "--json")
    assert (planned.status, planned.json["changed"], planned.json["stage"]) == (0, True, "apart")
    done = baton("upgrade", *of(pair), "--json", "--yes", "--quiet-for", "100ms")
    assert done.status == 0
    assert done.json["stage"] == "switched"
    assert set(done.json) >= set(rb.upgrade(**pair.given, quiet_for=0.1).as_dict())
    pair.target.call("CONFIG", "SET", "requirepass", "another")
    failed = baton("status", *of(pair), "--json")
    assert failed.status == 3
    error = failed.json["error"]
    assert (error["reason"], error["state"], error["actions"]) == ("auth_failed", "unchanged", [])
    assert error["message"] in failed.err
    assert "--ask-password" in failed.err


def test_the_exit_status_says_how_it_ended(pair: Pair, reader: Callable[[Instance], None]) -> None:
    put(pair.source, 10)
    reader(pair.source)
    refused = baton("retire", *of(pair), "--yes")
    assert refused.status == 3
    assert refused.err.endswith("(unchanged)\n")
    wrong = baton("switchover", *of(pair), "--yes", "--pause-budget", "2m")
    assert wrong.status == 2
    assert "--pause-budget: " in wrong.err
    nobody = baton("verify", pair.source.address, "127.0.0.1:1")
    assert nobody.status == 3
    words = ("upgrade", *of(pair), "--yes", "--wait-timeout", "300ms")
    half = baton(*words)
    assert half.status == 4, half.err
    assert "(interrupted: run the same thing again)" in half.err
    assert pair.roles == ("slave", "master")
    late = baton(*words)
    assert late.status == 1, late.err
    assert late.err.endswith("(unchanged)\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["upgrade"], "SOURCE is missing"),
        (["upgrade", "a:1"], "TARGET is missing"),
        (["upgrade", "here", "a:1"], "SOURCE: 'here' is neither HOST:PORT nor"),
        (["upgrade", "http://a", "a:1"], "SOURCE: url: the scheme"),
        (["upgrade", "a:1", "a:2", "--until", "promote"], "--until"),
        (["upgrade", "a:1", "a:2", "--max-lag-bytes", "1 stone"], "not a size"),
        (["upgrade", "a:1", "a:2", "--hook", "paused"], "is not NAME=VALUE"),
        (["upgrade", "a:1", "a:2", "--hook", "later=true"], "later"),
        (["upgrade", "a:1", "a:2", "--hook", "after='x"], "quotation"),
        (["upgrade", "a:1", "a:2", "--redirect-option", "idle=1"], "needs --redirect"),
        (["clients", "a:1", "a:2", "--disconnect", "name=x"], "none of kinds"),
        (["launch", "a:1", "a:2"], "--directory is missing"),
        (["config", "a:1"], "NAME=VALUE... is missing"),
        (["config", "a:1", "hz"], "for NAME=VALUE...: 'hz' is not NAME=VALUE"),
        (["persistence", "a:1", "disk"], "'disk' is not one of"),
        (["upgade", "a:1", "a:2"], "upgade"),
    ],
)
def test_bad_usage_is_named(words: list[str], said: str) -> None:
    wrong = baton(*words)
    assert (wrong.status, wrong.out) == (2, "")
    assert said in wrong.err
    assert baton(*words, "--json").json["error"]["reason"] == "invalid_input"


def test_bad_usage_is_named_by_a_click_that_knows_less() -> None:
    """Before 8.2 it had no error for a command without arguments. Python 3.9 gets such a one."""
    program = (
        "import sys, click.exceptions as known\n"
        "vars(known).pop('NoArgsIsHelpError', None)\n"
        "from redis_baton.cli.app import run\n"
        "sys.exit(run(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", program, "upgrade", "here", "a:1"]
    wrong = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "SOURCE: 'here' is neither" in wrong.stderr


def test_a_folder_for_journals_that_has_no_name(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "pair.toml"
    file.write_text('[options]\njournal_dir = ""\n')
    before = {*tmp_path.iterdir()}
    servers = (pair.source.address, pair.target.address)
    for given in (("--journal-dir", ""), ("--config", file)):
        for verb in ("replicate", "plan", "status"):
            wrong = baton(verb, *servers, *given)
            assert (wrong.status, wrong.out) == (2, "")
            (sentence,) = wrong.err.splitlines()
            assert sentence.startswith("redis-baton: --journal-dir: names no folder; ")
    assert {*tmp_path.iterdir()} == before


def test_a_password_that_had_to_be_encoded_is_not_shown() -> None:
    wrong = baton("status", "ops:hun/ter2@host:6379", "a:1")
    assert wrong.status == 2
    assert "ter2" not in wrong.err
    assert "hun" not in wrong.err


def test_without_a_terminal_nobody_can_say_yes(pair: Pair) -> None:
    pair.follow(10)
    before = state_of(pair.source)
    for verb in ("upgrade", "switchover", "rollback", "promote", "retire"):
        asked = baton(verb, *of(pair))
        assert asked.status == 3, (verb, asked)
        assert "--yes" in asked.err
        assert asked.out == ""
    assert state_of(pair.source) == before


def test_in_a_terminal_it_asks_with_the_facts(pair: Pair) -> None:
    put(pair.source, 1234)
    with Terminal("upgrade", *of(pair), "--ask-password") as terminal:
        for side in ("source", "target"):
            terminal.read_until(f"Password of the {side}")
            terminal.enter(PASSWORD)
        terminal.read_until("[y/N]:")
        question = re.sub(r"\s+", " ", terminal.text)
        assert f"Replace {pair.source.address} (Redis 7.0.15, 1,234 keys)" in question
        assert f"by {pair.target.address} (Redis 8.0" in question
        terminal.enter("n")
        assert terminal.end() == 3
        assert pair.roles == ("master", "master")
        assert PASSWORD not in terminal.seen


@pytest.mark.parametrize("no_color", [None, "1"])
def test_a_terminal_shows_a_picture(pair: Pair, no_color: str | None) -> None:
    put(pair.source, 100)
    with Terminal(
        "upgrade",
        *of(pair),
        "--quiet-for",
        "100ms",
        REDIS_BATON_PASSWORD=PASSWORD,
        NO_COLOR=no_color,
    ) as terminal:
        terminal.read_until("[y/N]:")
        terminal.enter("y")
        assert terminal.end() == 0, terminal.text
    assert pair.roles == ("slave", "master")
    assert ESCAPE in terminal.seen
    coloured = re.search(r"\x1b\[(3[1-7]|9[0-7])m", terminal.seen) is not None
    assert coloured == (no_color is None)
    lines = terminal.text.split("\n")
    assert all(len(line) <= COLUMNS for line in lines)
    for step in ("replicate", "wait-synced", "switchover", "wait-quiescent"):
        assert any("✓" in line and step in line for line in lines), terminal.text
    assert f"The new server serves, at {pair.source.address}." in terminal.text


@pytest.mark.parametrize(
    ("stop", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_stops_it_and_the_state_is_said(
    pair: Pair, reader: Callable[[Instance], None], stop: signal.Signals, status: int
) -> None:
    reader(pair.source)
    process = begin("wait-quiescent", *of(pair), "--json")
    assert process.stderr is not None
    assert process.stderr.readline().startswith("  waiting for ")
    process.send_signal(stop)
    out, err = process.communicate(timeout=RUN_TIME)
    assert process.returncode == status
    assert "(unchanged)" in err
    assert '"state": "unchanged"' in out
    assert "Traceback" not in err


def test_ctrl_c_in_an_upgrade_says_that_it_is_to_be_run_again(
    pair: Pair, reader: Callable[[Instance], None]
) -> None:
    reader(pair.source)
    with Terminal("upgrade", *of(pair), "--yes", REDIS_BATON_PASSWORD=PASSWORD) as terminal:
        terminal.read_until("waiting for")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 130, terminal.text
    assert "(interrupted: run the same thing again)" in re.sub(r"\s+", " ", terminal.text)
    assert pair.roles == ("slave", "master")


def test_who_reads_may_go_away(pair: Pair) -> None:
    """Nothing that can't be shown stops an upgrade, or is a failure of it."""
    put(pair.source, 10)
    ours, theirs = os.pipe()
    os.close(ours)
    words = ("upgrade", *of(pair), "--yes", "--quiet-for", "100ms")
    process = begin(*words, stdout=theirs, stderr=theirs)
    os.close(theirs)
    assert process.wait(RUN_TIME) == 0
    assert pair.roles == ("slave", "master")
    with open("/dev/full", "w") as full:  # noqa: PTH123 # no file of ours
        process = begin("status", *of(pair), stdout=full)
        _, complained = process.communicate(timeout=RUN_TIME)
    assert process.returncode == 0
    assert "standard output can't be written: No space left" in complained


@pytest.mark.parametrize("closed", [[1], [2], [0, 1, 2]])
def test_what_is_closed_from_the_beginning_stops_nothing(pair: Pair, closed: list[int]) -> None:
    put(pair.source, 10)

    def close() -> None:
        for one in closed:
            os.close(one)

    asked = begin("upgrade", *of(pair), preexec_fn=close)
    asked.communicate(timeout=RUN_TIME)
    assert (asked.returncode, pair.roles) == (3, ("master", "master"))
    process = begin("upgrade", *of(pair), "--yes", "--quiet-for", "100ms", preexec_fn=close)
    out, err = process.communicate(timeout=RUN_TIME)
    assert (process.returncode, pair.roles) == (0, ("slave", "master")), err
    assert ("The new server serves" in out, "switchover: " in err) == (
        1 not in closed,
        2 not in closed,
    )


def test_a_probe_says_what_a_client_saw(pair: Pair, tmp_path: Path) -> None:
    put(pair.source, 100)
    done = baton("upgrade", *of(pair), "--yes", "--probe", "--quiet-for", "100ms")
    assert done.status == 0, done.err
    assert "The probe saw " in done.out
    assert ", 0 lost, " in re.sub(r"\s+", " ", done.out)
    file = tmp_path / "pair.toml"
    file.write_text(f'[servers.front]\nurl = "redis://{pair.source.address}"\n')
    back = baton("rollback", *of(pair), "--yes", "--json", "--config", file, "--probe-at", "front")
    assert back.status == 0, back.err
    assert back.json["probe"]["lost"] == 0


def test_a_terminal_shows_both_servers_while_it_waits(
    pair: Pair, reader: Callable[[Instance], None]
) -> None:
    put(pair.source, 100)
    reader(pair.source)
    with Terminal("upgrade", *of(pair), "--yes", REDIS_BATON_PASSWORD=PASSWORD) as terminal:
        terminal.read_until("target  master")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 130, terminal.text
    assert "ops/s" in terminal.text
    assert all(len(line) <= COLUMNS for line in terminal.text.split("\n"))


def test_quiet_keeps_what_is_to_be_known(server: ServerFactory) -> None:
    one = server("redis-8.0", password=PASSWORD, save="3600 1")
    asked = baton("persistence", one.address, "none")
    assert asked.status == 3
    done = baton("persistence", one.address, "none", "--yes", "--quiet")
    assert done.status == 0
    (warning,) = done.err.splitlines()
    assert warning.startswith("warning: ")
    assert "nothing is written to disk" in warning


def test_a_dry_run_of_a_look_says_what_it_saw(pair: Pair) -> None:
    pair.follow(10)
    looked = baton("verify", *of(pair), "--dry-run")
    assert looked.status == 0
    assert "No difference was found." in looked.out
    waited = baton("wait-synced", *of(pair), "--dry-run")
    assert "The target is in sync" in waited.out


def test_what_could_not_be_compared_is_no_difference(pair: Pair) -> None:
    pair.follow(10)
    for one in (pair.source, pair.target):
        one.call("ACL", "SETUSER", "part", "on", f">{PASSWORD}", "~*", "&*", "+@all", "-function")
    users = [f"redis://part@{one.address}" for one in (pair.source, pair.target)]
    looked = baton("verify", *users, "--journal-dir", pair.journal_dir, "--level", "full")
    assert looked.status == 0, looked.err
    assert "No difference was found, but not everything could be compared." in looked.out
    assert "DIFFER" not in looked.out
    assert baton("switchover", *of(pair), "--yes").status == 0
    told = baton("report", *of(pair), "--html", "upgrade.html")
    assert "could not compare everything" in " ".join(told.out.split())
    assert "DIFFER" not in told.out
    assert "Written: upgrade.html" in told.out


def test_a_handover_back_of_two_that_never_met(pair: Pair) -> None:
    done = baton("rollback", *of(pair), "--yes")
    assert done.status == 0, done.err
    assert "neither follows the other" in done.out


def test_asking_for_a_password_needs_a_terminal() -> None:
    asked = baton("status", "a:1", "a:2", "--ask-password")
    assert (asked.status, asked.out) == (2, "")
    assert "needs a terminal" in asked.err
