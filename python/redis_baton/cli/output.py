"""Writing the outcome: that nobody can be told any more changes nothing about it."""

from __future__ import annotations

import os
import sys

import click


def out(text: str) -> None:
    """Write to standard output: what a command is run for."""
    try:
        click.echo(text)
    except OSError as error:
        _silence(sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # who read has had enough
            err(f"redis-baton: standard output can't be written: {error.strerror}")


def err(text: str) -> None:
    """Write to standard error: all else."""
    try:
        click.echo(text, err=True)
    except OSError:
        _silence(sys.stderr.fileno())


def _silence(stream: int) -> None:
    # The interpreter would try once more at its end, and fail with a status of its own.
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
