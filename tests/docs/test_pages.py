"""The pages fit together, and what they say of the code and of measurements is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import redis_baton

from tests.docs.examples import GUIDES, REPOSITORY
from tests.support.servers import NAMES, find

PAGES = sorted(path.relative_to(REPOSITORY) for path in (REPOSITORY / "docs").rglob("*.md"))
DOCUMENTS = [
    *(Path(name) for name in ("ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *map(Path, GUIDES),
]
# Where the site has pages that are made from the code, and documents that lie elsewhere.
MADE = ("reference/", "project/")
RUN_TIME = 60.0


def assert_current(generator: str) -> None:
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "docs" / generator), "--check"],
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_TIME,
    )
    assert done.returncode == 0, done.stderr


def test_the_reasons_are_those_of_the_code() -> None:
    assert_current("generate_reasons.py")


def test_the_parameters_are_those_of_the_servers() -> None:
    for name in NAMES:
        if find(name) is None:
            pytest.skip(f"{name} is not on this machine")
    assert_current("generate_config_table.py")


def test_each_reason_has_an_answer() -> None:
    answers = set(
        re.findall(r"`([a-z_]+)`", (REPOSITORY / "docs" / "what-if.md").read_text("utf-8"))
    )
    assert sorted(set(redis_baton.REASONS) - answers) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_lead_somewhere(document: Path) -> None:
    origin = REPOSITORY / document
    for link in re.findall(r"\]\(([^)\s]+)\)", origin.read_text(encoding="utf-8")):
        if "://" in link or (document.parts[0] == "docs" and link.startswith(MADE)):
            continue
        name, _, heading = link.partition("#")
        place = origin.parent / name if name else origin
        assert place.exists(), link
        if heading:
            heads = re.findall(r"^#+ (.*)$", place.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads]
            assert heading in slugs, link


def test_the_site_has_each_page_once() -> None:
    """What `make docs` would refuse is seen without it."""
    nav = (REPOSITORY / "mkdocs.yml").read_text("utf-8").partition("\nnav:\n")[2]
    listed = re.findall(r"- (\S+\.md)$", nav, re.MULTILINE)
    ours = [page for page in listed if not page.startswith(MADE)]
    assert sorted(ours) == [str(page.relative_to("docs")) for page in PAGES]


def median(way: str, column: int) -> float:
    """Return the median of a way in the first table of docs/figures.md, as it is rounded there."""
    figures = (REPOSITORY / "docs" / "figures.md").read_text("utf-8")
    row = next(line for line in figures.splitlines() if line.startswith(f"| {way} |"))
    return float(row.split("|")[column].split()[0].replace(",", ""))


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ("README.md", r"redis-baton \| ([\d.]+) ms"),
        ("docs/index.md", r"was ([\d.]+) ms at 10,000"),
    ],
)
def test_the_promise_was_measured(page: str, says: str) -> None:
    (said,) = re.findall(says, (REPOSITORY / page).read_text("utf-8"))
    assert said == f"{median('redis-baton', 3):.1f}"


def test_the_other_ways_were_measured() -> None:
    readme = (REPOSITORY / "README.md").read_text("utf-8")
    failover, playbook = "FAILOVER behind HAProxy", "playbook, community.general"
    assert f"| {median(failover, 3) / 1000:.1f} s | 0 |" in readme
    assert f"| {median(playbook, 3) / 1000:.1f} s | {median(playbook, 4):,.0f} |" in readme
