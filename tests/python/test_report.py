"""The report: what an upgrade was like, from what its calls have left behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis_baton as rb
from prometheus_client.parser import text_string_to_metric_families

from tests.python.common import SECRET, Given, Pair, fails, put
from tests.python.test_guard import LONG_PAUSE, through
from tests.support.controller import Controller, lives
from tests.support.gate import PROMOTION, Gate
from tests.support.servers import eventually

if TYPE_CHECKING:
    from tests.conftest import ServerFactory

RUN_TIME = 60
GUIDE = Path(__file__).parents[2] / "docs" / "report.md"
METRICS = GUIDE.read_text("utf-8").partition("## The metrics")[2]


def outcome(pair: Pair) -> str:
    return rb.report(**pair.given).outcome


def metrics(file: Path) -> dict[str, dict[str, float]]:
    """Read them as Prometheus does: by name, and by the label that tells them apart."""
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(file.read_text()):
        assert family.documentation
        assert family.type == "gauge"
        for sample in family.samples:
            labels = dict(sample.labels)
            assert {labels.pop("source"), labels.pop("target")}
            found.setdefault(sample.name, {})["".join(labels.values())] = sample.value
    return found


def test_an_upgrade_there_and_to_its_end(pair: Pair, tmp_path: Path) -> None:
    page, data, prom = (tmp_path / f"upgrade.{kind}" for kind in ("html", "json", "prom"))
    files: dict[str, Any] = {"html": page, "json": data, "prometheus": prom}
    assert rb.report(**pair.given).sentence.startswith("Nothing was done")
    put(pair.source, 200)
    assert rb.report(**pair.given, **files, dry_run=True).changed
    assert not page.exists()
    done = rb.upgrade(**pair.given, probe=True, quiet_for=0.1)
    [cut] = [step.result for step in done.steps if step.name == "switchover"]

    told = rb.report(**pair.given, **files)
    assert (told.outcome, told.changed) == ("switched", True)
    assert told.actions == [f"write {file}" for file in files.values()]
    assert "Redis 8.0" in told.sentence
    assert "the probe lost no acknowledged write" in told.sentence
    assert "of a sample of keys, found no difference" in told.sentence
    assert [call["step"] for call in told.calls] == ["upgrade"]
    assert json.loads(data.read_text()) == json.loads(json.dumps(told.data))
    assert told.data["samples"]
    assert sum(bucket["writes"] for bucket in told.data["probe"]) > 10
    assert [action["command"] for action in told.data["actions"]] == [
        action.partition(": ")[2] or action for action in done.actions
    ]
    html = page.read_text()
    assert told.sentence in html
    assert not re.search(r"https?://|<script|<link rel=.stylesheet", html)
    found = metrics(prom)
    named = set(re.findall(r"`(\w+)`", METRICS))
    assert {name.removeprefix("redis_baton_") for name in found} <= named
    assert found["redis_baton_outcome"]["switched"] == 1
    assert sum(found["redis_baton_outcome"].values()) == 1
    assert found["redis_baton_write_gap_seconds"][""] * 1000 == pytest.approx(cut["write_gap_ms"])
    assert found["redis_baton_probe_lost_writes"][""] == 0
    assert {"pause", "demote", "promote"} <= set(found["redis_baton_phase_seconds"])
    assert found["redis_baton_settings_raised"][""] == len(rb.status(**pair.given).raised)

    again = rb.report(**pair.given, **files)
    assert (again.changed, again.actions) == (False, [])
    rb.retire(**pair.given)
    assert outcome(pair) == "retired"
    assert all(setting["restored"] or setting["gone"] for setting in told_settings(pair))
    assert list(tmp_path.glob("*.new")) == []


def told_settings(pair: Pair) -> list[dict[str, Any]]:
    settings: list[dict[str, Any]] = rb.report(**pair.given).data["settings"]
    return settings


def test_each_call_by_itself_and_back(pair: Pair) -> None:
    pair.follow()
    assert outcome(pair) == "following"
    rb.switchover(**pair.given)
    assert outcome(pair) == "switched"
    rb.rollback(**pair.given)
    told = rb.report(**pair.given)
    assert told.outcome == "rolled_back"
    assert [call["step"] for call in told.calls] == [
        "replicate",
        "wait_synced",
        "switchover",
        "rollback",
    ]
    assert [cut["step"] for cut in told.data["handovers"]] == ["switchover", "rollback"]
    assert "Redis 7.0" in told.sentence


def test_a_call_that_failed_and_was_run_again(pair: Pair) -> None:
    pair.target.call("SET", "of its own", "1")
    with fails(rb.Refused, "target_has_data"):
        rb.replicate(**pair.given)
    told = rb.report(**pair.given)
    assert told.outcome == "failed"
    [call] = told.calls
    assert call["error"]["code"] == "target_has_data"
    pair.target.call("DEL", "of its own")
    rb.replicate(**pair.given)
    assert outcome(pair) == "following"


def test_a_controller_that_died_and_its_guard(pair: Pair) -> None:
    pair.follow()
    with Gate(pair.target.port, PROMOTION) as gate:
        given = Given(**{**pair.given, "target": through(gate, pair.target)})
        with Controller("switchover", {**given, "pause_budget": LONG_PAUSE}) as controller:
            assert gate.reached.wait(20)
            [guard] = controller.guards
            controller.kill()
        eventually(lambda: not lives(guard), "the guard has ended")
        told = rb.report(**given)
    assert told.outcome == "switched"
    assert [(call["step"], call["outcome"]) for call in told.calls] == [
        ("switchover", "unended"),
        ("guard", "done"),
    ]
    assert told.data["guarded"] == ["the handover was finished: the target serves"]


def test_no_secret_is_in_it(server: ServerFactory, journal_dir: Path, tmp_path: Path) -> None:
    pair = Pair(
        server("redis-7.0", password=SECRET), server("redis-8.0", password=SECRET), journal_dir
    )
    rb.upgrade(**pair.given, quiet_for=0.1)
    told = rb.report(**pair.given, html=tmp_path / "page.html")
    assert SECRET not in (tmp_path / "page.html").read_text() + json.dumps(told.as_dict())


def test_to_a_pipe_and_a_link(pair: Pair, tmp_path: Path) -> None:
    """Neither is replaced by a file, nor is what is never read waited for."""
    rb.preflight(**pair.given)
    pipe, link, file = tmp_path / "pipe", tmp_path / "link", tmp_path / "file"
    os.mkfifo(pipe)
    with pytest.raises(rb.InvalidInput, match="json: "):
        rb.report(**pair.given, json=pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert rb.report(**pair.given, json=pipe).changed
        assert json.loads(os.read(reader, 1 << 20))["outcome"] == "nothing"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    file.touch()
    link.symlink_to(file)
    assert rb.report(**pair.given, json=link).changed
    assert link.is_symlink()
    assert json.loads(file.read_text())["outcome"] == "nothing"


def test_a_file_that_can_t_be_written(pair: Pair, tmp_path: Path) -> None:
    with fails(rb.InvalidInput, "invalid_input") as caught:
        rb.report(**pair.given, html=tmp_path / "nowhere" / "page.html")
    assert caught.message.startswith("html: ")
    with fails(rb.InvalidInput, "invalid_input"):
        rb.report(**pair.given, json=tmp_path)


@pytest.fixture
def chromium() -> str:
    """Return a browser that can be run without a screen."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("there is no Chromium (on Debian, as root: make browser)")
    return found


