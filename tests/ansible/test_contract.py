"""The collection, the library and their documentation say the same."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
import redis_baton

from tests.ansible.runner import COLLECTION, COLLECTIONS, TOOLS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODULES = sorted(path.stem for path in (COLLECTION / "plugins" / "modules").glob("*.py"))
SERVERS_AND_MODE = {"source", "target", "server", "dry_run", "on_event"}
CONNECTION = {
    prefix + name
    for name in inspect.signature(redis_baton.Endpoint).parameters
    for prefix in ("", "login_", "source_")
} - {"user"}  # who runs the server of a launch
ROLES = sorted(path.name for path in (COLLECTION / "roles").iterdir())
# What Ansible adds.
WITH_EVERY_RESULT = {"changed", "failed", "skipped", "msg"}
# One argument of the step: a word, or a mapping of one to its options.
REDIRECT = {"redirect", "haproxy", "sentinel", "relay"}
# Whether a result is a failure is left to the caller in Python.
OUR_OWN = {"preflight": {"fail"}}

Options = dict[str, dict[str, Any]]


def documentation(*what: str) -> dict[str, Any]:
    if not (TOOLS / "ansible-doc").exists():
        pytest.skip("there is no Ansible for this Python (it needs 3.11 or newer)")
    done = subprocess.run(
        [TOOLS / "ansible-doc", "--json", *what],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def modules() -> dict[str, Options]:
    found = documentation("-t", "module", *(f"baton.redis.{name}" for name in MODULES))
    return {name: found[f"baton.redis.{name}"]["doc"]["options"] for name in MODULES}


def test_there_is_a_module_per_step() -> None:
    steps = {
        name
        for name in redis_baton.__all__
        if inspect.isroutine(getattr(redis_baton, name)) and name.islower()
    }
    assert set(MODULES) == steps


def test_each_module_is_in_an_action_group_and_has_an_integration_target() -> None:
    runtime = (COLLECTION / "meta" / "runtime.yml").read_text("utf-8")
    assert sorted(re.findall(r"^    - (\w+)$", runtime, re.MULTILINE)) == MODULES
    targets = COLLECTION / "tests" / "integration" / "targets"
    names = {path.name.removesuffix("_module") for path in targets.iterdir()}
    assert names - {"setup_redis"} == set(MODULES)


def test_the_readme_names_each_module_role_and_playbook() -> None:
    readme = (COLLECTION / "README.md").read_text("utf-8")
    listed = re.findall(r"^\| (module|role|playbook) \[?`([\w.]+)`", readme, re.MULTILINE)
    there = {("module", name) for name in MODULES}
    there |= {("role", path.name) for path in (COLLECTION / "roles").iterdir()}
    there |= {
        ("playbook", f"baton.redis.{path.stem}") for path in (COLLECTION / "playbooks").iterdir()
    }
    assert sorted(listed) == sorted(there)


def test_nothing_is_handed_out_that_is_not_in_the_repository(tarball: Path) -> None:
    """What tests and tools leave in the folder says where they ran."""
    git = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(git, cwd=COLLECTION, check=False, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this is no git repository")
    with tarfile.open(tarball) as archive:
        files = {member.name for member in archive.getmembers() if member.isfile()}
    assert files - set(listed.stdout.splitlines()) == {"MANIFEST.json", "FILES.json"}


def test_options_are_the_arguments_of_the_step(modules: dict[str, Options]) -> None:
    for name, options in modules.items():
        own = {
            option: about.get("default")
            for option, about in options.items()
            if option not in CONNECTION | REDIRECT | OUR_OWN.get(name, set())
        }
        arguments = inspect.signature(getattr(redis_baton, name)).parameters
        assert own == {
            # What is required has no default, which Ansible shows as None.
            argument: None if parameter.default is parameter.empty else parameter.default
            for argument, parameter in arguments.items()
            if argument not in SERVERS_AND_MODE | REDIRECT
        }, name
        assert ("redirect" in options) == ("redirect" in arguments), name


def test_variables_of_the_role_are_the_options_of_the_module(modules: dict[str, Options]) -> None:
    entry = documentation("-t", "role", "baton.redis.upgrade")["baton.redis.upgrade"]
    variables = entry["entry_points"]["main"]["options"]
    del variables["upgrade_report"]  # the role's own: it runs another module
    keep = ("type", "default", "choices")

    def contract(options: Options) -> Options:
        return {name: {key: about.get(key) for key in keep} for name, about in options.items()}

    expected = {f"upgrade_{option}": about for option, about in modules["upgrade"].items()}
    assert contract(variables) == contract(expected)


def tasks_in(node: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401  (whatever YAML holds)
    """Yield every task, those in blocks too."""
    if isinstance(node, list):
        for one in node:
            yield from tasks_in(one)
    elif isinstance(node, dict):
        yield node
        for part in ("block", "rescue", "always"):
            yield from tasks_in(node.get(part))


@pytest.mark.parametrize("role", ROLES)
def test_a_role_asks_for_facts_that_its_modules_return(role: str) -> None:
    """Some of these tasks are for what happens rarely: a host that was booted in between."""
    returned = documentation("-t", "module", *(f"baton.redis.{name}" for name in MODULES))
    import yaml  # type: ignore[import-untyped]  # noqa: PLC0415 # it comes with Ansible

    files = sorted((COLLECTION / "roles" / role / "tasks").glob("*.yml"))
    known: dict[str, set[str]] = {}
    for task in (one for path in files for one in tasks_in(yaml.safe_load(path.read_text()))):
        for module in returned.keys() & task.keys():
            if "register" in task:
                facts = known.setdefault(task["register"], set(WITH_EVERY_RESULT))
                facts.update(returned[module]["return"])
    assert known or role == "install"
    text = "\n".join(path.read_text() for path in files)
    for name, facts in known.items():
        asked = set(re.findall(rf"\b{name}(?:\.(\w+)|\['(\w+)'\])", text))
        assert {one or other for one, other in asked} <= facts, name
