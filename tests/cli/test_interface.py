"""The command has what the steps have: nothing drifts apart."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import redis_baton as rb
from redis_baton.cli import codes, gather, parameters, servers
from redis_baton.cli.app import cli
from redis_baton.cli.command import VerbCommand
from redis_baton.cli.verbs import VERBS

from tests.cli.common import COLUMNS, COMMAND, baton, environment

STUB = Path(rb.__file__).with_name("_core.pyi")
STEPS = {
    name: value
    for name, value in vars(rb).items()
    if name in rb.__all__ and callable(value) and not isinstance(value, type)
}
# The names that the stub has for what a Choice offers.
CHOICES = {
    "appendfsync": "_Fsync",
    "by": "_By",
    "level": "_Level",
    "mode": "_Mode",
    "until": "_Step",
}


def named(verb: Any) -> str:  # noqa: ANN401 # a verb
    return str(verb.name)


def command_of(name: str) -> VerbCommand:
    found = cli.commands[name]
    assert isinstance(found, VerbCommand)
    return found


def test_each_step_is_a_verb() -> None:
    assert sorted(STEPS) == sorted({verb.step for verb in VERBS})


@pytest.mark.parametrize("verb", VERBS, ids=named)
def test_each_parameter_is_an_option(verb: Any) -> None:  # noqa: ANN401
    wanted = set(inspect.signature(STEPS[verb.step]).parameters)
    given = {parameter.name for parameter in command_of(verb.name).params}
    assert wanted - given == wanted & {"replication_password", "on_event"}


def test_no_option_is_left_over() -> None:
    used = {name for step in STEPS.values() for name in parameters.parameters_of(step)}
    assert set(parameters.WISHES) == used


def test_what_is_not_given_is_left_to_the_step() -> None:
    """The defaults are the step's own: none is written down a second time."""
    for verb in VERBS:
        given = command_of(verb.name).make_context(verb.name, []).params
        for name in parameters.parameters_of(STEPS[verb.step]):
            assert given[name] in (None, ()), (verb.name, name)


def test_the_words_are_those_of_the_steps() -> None:
    literals = {
        node.target.id: ast.literal_eval(node.value.slice)
        for node in ast.walk(ast.parse(STUB.read_text(encoding="utf-8")))
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(node.value, ast.Subscript)
        and ast.unparse(node.value.value) == "Literal"
    }
    for name, literal in CHOICES.items():
        kind = parameters.WISHES[name].type
        assert isinstance(kind, click.Choice)
        offered = [str(word).replace("-", "_") for word in kind.choices]
        assert offered == list(literals[literal]), name
    assert sorted(literals["_Moment"]) == sorted(gather.MOMENTS)
    assert sorted(literals["_Criterion"]) == sorted(gather.CRITERIA)


def test_how_to_come_in_is_the_endpoint_s() -> None:
    wanted = set(inspect.signature(rb.Endpoint.from_url).parameters) - {"url", "user", "password"}
    assert set(servers.OF_LOGIN) == wanted
    assert {option.name for option in servers.OPTIONS} == wanted | {"password_file", "ask_password"}


def test_help_is_for_80_columns() -> None:
    for name, command in cli.commands.items():
        told = command.get_help(click.Context(command, info_name=name, max_content_width=COLUMNS))
        for line in told.splitlines():
            assert len(line) <= COLUMNS or line.lstrip().startswith("$"), line
        for code, meaning in codes.MEANINGS.items():
            said = re.sub(r"\s+", " ", told)
            assert name == "completion" or f"{int(code)} {meaning}" in said
    told_all = baton("--help")
    assert (told_all.status, told_all.err) == (0, "")
    assert all(len(line) <= COLUMNS for line in told_all.out.splitlines())
    assert all(f"  {verb.name} " in told_all.out for verb in VERBS)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    script = baton("completion", shell)
    assert (script.status, script.err) == (0, "")
    assert f"_REDIS_BATON_COMPLETE={shell}_complete" in script.out


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("redis-baton sw", "switchover"), ("redis-baton verify --lev", "--level")],
)
def test_completion_offers(typed: str, offered: str) -> None:
    done = subprocess.run(
        [COMMAND],
        env=environment(
            _REDIS_BATON_COMPLETE="bash_complete",
            COMP_WORDS=typed,
            COMP_CWORD=str(len(typed.split()) - 1),
        ),
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert f",{offered}\n" in done.stdout


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_what_is_missing_is_named(missing: str) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from redis_baton.cli import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=20
    )
    assert done.returncode == 1
    assert f"'{missing}'" in done.stderr
    assert "pip install 'redis-baton[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_verb_it_helps() -> None:
    done = baton()
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("Usage: redis-baton")
