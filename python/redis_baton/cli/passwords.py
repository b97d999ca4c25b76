"""Passwords: from the environment, a file or a prompt, and never needed where all can see."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

ANY_SERVER = "REDIS_BATON_PASSWORD"
REPLICATION = "REDIS_BATON_REPLICATION_PASSWORD"
SENTINEL = "REDIS_BATON_SENTINEL_PASSWORD"

OURS = (
    ANY_SERVER,
    REPLICATION,
    SENTINEL,
    "REDIS_BATON_SOURCE_PASSWORD",
    "REDIS_BATON_TARGET_PASSWORD",
)

_taken: dict[str, str] = {}
_read: dict[Path, str] = {}


def of_side(side: str) -> str:
    """Return the variable for the source's or the target's password."""
    return f"REDIS_BATON_{side.upper()}_PASSWORD"


def from_environment(name: str) -> str | None:
    """Take a password out of the environment, which hooks would inherit."""
    if name in os.environ:
        _taken[name] = os.environ.pop(name)
    return _taken.get(name)


def take_ours() -> None:
    """Take all of them out, also those that nobody will need."""
    for name in OURS:
        from_environment(name)


def from_file(path: Path) -> str:
    """Return the first line of a file; raises `ValueError` with what is wrong with it.

    Each is read once: a pipe has nothing for a second server.
    """
    if path not in _read:
        _read[path] = _first_line(path)
    return _read[path]


def _first_line(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ValueError(f"{path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} can't be read: it is not UTF-8") from None
    if not lines or not lines[0]:
        raise ValueError(f"{path} is empty")
    return lines[0]


def asked(of: str) -> str | None:
    """Ask at the terminal; nothing typed is no password."""
    if not sys.stdin.isatty():
        raise click.UsageError("--ask-password needs a terminal")
    text: str = click.prompt(
        f"Password of {of}", default="", hide_input=True, show_default=False, err=True
    )
    return text or None
