"""The role install, and what happens where it has not been run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
import redis_baton

from tests.ansible.runner import TOOLS, Ansible, connection
from tests.ansible.test_modules import fill

if TYPE_CHECKING:
    from tests.conftest import ServerFactory

INSTALLED = Path("/opt/redis-baton")
PREFLIGHT = {"name": "use it", "baton.redis.preflight": {}, "ignore_errors": True}
# Where modules look for the library is empty for one run, and what is put there goes with it.
EMPTY_OPT = (
    "unshare", "--map-root-user", "--mount",
    "sh", "-c", 'mount -t tmpfs none /opt && exec "$@"', "sh",
)  # fmt: skip


@pytest.fixture
def collections(tarball: Path, tmp_path: Path) -> Path:
    """Install the collection as users do, from its tarball."""
    galaxy = [str(TOOLS / "ansible-galaxy"), "collection", "install"]
    folder = tmp_path / "collections"
    subprocess.run([*galaxy, tarball, "--collections-path", folder], check=True, timeout=60)
    return folder


@pytest.fixture
def elsewhere(collections: Path, tmp_path: Path) -> Ansible:
    """Run playbooks with that and an empty /opt."""
    if sys.base_prefix.startswith("/opt/"):
        unable("this Python would not be there either")
    if subprocess.run([*EMPTY_OPT, "true"], check=False, capture_output=True).returncode:
        unable("there are no namespaces to be had")
    folder = tmp_path / "ansible"
    folder.mkdir()
    return Ansible(folder, collections=collections, within=EMPTY_OPT)


def unable(why: str) -> NoReturn:
    """Skip the test, but for where nobody would see it."""
    if os.environ.get("CI"):
        pytest.fail(f"{why} (the job has to be privileged)")
    pytest.skip(why)


@pytest.fixture
def without_library(request: pytest.FixtureRequest, collections: Path, tmp_path: Path) -> Ansible:
    """Run playbooks where modules find no library."""
    if INSTALLED.exists():
        hidden: Ansible = request.getfixturevalue("elsewhere")
        return hidden
    folder = tmp_path / "ansible"
    folder.mkdir()
    return Ansible(folder, collections=collections)


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """Return the variables of a play on a Python that has nothing."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    return {"ansible_python_interpreter": str(tmp_path / "bare" / "bin" / "python")}


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


def test_modules_of_a_bare_python_go_on_in_the_one_that_install_made(
    elsewhere: Ansible, bare: dict[str, str], wheel: Path, server: ServerFactory, tmp_path: Path
) -> None:
    """A whole upgrade with nothing but the tarball of the collection and the wheel."""
    source, target = server("redis-7.0"), server("redis-8.0")
    fill(source)
    names = connection(source, target, tmp_path / "journal")
    outcome = elsewhere.tasks(
        [{"name": "look", "baton.redis.status": {}}],
        roles=[
            {
                "role": "baton.redis.install",
                "install_python": sys.executable,
                "install_wheel": str(wheel),
            },
            {
                "role": "baton.redis.upgrade",
                **{f"upgrade_{name}": value for name, value in names.items()},
                "upgrade_until": "switchover",
            },
        ],
        vars=bare,
        defaults=names,
    )
    assert outcome.status == 0, outcome.output
    assert "Install the wheel" in outcome.changed
    assert outcome["look"].result["stage"] == "switched"
    assert outcome["look"].result["warm"] is True


def test_a_missing_library_is_named_with_its_remedy(
    without_library: Ansible, bare: dict[str, str]
) -> None:
    result = without_library.tasks([PREFLIGHT], vars=bare)["use it"].result
    assert result["reason"] == "library_missing"
    assert "redis-baton" in result["msg"]
    assert result["remedy"] in result["msg"]
    assert "baton.redis.install" in result["remedy"]
