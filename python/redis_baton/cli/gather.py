"""Options that may be given several times, gathered into the one value that a step takes."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterable

MOMENTS = ("before", "paused", "promoted", "after", "undone")
CRITERIA = ("kinds", "users", "names", "addresses", "libraries")
WAYS = ("takeover", "none", "relay", "haproxy", "sentinel")
# Of the options of a redirect, those that are lists, and those that are no text.
LISTS = ("sockets", "frontends", "backends", "source_servers", "target_servers", "sentinels")
FLAGS = {"yes": True, "true": True, "no": False, "false": False}


def pairs(given: Iterable[str], option: str) -> list[tuple[str, str]]:
    """Return `NAME=VALUE` taken apart."""
    found = []
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{one!r} is not NAME=VALUE", param_hint=option)
        found.append((name, value))
    return found


def parameters(given: Iterable[str], option: str) -> dict[str, str | list[str]]:
    """Return parameters of a server; one that is given again has several lines."""
    found: dict[str, list[str]] = {}
    for name, value in pairs(given, option):
        found.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def selection(given: Iterable[str], option: str) -> dict[str, list[str]]:
    """Return whom `clients` is to disconnect."""
    found: dict[str, list[str]] = {}
    for criterion, pattern in pairs(given, option):
        _one_of(criterion, CRITERIA, option)
        found.setdefault(criterion, []).append(pattern)
    return found


def hooks(given: Iterable[str], option: str) -> dict[str, list[str]]:
    """Return commands by their moments, in words as a shell takes them apart."""
    found: dict[str, list[str]] = {}
    for moment, command in pairs(given, option):
        _one_of(moment, MOMENTS, option)
        try:
            found[moment] = shlex.split(command)
        except ValueError as error:
            raise click.BadParameter(f"{moment}: {error}", param_hint=option) from None
    return found


def redirect(way: str, given: Iterable[str], option: str) -> str | dict[str, Any]:
    """Return the way and its options: `idle=600`, `tls.ca_certs=/etc/ca.pem`.

    What is a list is given one by one.
    """
    options: dict[str, Any] = {}
    for name, value in pairs(given, option):
        place, _, inner = name.rpartition(".")
        into = options.setdefault(place, {}) if place else options
        if inner in LISTS:
            into.setdefault(inner, []).append(value)
        elif inner == "idle":
            into[inner] = _whole(value, option)
        elif inner == "validate_certs":
            into[inner] = FLAGS[_one_of(value, FLAGS, option)]
        else:
            into[inner] = value
    return {way: options} if options else way


def _whole(text: str, option: str) -> int:
    if not text.isdecimal():
        raise click.BadParameter(f"{text!r} is not a whole number", param_hint=option)
    return int(text)


def _one_of(word: str, words: Iterable[str], option: str) -> str:
    if word not in words:
        raise click.BadParameter(f"{word!r} is none of {', '.join(words)}", param_hint=option)
    return word
