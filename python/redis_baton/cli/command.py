"""A verb as a command of click: its options in groups, an example, and how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from . import servers
from .codes import MEANINGS
from .parameters import options_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .verbs import Verb

OF_OUTPUT: list[click.Option] = [
    click.Option(
        ["--config", "config_path"],
        type=click.Path(),
        metavar="FILE",
        envvar="REDIS_BATON_CONFIG",
        help="servers and options, in TOML",
    ),
    click.Option(
        ["-y", "--yes"], is_flag=True, help="do not ask before what clients notice or is for good"
    ),
    click.Option(
        ["--json", "as_json"], is_flag=True, help="the result, or the error, as one JSON document"
    ),
    click.Option(["-q", "--quiet"], is_flag=True, help="no progress"),
    click.Option(["-v", "--verbose"], is_flag=True, help="also each command that changes a server"),
]
NOT_OF_STEP = frozenset(str(option.name) for option in (*servers.OPTIONS, *OF_OUTPUT))
FORMS = (
    "A server is HOST:PORT, a URL ({forms}), or a name in the file of --config. Name the two by "
    "the addresses they had when the upgrade began, in every command."
)


class VerbCommand(click.Command):
    """A verb."""

    def __init__(self, verb: Verb, callback: Callable[..., int]) -> None:
        """Make it from its step."""
        function = verb.function
        arguments: list[click.Parameter] = [
            click.Argument([side], required=False, metavar=f"[{side.upper()}]")
            for side in verb.sides
        ]
        self._of_step = options_of(verb.step, function)
        super().__init__(
            verb.name,
            params=[*arguments, *self._of_step, *servers.OPTIONS, *OF_OUTPUT],
            callback=callback,
            help=f"{verb.summary}\n\n{verb.text}",
            short_help=verb.summary,
        )
        self.verb = verb

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options in groups."""
        for title, options in (
            ("Options", self._of_step),
            ("Connection", servers.OPTIONS),
            ("This command", [*OF_OUTPUT, *filter(None, [self.get_help_option(ctx)])]),
        ):
            _write(title, options, ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write an example, and how it ends."""
        del ctx
        with formatter.section("Servers"):
            formatter.write_text(FORMS.format(forms=servers.FORMS))
        with formatter.section("Example"):
            # As it is typed: not wrapped.
            formatter.write(f"  $ {self.verb.example}\n")
        write_exit_statuses(formatter)


def _write(
    title: str,
    options: Sequence[click.Parameter],
    ctx: click.Context,
    formatter: click.HelpFormatter,
) -> None:
    # An argument has no line of its own: the text says what it is.
    records = [
        record
        for option in options
        if isinstance(option, click.Option) and (record := option.get_help_record(ctx)) is not None
    ]
    if records:
        with formatter.section(title):
            formatter.write_dl(records)


def write_exit_statuses(formatter: click.HelpFormatter) -> None:
    """Write what the exit status means."""
    with formatter.section("Exit status"):
        formatter.write_dl([(str(int(code)), text) for code, text in MEANINGS.items()])


class Group(click.Group):
    """The command itself: the verbs in the order in which they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 # click's signature
        """Return them as they were added."""
        return list(self.commands)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write how it ends."""
        del ctx
        with formatter.section("First"):
            formatter.write("  $ redis-baton plan redis.example:6379 redis.example:6380\n")
            formatter.write("  $ redis-baton upgrade redis.example:6379 redis.example:6380\n")
            formatter.write("  $ redis-baton VERB --help\n")
        write_exit_statuses(formatter)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Take a step's own name, too: `wait_synced` is `wait-synced`."""
        return super().resolve_command(
            ctx, [args[0].replace("_", "-"), *args[1:]] if args else args
        )