def browse(chromium: str, page: Path, *options: str) -> str:
    """Open it and return what the browser prints."""
    profile = page.with_name("profile")
    done = subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
         "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={profile}", *options,
         page.as_uri()],
        capture_output=True, text=True, check=False, timeout=RUN_TIME,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "CONSOLE" not in done.stderr, done.stderr
    return done.stdout


def test_it_opens_in_a_browser(pair: Pair, tmp_path: Path, chromium: str) -> None:
    page = tmp_path / "page.html"
    pair.follow()
    rb.switchover(**pair.given, probe=True)
    rb.report(**pair.given, html=page)
    shown = browse(chromium, page, "--enable-logging=stderr", "--dump-dom")
    assert 'data-outcome="switched"' in shown
    assert set(re.findall(r'<figure id="(\w+)"', shown)) >= {"cut", "latency"}
    assert shown.count("<svg") == shown.count("<figure")
    assert "NaN" not in shown
    pictures = []
    for scheme in (0, 1):
        picture = tmp_path / f"{scheme}.png"
        look = f"--blink-settings=preferredColorScheme={scheme}"
        browse(chromium, page, look, f"--screenshot={picture}", "--window-size=900,1400")
        pictures.append(picture.read_bytes())
    assert pictures[0] != pictures[1], "dark and light"
    browse(chromium, page, f"--print-to-pdf={tmp_path / 'page.pdf'}")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


def test_what_was_not_compared_is_not_said_to_be(pair: Pair) -> None:
    """Without keys there is no sample; and after the end there is nothing to compare any more."""
    rb.upgrade(**pair.given, quiet_for=0.1)
    assert "of key counts alone, found no difference" in rb.report(**pair.given).sentence
    rb.upgrade(**pair.given, until="retire", quiet_for=0.1)
    rb.upgrade(**pair.given, until="retire", quiet_for=0.1)
    told = rb.report(**pair.given)
    assert told.outcome == "retired"
    assert "found no difference" in told.sentence
