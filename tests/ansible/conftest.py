"""Fixtures for tests of the collection."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.ansible.runner import COLLECTION, TOOLS, Ansible

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the collection as it is handed out."""
    if not (TOOLS / "ansible-galaxy").exists():
        pytest.skip("there is no Ansible for this Python (it needs 3.11 or newer)")
    folder = tmp_path_factory.mktemp("tarball")
    galaxy = [str(TOOLS / "ansible-galaxy"), "collection", "build"]
    subprocess.run([*galaxy, COLLECTION, "--output-path", folder], check=True, timeout=60)
    [built] = folder.iterdir()
    return built


@pytest.fixture
def ansible(tmp_path: Path) -> Ansible:
    """Run playbooks with this interpreter's ansible-playbook."""
    if not (TOOLS / "ansible-playbook").exists():
        pytest.skip("there is no Ansible for this Python (it needs 3.11 or newer)")
    folder = tmp_path / "ansible"
    folder.mkdir()
    return Ansible(folder)
