"""No code block of README or a guide is left without somebody who runs or at least reads it."""

from __future__ import annotations

import configparser
import importlib
import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.ansible.runner import TOOLS
from tests.docs.examples import COLLECTION, ELSEWHERE, GUIDES, REPOSITORY, Block, asked_for, blocks
from tests.support.haproxy import NAME, find_haproxy

if TYPE_CHECKING:
    from collections.abc import Callable

NOT_RUN = [one for page in GUIDES for one in blocks(page) if one.reason is not None]
# What pages tell people to type; the rest are the project's own.
PROGRAMS = {
    "/opt/redis-baton/bin/pip",
    "ansible",
    "ansible-playbook",
    "cd",
    "export",
    "git",
    "ln",
    "make",
    "python3",
    "redis-cli",
    "source",
}
RUN_TIME = 20.0


def ask_all() -> None:
    """Import what asks for blocks, whatever this run has collected."""
    for module in sorted(Path(__file__).parent.glob("test_*.py")):
        importlib.import_module(f"tests.docs.{module.stem}")


@pytest.mark.parametrize("page", GUIDES)
def test_each_block_is_run(page: str) -> None:
    """A new block needs a test (`@example`), or a comment above it that says why there is none."""
    ask_all()
    if page in ELSEWHERE:
        tests = (REPOSITORY / ELSEWHERE[page]).rglob("*.py")
        assert any(Path(page).name in test.read_text("utf-8") for test in tests), page
        return
    left = [
        str(one)
        for one in blocks(page)
        if one.reason is None and (one.page, one.line) not in asked_for
    ]
    assert left == [], "no test runs them"


@pytest.mark.parametrize("page", GUIDES)
def test_each_fence_is_seen(page: str) -> None:
    """What is indented or never ends would be passed over."""
    fences = re.findall(r"^\s*```", (REPOSITORY / page).read_text("utf-8"), re.MULTILINE)
    assert len(fences) == 2 * len(blocks(page))


def typed(text: str) -> None:
    """Read commands to type: words that a shell understands, programs that are known."""
    commands = [
        line.removeprefix("$ ") for line in text.replace("\\\n", " ").splitlines() if line.strip()
    ]
    for command in commands:
        words = shlex.split(command, comments=True)
        assert words[0] in PROGRAMS, command
        if words[0] == "make":
            targets = re.findall(
                r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE
            )
            assert words[1] in targets, command


def unit(text: str) -> None:
    """Read a systemd unit."""
    parser = configparser.RawConfigParser(strict=True)
    parser.read_string(text)
    assert parser["Service"]["ExecStart"].startswith("/")


def proxy(text: str) -> None:
    """Let HAProxy itself say whether it would take a whole configuration."""
    program = find_haproxy()
    if program is None:
        pytest.skip(f"{NAME} is not on this machine")
    done = subprocess.run(
        [program, "-c", "-f", "/dev/stdin"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_TIME,
    )
    assert done.returncode == 0, done.stderr


def plays(text: str) -> None:
    """Read tasks or plays: the variables of our roles exist."""
    yaml = pytest.importorskip("yaml", reason="PyYAML comes with Ansible")
    for variable in re.findall(r"\b((?:install|restart|upgrade)_[a-z_]+):", text):
        specs = (
            REPOSITORY / COLLECTION / f"roles/{variable.partition('_')[0]}/meta/argument_specs.yml"
        )
        known = yaml.safe_load(specs.read_text("utf-8"))["argument_specs"]["main"]["options"]
        assert variable in known, variable
    assert yaml.safe_load(text)


READERS: dict[str, Callable[[str], object]] = {
    "console": typed,
    "haproxy": proxy,
    "ini": unit,
    "json": json.loads,
    "text": str,
    "yaml": plays,
}


@pytest.mark.parametrize("one", NOT_RUN, ids=str)
def test_what_is_not_run_is_read(one: Block) -> None:
    if one.kind == "yaml" and not (TOOLS / "ansible-playbook").exists():
        pytest.skip("there is no Ansible for this Python (it needs 3.11 or newer)")
    READERS[one.kind](one.text)
