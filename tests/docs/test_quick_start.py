"""The quick start, as it is typed: an upgrade there, back and for good, under an application."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.ansible.runner import COLLECTIONS, TOOLS
from tests.docs.examples import REPOSITORY, Block, all_of
from tests.support.ports import release_block, reserve_block
from tests.support.servers import eventually, find

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN_TIME = 100.0
BLOCKS = all_of("docs/quick-start.md")
APP, *SNIPPETS = [one for one in BLOCKS if one.kind == "python"]
TYPED = [one for one in BLOCKS if one.kind == "console"]
WAYS = {
    "ansible": [one for one in TYPED if one.text.startswith("$ ansible")],
    "command": [one for one in TYPED if one.text.startswith("$ redis-baton")],
    "python": SNIPPETS,
}
START, RUN_APP, ASK_VERSION, CLEAN_UP, FORGET = [
    one for one in TYPED if not one.text.startswith(("$ ansible", "$ redis-baton"))
]


class Reader:
    """Somebody who types what stands there, on ports and in folders of this test."""

    def __init__(self, folder: Path) -> None:
        """Begin with an empty folder."""
        self.folder = folder
        self.first_port = reserve_block()
        self.servers = {
            name: find(f"redis-{version}") for name, version in (("OLD", "7.0"), ("NEW", "8.0"))
        }

    def here(self, text: str) -> str:
        """Return what is really typed."""
        text = text.replace("/tmp/baton", str(self.folder))  # noqa: S108 # as the page says
        text = text.replace("~/.local/state", os.environ["XDG_STATE_HOME"])
        return text.replace("6379", str(self.first_port)).replace("6380", str(self.first_port + 1))

    def type(self, block: Block) -> str:
        """Type a block, line by line, and return what is printed."""
        lines = [line.removeprefix("$ ") for line in self.here(block.text).splitlines()]
        given = [
            f"{name}={binary.server.parent}" for name, binary in self.servers.items() if binary
        ]
        lines = [line for line in lines if not line.startswith(("make servers", "OLD=", "NEW="))]
        return self.run(["bash", "-euc", "\n".join([*given, *lines])], str(block))

    def run(self, command: list[str], what: str) -> str:
        """Run it as in the clone, after the lines of step 1."""
        done = subprocess.run(
            command, cwd=REPOSITORY, env=self.environment, capture_output=True, text=True,
            check=False, timeout=RUN_TIME, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, f"{what}: {done.stdout}{done.stderr}"
        return done.stdout

    @property
    def environment(self) -> dict[str, str]:
        """What the lines of step 1 have left."""
        return {
            **os.environ,
            "PATH": f"{TOOLS}:{os.environ['PATH']}",
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "LC_ALL": "C.UTF-8",
        }

    def go(self, block: Block) -> str:
        """Do what a tab says."""
        if block.kind == "console":
            # Nobody is there to be asked.
            asks = block.text.startswith(("$ redis-baton upgrade", "$ redis-baton rollback"))
            return self.type(
                block._replace(text=f"{block.text.rstrip()} --yes\n") if asks else block
            )
        return self.run([sys.executable, "-c", self.here(block.text)], str(block))

    def both_answer(self) -> bool:
        """Whether both servers can be asked."""
        for at, binary in enumerate(self.servers.values()):
            port = str(self.first_port + at)
            if binary is None or "PONG" not in _output(binary.cli, "-p", port, "PING"):
                return False
        return True

    def start_app(self) -> subprocess.Popen[str]:
        """Save the application, and run it."""
        (self.folder / "app.py").write_text(self.here(APP.text))
        return subprocess.Popen(
            self.here(RUN_APP.text).removeprefix("$ ").split(),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def _output(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path / "b")
    if None in reader.servers.values():
        pytest.skip("redis-7.0 or redis-8.0 is not on this machine")
    try:
        yield reader
    finally:
        for at in range(reader.first_port, reader.first_port + 4):
            (new := reader.servers["NEW"]) and subprocess.run(
                [new.cli, "-p", str(at), "SHUTDOWN", "NOSAVE"], capture_output=True, check=False
            )
        release_block(reader.first_port)


@pytest.mark.parametrize("way", WAYS)
def test_quick_start(way: str, reader: Reader) -> None:
    if way == "ansible" and not (TOOLS / "ansible").exists():
        pytest.skip("there is no Ansible for this Python (it needs 3.11 or newer)")
    look, upgrade, back, for_good = WAYS[way]
    reader.type(START)
    # A server that runs as a daemon has forked before it listens.
    eventually(reader.both_answer, "both servers answer")
    app = reader.start_app()
    try:
        reader.go(look)
        assert reader.go(upgrade)
        assert "redis_version:8.0" in reader.type(ASK_VERSION)
        reader.go(upgrade)  # it finds all done
        assert reader.go(back)
        assert reader.go(for_good)
        assert app.poll() is None
    finally:
        app.send_signal(signal.SIGINT)
        printed, _ = app.communicate(timeout=10)
    assert "WRONG" not in printed
    assert " writes, the slowest took " in printed
    state = Path(os.environ["XDG_STATE_HOME"]) / "redis-baton"
    assert list(state.iterdir())
    reader.type(CLEAN_UP)
    reader.type(FORGET)
    assert not reader.folder.exists()
    eventually(lambda: not list(state.iterdir()), "no journal is left")
