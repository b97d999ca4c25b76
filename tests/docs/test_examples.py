"""The examples of README.md run as they stand there, and the documents fit the code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import redis_baton

from tests.ansible.runner import TOOLS, Ansible, Outcome
from tests.support.servers import NAMES, eventually, find

if TYPE_CHECKING:
    from tests.conftest import ServerFactory
    from tests.support.servers import Instance

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = [
    *(
        REPOSITORY / name
        for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")
    ),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]
PASSWORD = "vault-secret"
KEYS = 500
RUN_TIME = 60.0


class Example(NamedTuple):
    """A fenced block of README.md."""

    kind: str
    line: int
    text: str


def fenced(document: Path) -> list[Example]:
    text = document.read_text(encoding="utf-8")
    found = re.finditer(r"^```(?P<kind>\S.*)\n(?P<text>(?:.*\n)*?)```$", text, re.MULTILINE)
    return [Example(m["kind"], text.count("\n", 0, m.start()) + 1, m["text"]) for m in found]


EXAMPLES = fenced(REPOSITORY / "README.md")
PLAYBOOKS = [example for example in EXAMPLES if example.kind == "yaml playbook"]
SCRIPTS = [example for example in EXAMPLES if example.kind == "python"]


def named(example: Example) -> str:
    return f"line{example.line}"


def at(example: Example, source: Instance, target: Instance) -> str:
    """Return the example's text with the addresses of this pair."""
    text = example.text
    for said, really in (
        ("redis.example", source.host),
        ("6379", str(source.port)),
        ("6380", str(target.port)),
    ):
        assert said in text, f"line {example.line} does not say {said}"
        text = text.replace(said, really)
    return text


@pytest.fixture
def pair(server: ServerFactory) -> tuple[Instance, Instance]:
    """Return a source with data and an empty target."""
    source = server("redis-7.0", password=PASSWORD)
    target = server("redis-8.0", password=PASSWORD)
    with source.client() as client:
        client.mset({f"key:{n}": n for n in range(KEYS)})
    return source, target


def assert_switched(source: Instance, target: Instance) -> None:
    assert (target.role, target.current_port) == ("master", source.port)
    assert (source.role, target.call("DBSIZE")) == ("slave", KEYS)


def test_there_are_examples_of_each_kind() -> None:
    assert (len(PLAYBOOKS), len(SCRIPTS)) == (2, 1)


@pytest.mark.parametrize("example", PLAYBOOKS, ids=named)
def test_playbooks_run(example: Example, pair: tuple[Instance, Instance], tmp_path: Path) -> None:
    if not (TOOLS / "ansible-playbook").exists():
        pytest.skip("there is no Ansible for this Python (it needs 3.11 or newer)")
    source, target = pair
    folder = tmp_path / "ansible"
    folder.mkdir()
    ansible = Ansible(folder)
    playbook = folder / "upgrade.yml"
    playbook.write_text(at(example, source, target), encoding="utf-8")

    def run(*options: str, **variables: object) -> Outcome:
        outcome = ansible.playbook(
            str(playbook), *options, variables={"vault_redis_password": PASSWORD, **variables}
        )
        assert outcome.status == 0, outcome.output
        assert PASSWORD not in outcome.output
        return outcome

    assert run().changed
    assert_switched(source, target)
    # What is done already is not done again: all that is left is the last step.
    (last,) = run(retire=True, upgrade_until="retire").changed
    assert last.startswith("Shut the source down")
    eventually(lambda: not source.alive, "the source has ended")


def run_script(
    example: Example, source: Instance, target: Instance, tmp_path: Path
) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "upgrade.py"
    script.write_text(at(example, source, target), encoding="utf-8")
    return subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "REDIS_PASSWORD": PASSWORD},
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_TIME,
    )


@pytest.mark.parametrize("example", SCRIPTS, ids=named)
def test_scripts_run(example: Example, pair: tuple[Instance, Instance], tmp_path: Path) -> None:
    source, target = pair
    done = run_script(example, source, target, tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert_switched(source, target)
    assert "switchover ...\n" in done.stdout
    assert "  demote: " in done.stdout
    assert f"{source.address} serves" in done.stdout
    again = run_script(example, source, target, tmp_path)
    assert (again.returncode, "changed" in again.stdout) == (0, False), again


@pytest.mark.parametrize("example", SCRIPTS, ids=named)
def test_scripts_report_a_refusal(
    example: Example, pair: tuple[Instance, Instance], tmp_path: Path
) -> None:
    source, target = pair
    target.call("SET", "of its own", 1)
    refused = run_script(example, source, target, tmp_path)
    assert refused.returncode == 1, refused
    assert "(unchanged)" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert (source.role, target.role) == ("master", "master")


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


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        name, _, heading = link.partition("#")
        place = document.parent / name if name else document
        assert place.exists(), link
        if heading:
            heads = re.findall(r"^#+ (.*)$", place.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads]
            assert heading in slugs, link
