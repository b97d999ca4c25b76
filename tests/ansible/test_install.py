"""The role install, and what happens where it has not been run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis_baton

from tests.ansible.runner import REPOSITORY

if TYPE_CHECKING:
    from tests.ansible.runner import Ansible

INSTALLED = Path("/opt/redis-baton/bin/python")
PREFLIGHT = {"name": "use it", "baton.redis.preflight": {}, "ignore_errors": True}


@pytest.fixture
def wheel() -> Path:
    wheels = sorted((REPOSITORY / "target" / "wheels").glob("redis_baton-*.whl"))
    if not wheels:
        pytest.skip("there is no wheel in target/wheels: make wheel")
    return wheels[-1]


def test_install_puts_the_wheel_into_a_virtual_environment(
    ansible: Ansible, wheel: Path, tmp_path: Path
) -> None:
    venv = tmp_path / "installed"
    role = {
        "role": "baton.redis.install",
        "install_venv": str(venv),
        "install_python": sys.executable,
        "install_wheel": str(wheel),
    }
    checked = ansible.tasks([], "--check", roles=[role])
    assert checked.status == 0, checked.output
    assert "Make the virtual environment" in checked.changed
    assert not venv.exists()

    done = ansible.tasks([], roles=[role])
    assert done.status == 0, done.output
    program = "import redis_baton; print(redis_baton.__version__)"
    found = subprocess.run(
        [venv / "bin" / "python", "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == redis_baton.__version__

    # The second of two servers is missing, which only a module that has its library can say.
    defaults = {"login_port": 1, "source_port": 2, "journal_dir": str(tmp_path / "journal")}
    python = {"ansible_python_interpreter": str(venv / "bin" / "python")}
    again = ansible.tasks([PREFLIGHT], roles=[role], vars=python, defaults=defaults)
    assert again.changed == [], again.output
    assert again["use it"].result["reason"] == "unreachable"


@pytest.mark.skipif(INSTALLED.exists(), reason="the library is installed where modules look for it")
def test_a_missing_library_is_named_with_its_remedy(ansible: Ansible, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    python = {"ansible_python_interpreter": str(bare / "bin" / "python")}
    result = ansible.tasks([PREFLIGHT], vars=python)["use it"].result
    assert result["reason"] == "library_missing"
    assert "redis-baton" in result["msg"]
    assert result["remedy"] in result["msg"]
    assert "baton.redis.install" in result["remedy"]
