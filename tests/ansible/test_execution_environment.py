"""What an execution environment is built from, by each step of it that needs no container."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.ansible.runner import REPOSITORY, TOOLS

if TYPE_CHECKING:
    from pathlib import Path

RUN_TIME = 100


@pytest.fixture
def context(wheel: Path, tmp_path: Path) -> Path:
    """Let ansible-builder read the definition, beside a wheel."""
    if not (TOOLS / "ansible-builder").exists():
        pytest.skip("there is no Ansible for this Python (it needs 3.11 or newer)")
    definition = shutil.copy(REPOSITORY / "execution-environment.yml", tmp_path)
    (tmp_path / "ansible").symlink_to(REPOSITORY / "ansible")
    (tmp_path / "dist").mkdir()
    shutil.copy(wheel, tmp_path / "dist")
    made = tmp_path / "context"
    builder = [str(TOOLS / "ansible-builder"), "create", "--output-filename", "Containerfile"]
    subprocess.run(
        [*builder, "--file", definition, "--context", made], check=True, timeout=RUN_TIME
    )
    return made


def test_the_collection_asks_for_the_library_and_gets_the_wheel(
    context: Path, wheel: Path, tmp_path: Path
) -> None:
    steps = (context / "Containerfile").read_text("utf-8")
    assert "COPY _build/wheels/*.whl /output/wheels/" in steps
    assert (context / "_build" / "wheels" / wheel.name).exists()

    # The stage galaxy, in the folder that it would be in.
    galaxy = [str(TOOLS / "ansible-galaxy"), "collection", "install", "-r", "requirements.yml"]
    subprocess.run(
        [*galaxy, "--collections-path", tmp_path / "collections"],
        cwd=context / "_build",
        check=True,
        timeout=RUN_TIME,
    )
    installed = tmp_path / "collections" / "ansible_collections" / "baton" / "redis"
    assert (installed / "plugins" / "modules" / "upgrade.py").exists()
    assert not (installed / "changelogs" / "fragments").exists(), "as it is handed out"

    # The stage builder: what the collection asks for, with and without what the wheel is.
    assert asked(context, tmp_path) == {"redis-baton", "ca-certificates"}
    left_out = context / "_build" / "exclude-requirements.txt"
    assert asked(context, tmp_path, "--exclude-pip-reqs", str(left_out)) == {"ca-certificates"}


def asked(context: Path, folder: Path, *options: str) -> set[str]:
    """Return the packages that ansible-builder finds the installed collections to need."""
    script = context / "_build" / "scripts" / "introspect.py"
    found = [folder / "requirements.txt", folder / "bindep.txt"]
    for file in found:
        file.unlink(missing_ok=True)
    subprocess.run(
        [
            sys.executable, script, "introspect", folder / "collections", *options,
            "--write-pip", found[0], "--write-bindep", found[1],
        ],
        check=True,
        timeout=RUN_TIME,
    )  # fmt: skip
    lines = [line for file in found if file.exists() for line in file.read_text().splitlines()]
    return {line.split()[0] for line in lines if line.strip() and not line.startswith("#")}
