"""The page on the command line: what each verb's own help says."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "redis-baton"
HEAD = f"# The command `{NAME}`\n\n"


def text() -> str:
    """Return the page; where the command is not installed, what says so."""
    command = _command()
    if command is None:
        return HEAD + f"`{NAME} --help` lists its verbs, `{NAME} VERB --help` the options of one.\n"
    import click  # noqa: PLC0415 # it comes with the command

    context = click.Context(command, info_name=NAME, max_content_width=96, terminal_width=96)
    return HEAD + "".join(_sections(command, context))


def _command() -> Any:  # noqa: ANN401 # a click.Group, if click is here
    """Return the command, wherever the package keeps it."""
    try:
        package = importlib.import_module("redis_baton.cli")
        import click  # noqa: PLC0415
    except ImportError:
        return None
    for module in [package, *_parts(package)]:
        for one in vars(module).values():
            if isinstance(one, click.Group):
                return one
    return None


def _parts(package: Any) -> Iterator[Any]:  # noqa: ANN401 # modules
    for path in sorted(Path(package.__file__).parent.glob("[!_]*.py")):
        yield importlib.import_module(f"{package.__name__}.{path.stem}")


def _sections(command: Any, context: Any) -> Iterator[str]:  # noqa: ANN401
    yield f"```text\n{command.get_help(context)}\n```\n"
    for name in command.list_commands(context):
        verb = command.get_command(context, name)
        inner = type(context)(
            verb, info_name=name, parent=context, max_content_width=96, terminal_width=96
        )
        yield f"\n## {name}\n\n```text\n{verb.get_help(inner)}\n```\n"


if __name__ == "__main__":
    sys.stdout.write(text())
