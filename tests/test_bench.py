"""The bench in its smallest form, so that it runs when it is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

import pytest

from bench.relay import DIRECT, HAPROXY, PIPELINES, RELAY
from bench.tables import Table, spread, write_markdown
from bench.verify import FLOOR
from bench.verify import WAYS as COMPARING
from tests.support.haproxy import find_haproxy
from tests.support.servers import OWN_BINARIES, find

REPOSITORY = Path(__file__).parents[1]
RUN_TIME = 60.0

Bench = Callable[..., dict[str, Any]]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Run the bench with 2,000 keys, once each; return its raw figures."""
    for name in ("redis-7.0", "redis-8.0"):
        if find(name) is None:
            pytest.skip(f"{name} is not on this machine: {OWN_BINARIES}")

    def run(*options: str, part: str = "switchover") -> dict[str, Any]:
        raw, page = tmp_path / "raw.json", tmp_path / "page.md"
        tiny = ("--runs=1", "--keys=2000", "--around=0.3", f"--json={raw}", f"--markdown={page}")
        done = subprocess.run(
            [sys.executable, "-m", "bench", part, *tiny, *options],
            cwd=REPOSITORY,
            env={**os.environ, "TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=RUN_TIME,
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(raw.read_text())
        assert found["failed"] == []
        for run in found["runs"]:
            assert run["ended"]["how"] == "done", run
        for table in (line for line in page.read_text().splitlines() if line.startswith("**")):
            assert table.strip("*") in " ".join(done.stdout.split()), table
        return found

    return run


def test_it_runs_ways_and_shapes(bench: Bench) -> None:
    found = bench(
        "--ways=baton,by-hand,stop-start",
        "--rates=2000",
        "--shapes=subscribers",
        "--drain=attempts=5 pause_budget=0.2",
    )
    runs = {(run["part"], run["name"]): run for run in found["runs"]}
    assert runs.keys() == {
        ("ways", "baton"),
        ("ways", "by-hand"),
        ("ways", "stop-start"),
        ("shapes", "subscribers"),
        ("drain", "attempts=5 pause_budget=0.2"),
    }
    ours = runs["ways", "baton"]
    assert {"pause", "drain", "demote", "promote", "confirm"} <= ours["ended"]["phases"].keys()
    assert ours["report"]["lost_sets"] == ours["report"]["lost_incrs"] == 0
    waited = runs["shapes", "subscribers"]["crowd"]["subscribers"]
    assert waited == {"connections": 200, "cuts": {"1": 200}, "waiting": 200, "errors": 0}


def test_it_runs_both_ways_behind_haproxy(bench: Bench) -> None:
    if find_haproxy() is None:
        pytest.skip("HAProxy is not on this machine: tests/support/fetch-servers haproxy-3.0")
    ways = "--ways=baton-haproxy,failover"
    found = bench(ways, "--rates=2000", "--shapes=none", "--drain=none")
    runs = {run["name"]: run["report"] for run in found["runs"]}
    assert {run["lost_sets"] + run["lost_incrs"] for run in runs.values()} == {0}
    assert runs["baton-haproxy"]["disconnects_per_connection"] == {"1": 16}
    # More than one where HAProxy finds the old one demoted before it finds the new one promoted.
    assert runs["failover"]["disconnects_min"] >= 1


@pytest.mark.long  # Sentinel needs its ten seconds to see a replica
def test_it_runs_both_ways_under_sentinel(bench: Bench) -> None:
    ways = "--ways=sentinel,sentinel-failover"
    found = bench(ways, "--rates=2000", "--shapes=none", "--drain=none")
    runs = {run["name"]: run["report"] for run in found["runs"]}
    ours = runs["sentinel"]
    assert ours["lost_sets"] == ours["lost_incrs"] == 0
    assert (ours["errors"], ours["disconnects_per_connection"]) == ({}, {"1": 16})
    # The other way loses what the old master takes until Sentinel has reconfigured it.
    assert runs["sentinel-failover"]["disconnects_min"] >= 1


def test_it_switches_the_persistence(bench: Bench) -> None:
    phases = bench(part="persistence")["persistence"]
    assert len(phases) == 10
    assert [phase["alone"] for phase in phases] == [True, False] * 5
    assert {phase["lost"] for phase in phases} == {0}


def test_it_compares(bench: Bench) -> None:
    found = bench(part="verify")["verify"]
    assert [one["way"] for one in found] == [*COMPARING, FLOOR]


def test_sections_are_put_between_their_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Before\n\n<!-- begin: bench a -->old<!-- end: bench a -->\n\nAfter\n")
    sections = {name: [Table(name, ("x", "y"), [("1", "2")], ["so"])] for name in "ab"}
    write_markdown(page, sections)
    once = page.read_text()
    write_markdown(page, sections)
    assert page.read_text() == once
    assert "old" not in once
    before, _, rest = once.partition("<!-- begin: bench a -->\n**a**\n\n| x | y |\n| --- | --- |\n")
    assert before == "# Before\n\n"
    assert rest.startswith("| 1 | 2 |\n\n- so\n<!-- end: bench a -->\n\nAfter\n\n<!-- begin: b")


def test_a_spread_says_no_more_than_there_is() -> None:
    assert spread([0, 0, 0]) == "0"
    assert spread([1.234, 12.34, 1234.5]) == "12.3 (1.23 to 1,234)"
    assert spread([]) == "-"


def test_it_sends_through_hops(bench: Bench) -> None:
    if find_haproxy() is None:
        pytest.skip("HAProxy is not on this machine")
    stretches = bench(part="relay")["relay"]
    assert {(one["way"], one["pipeline"]) for one in stretches} == {
        (way, pipeline) for way in (DIRECT, RELAY, HAPROXY) for pipeline in PIPELINES
    }
    assert all(one["rate"] > 0 for one in stretches)
