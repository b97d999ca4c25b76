"""The examples of `--help`, and of docs/cli.md run as they stand there."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import pytest
import redis
from redis_baton.cli.verbs import VERBS

from tests.cli.common import PASSWORD, Ran, baton
from tests.docs.examples import REPOSITORY, blocks
from tests.python.common import put
from tests.support.servers import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.python.common import Pair

OF_VERB = {verb.name: verb.example for verb in VERBS}
# From two servers that have nothing to do with each other to one that is gone.
ORDER = [
    "wait-ready",
    "config",
    "persistence",
    "preflight",
    "plan",
    "replicate",
    "wait-synced",
    "verify",
    "clients",
    "switchover",
    "wait-quiescent",
    "rollback",
    "upgrade",
    "promote",
    "relay",
    "status",
    "retire",
    "report",
]


def run(example: str, pair: Pair) -> Ran:
    """Run one with the addresses of this pair, and yes to all that it asks."""
    program, *words = shlex.split(here(example, pair), comments=True)
    assert program == "redis-baton"
    return baton(*words, "--yes")


def here(text: str, pair: Pair) -> str:
    text = text.replace("redis.example:6379", pair.source.address)
    return text.replace("redis.example:6380", pair.target.address)


def test_those_of_the_help(pair: Pair) -> None:
    put(pair.source, 100)
    left = set(OF_VERB) - {"launch"}
    assert left == set(ORDER)
    for verb in ORDER:
        done = run(OF_VERB[verb], pair)
        assert done.status == 0, (verb, done)
        assert done.out, verb
    eventually(lambda: not pair.source.alive, "the source has ended")


def test_that_of_launch(pair: Pair, tmp_path: Path) -> None:
    port = pair.source.port + 1
    text = OF_VERB["launch"].replace("redis.example:6380", f"127.0.0.1:{port}")
    text = text.replace("/var/lib/redis-new", str(tmp_path / "new"))
    text = f"{text} --program {pair.source.binary.server}"
    planned = run(f"{text} --dry-run", pair)
    assert (planned.status, (tmp_path / "new").exists()) == (0, False), planned
    done = run(text, pair)
    assert done.status == 0, done
    with redis.Redis(port=port, password=PASSWORD) as client:
        assert client.ping()
        client.shutdown(nosave=True)
    assert "It runs Redis 7.0" in done.out


def console(document: str) -> list[str]:
    """Return the commands of a document's console examples."""
    text = "".join(one.text for one in blocks(document) if one.kind == "console")
    return re.findall(r"^\$ (redis-baton .*)$", text, re.MULTILINE)


def test_those_of_the_guide(pair: Pair, tmp_path: Path) -> None:
    plan, upgrade, status, rollback, retire, by_file = console("docs/cli.md")
    (text,) = [one.text for one in blocks("docs/cli.md") if one.kind == "toml"]
    text = here(text, pair).replace("/var/lib/redis-baton", str(tmp_path / "state" / "redis-baton"))
    file = tmp_path / "pair.toml"
    file.write_text(text.replace("/usr/local/bin/tell-us", "/bin/echo"))
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    by_file = by_file.replace("pair.toml", str(file))
    for command in (plan, upgrade, status, rollback, by_file):
        done = run(command, pair)
        assert done.status == 0, (command, done)
    assert "hook after (/bin/echo)" in done.err
    assert pair.roles == ("slave", "master")
    assert run(retire, pair).status == 0
    eventually(lambda: not pair.source.alive, "the source has ended")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_guide_names_each_shell(shell: str) -> None:
    assert shell in (REPOSITORY / "docs" / "cli.md").read_text(encoding="utf-8")
