"""Fixtures for tests of the collection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.ansible.runner import TOOLS, Ansible

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def ansible(tmp_path: Path) -> Ansible:
    """Run playbooks with this interpreter's ansible-playbook."""
    if not (TOOLS / "ansible-playbook").exists():
        pytest.skip("there is no Ansible for this Python (it needs 3.11 or newer)")
    folder = tmp_path / "ansible"
    folder.mkdir()
    return Ansible(folder)
