"""What is handed out: the wheel, what it asks for and what is in it."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis_baton

if TYPE_CHECKING:
    from email.message import Message

REPOSITORY = Path(__file__).parents[1]
PYTHONS = [f"python3.{minor}" for minor in range(9, 15)]
RUN_TIME = 100


@pytest.fixture(scope="module")
def handed_out() -> Path:
    """Return the wheel that `make dist-wheel` has built."""
    [found] = (REPOSITORY / "dist").glob("*.whl")
    return found


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return message_from_bytes(archive.read(name))


@pytest.fixture(scope="module")
def components(wheel: Path) -> list[dict[str, Any]]:
    """Return the crates that are in it, as its bill of materials has them."""
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".cyclonedx.json")]
        found: list[dict[str, Any]] = json.loads(archive.read(name))["components"]
        return found


def test_there_is_one_version(metadata: Message) -> None:
    """It stands in Cargo.toml."""
    crate = (REPOSITORY / "Cargo.toml").read_text("utf-8")
    collection = REPOSITORY / "ansible/ansible_collections/baton/redis/galaxy.yml"
    changelog = (REPOSITORY / "CHANGELOG.md").read_text("utf-8")
    said = {
        "wheel": metadata["Version"],
        "module": redis_baton.__version__,
        "collection": re.findall(r"^version: (.*)$", collection.read_text("utf-8"), re.MULTILINE)[
            0
        ],
        "changelog": re.findall(r"^## \[([\d.]+)\]", changelog, re.MULTILINE)[0],
    }
    assert set(said.values()) == set(re.findall(r'^version = "(.*)"$', crate, re.MULTILINE)), said


def test_the_wheel_asks_for_nothing(metadata: Message) -> None:
    asked: list[str] = metadata.get_all("Requires-Dist") or []
    assert asked
    assert all("extra == 'cli'" in one for one in asked), asked
    names = {re.split(r"[^\w-]", one)[0] for one in asked}
    assert names == {"click", "rich", "tomli"}


def wheel_for(processor: str) -> str:
    """Return what `make dist-wheel` calls it."""
    platforms = f"manylinux2014_{processor}.manylinux_2_17_{processor}"
    return f"redis_baton-{redis_baton.__version__}-cp39-abi3-{platforms}.whl"


def test_pages_call_the_wheel_by_its_name() -> None:
    pages = [*REPOSITORY.glob("*.md")]
    for folder in ("docs", "ansible"):
        pages += (REPOSITORY / folder).rglob("*.md")
    named = [
        name
        for page in pages
        for name in re.findall(r"redis_baton-\d[\w.+-]*\.whl", page.read_text("utf-8"))
    ]
    assert len(named) > 1
    assert set(named) == {wheel_for("x86_64")}


def test_it_is_for_every_python_since_3_9(wheel: Path, metadata: Message) -> None:
    assert "-cp39-abi3-manylinux" in wheel.name
    assert metadata["Requires-Python"] == ">=3.9"


def test_the_licences_of_what_is_in_it_are_listed(components: list[dict[str, Any]]) -> None:
    allowed = re.findall(
        r'^    "(.*)",$', (REPOSITORY / "deny.toml").read_text("utf-8"), re.MULTILINE
    )
    assert len(components) > 50
    for one in components:
        said = {said["expression"] for said in one.get("licenses", []) if "expression" in said}
        assert said, one["name"]
        # One of several that may be chosen has to be allowed; of those that hold together, each.
        for expression in said:
            choices = re.split(r"\s+OR\s+|/", expression.replace("(", "").replace(")", ""))
            assert any(
                all(part.strip() in allowed for part in choice.split(" AND ")) for choice in choices
            ), (one["name"], expression)


@pytest.mark.long
def test_what_is_handed_out_runs_on_every_glibc_since_2_17(handed_out: Path) -> None:
    assert handed_out.name == wheel_for(platform.machine())
    audit = [sys.executable, "-m", "auditwheel", "show", str(handed_out)]
    said = subprocess.run(audit, check=True, capture_output=True, text=True, timeout=RUN_TIME)
    [minor] = re.findall(r'platform\s+tag:\s+"manylinux_2_(\d+)_', said.stdout)
    assert int(minor) <= 17, said.stdout


@pytest.mark.long
def test_the_licences_of_the_crates_are_passed_on(
    handed_out: Path, components: list[dict[str, Any]]
) -> None:
    with zipfile.ZipFile(handed_out) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("/licenses/crates.txt")]
        text = archive.read(name).decode()
    crates = re.findall(r"^(\S+ \S+): ", text, re.MULTILINE)
    assert crates == [f"{one['name']} {one['version']}" for one in components]
    assert text.count("Permission is hereby granted") > 10


def found(python: str) -> str | None:
    """Return one that runs: version managers put shims on PATH for versions that do not."""
    managed = Path.home().glob(f".pyenv/versions/{python.removeprefix('python')}.*/bin/{python}")
    for program in [shutil.which(python), *map(str, managed)]:
        asks = [str(program), "-c", "import venv, ensurepip"]
        if program and not subprocess.run(asks, check=False, capture_output=True).returncode:
            return program
    return None


@pytest.mark.long
@pytest.mark.parametrize("python", PYTHONS)
def test_it_installs_and_runs_by_itself(python: str, handed_out: Path, tmp_path: Path) -> None:
    program = found(python)
    if program is None:
        pytest.skip(f"{python} is not on this machine")
    subprocess.run([program, "-m", "venv", tmp_path / "venv"], check=True, timeout=RUN_TIME)
    inside = tmp_path / "venv" / "bin" / "python"
    install = [str(inside), "-m", "pip", "install", "--quiet", "--no-index", str(handed_out)]
    subprocess.run(install, check=True, timeout=RUN_TIME)
    asks = [str(inside), "-c", "import redis_baton as rb; print(rb.__version__, *rb.__all__)"]
    said = subprocess.run(asks, check=True, capture_output=True, text=True, timeout=RUN_TIME).stdout
    assert said.split() == [redis_baton.__version__, *redis_baton.__all__]
    command = subprocess.run(
        [inside.with_name("redis-baton"), "--help"],
        check=False, capture_output=True, text=True, timeout=RUN_TIME,
    )  # fmt: skip
    assert command.returncode == 1
    assert "redis-baton[cli]" in command.stderr
    assert "Traceback" not in command.stderr


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_source_builds(tmp_path: Path) -> None:
    """As whoever has no wheel for his machine installs it."""
    maturin = [sys.executable, "-m", "maturin", "sdist", "--out", str(tmp_path)]
    subprocess.run(maturin, cwd=REPOSITORY, check=True, capture_output=True, timeout=RUN_TIME)
    [source] = tmp_path.glob("*.tar.gz")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True, timeout=RUN_TIME)
    inside = tmp_path / "venv" / "bin" / "python"
    subprocess.run(
        [inside, "-m", "pip", "install", "--quiet", source],
        env={
            **os.environ,
            "CARGO_TARGET_DIR": str(tmp_path / "target"),
            "PYO3_PYTHON": str(inside),
        },
        check=True,
        timeout=800,
    )
    asks = [str(inside), "-c", "import redis_baton; print(redis_baton.__version__)"]
    said = subprocess.run(asks, check=True, capture_output=True, text=True, timeout=RUN_TIME).stdout
    assert said.strip() == redis_baton.__version__
