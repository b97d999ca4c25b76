"""The command line: reads it, runs the step, and ends with the status that says how that ended."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import get_completion_class

from redis_baton import BatonError, __version__

from .codes import Exit, status_of
from .command import Group, VerbCommand
from .output import err, out
from .parameters import as_typed
from .perform import NotConfirmed, Stopped, perform
from .servers import HOW_TO_LOG_IN
from .stop import Stop
from .verbs import VERBS

if TYPE_CHECKING:
    from .verbs import Verb

SHELLS = ("bash", "zsh", "fish")
# As a step that was stopped says it: at the end, since before it may stand what another one said.
STATE = re.compile(r"\((unchanged|undone|interrupted)[^()]*\)$")


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    no_args_is_help=True,
)
@click.version_option(__version__, prog_name="redis-baton")
def cli() -> None:
    """Replace a live Redis or Valkey by another one without losing an acknowledged write.

    SOURCE is the live master to be replaced, TARGET the new, empty one. An upgrade ends with the
    new server serving everything, or with the old one serving as before; and the same command can
    be run again at any time.
    """


@cli.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print what makes a shell complete this command.

    For bash: eval "$(redis-baton completion bash)" in ~/.bashrc, likewise for zsh. For fish: into
    ~/.config/fish/completions/redis-baton.fish.
    """
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"there is no completion for {shell}")
    click.echo(found(cli, {}, "redis-baton", "_REDIS_BATON_COMPLETE").source())


def _add(verb: Verb) -> None:
    def callback(**values: Any) -> int:  # noqa: ANN401 # as click has them
        return perform(verb, values, VERBS, click.get_current_context().obj)

    cli.add_command(VerbCommand(verb, callback))


for _verb in VERBS:
    _add(_verb)
cli.add_command(cli.commands.pop("completion"))  # the last in the list


# What click since 8.2 says of a command without arguments: its help. Before, that was no error.
NO_ARGUMENTS: tuple[type[Exception], ...] = tuple(
    filter(None, [getattr(click.exceptions, "NoArgsIsHelpError", None)])
)


def run(arguments: list[str]) -> int:
    """Run one command, and return its exit status."""
    stop = Stop()
    as_json = "--json" in arguments
    try:
        status = _run(arguments, stop)
    except BatonError as error:
        _fail(_facts(error), as_json=as_json)
        if error.reason == "auth_failed":
            err(HOW_TO_LOG_IN)
        status = status_of(error)
    except click.ClickException as error:
        if isinstance(error, NO_ARGUMENTS):
            err(error.format_message())
        else:
            if isinstance(error, click.UsageError) and error.ctx is not None:
                err(f"{error.ctx.command_path} --help says what there is.")
            # Click lists choices in lines.
            message = " ".join(error.format_message().split())
            _fail(_of_itself("invalid_input", message), as_json=as_json)
        status = Exit.USAGE
    except NotConfirmed as error:
        _fail(_of_itself("not_agreed", str(error)), as_json=as_json)
        status = Exit.REFUSED
    except Stopped as error:
        state = STATE.search(str(error))
        facts = _of_itself("cancelled", str(error), state[1] if state else "interrupted")
        _fail(facts, as_json=as_json)
        status = 128 + stop.signal
    except (KeyboardInterrupt, click.Abort):
        # At a question, or in another place before a step that may send anything.
        _fail(_of_itself("cancelled", "stopped, nothing was sent (unchanged)"), as_json=as_json)
        status = 128 + stop.signal
    stop.listen_no_more()
    return int(status)


def _run(arguments: list[str], stop: Stop) -> int:
    try:
        done = cli.main(arguments, prog_name="redis-baton", standalone_mode=False, obj=stop)
    finally:
        # What is left is to say how it ended.
        stop.raises = False
    return done if isinstance(done, int) else Exit.DONE


def _facts(error: BatonError) -> dict[str, Any]:
    return {
        "reason": error.reason,
        "server": error.server,
        "state": error.state,
        "remedy": error.remedy,
        "message": str(error),
        "actions": error.actions,
    }


def _of_itself(reason: str, message: str, state: str = "unchanged") -> dict[str, Any]:
    """Return an error that is not a step's."""
    return {
        "reason": reason,
        "server": None,
        "state": state,
        "remedy": "",
        "message": message,
        "actions": [],
    }


def _fail(facts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        out(json.dumps({"error": facts}, indent=2))
    err(f"redis-baton: {as_typed(facts['message'])}")
