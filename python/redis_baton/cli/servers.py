"""Which servers are meant: a URL, `HOST:PORT`, or a name in the file of `--config`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from redis_baton import Endpoint, InvalidInput

from . import passwords
from .kinds import DURATION
from .output import err

if TYPE_CHECKING:
    from .settings import Settings

FORMS = "redis://HOST:PORT, rediss:// (TLS), unix:///PATH or redis+sentinel://HOST:PORT/NAME"
HOW_TO_LOG_IN = (
    f"A user goes into the URL (redis://USER@HOST:PORT), a password into ${passwords.ANY_SERVER}, "
    "--password-file, --ask-password or the file of --config."
)
HOST_PORT = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:/@\[\]]+):\d{1,5}")

# How to come in; each name is a parameter of Endpoint.from_url, but for the two about passwords.
OPTIONS: list[click.Option] = [
    click.Option(
        ["--password-file"],
        type=click.Path(),
        metavar="FILE",
        help=f"a file whose first line is the password of both [default: ${passwords.ANY_SERVER}]",
    ),
    click.Option(["--ask-password"], is_flag=True, help="ask for the password of each server"),
    click.Option(
        ["--ca-certs"], type=click.Path(), metavar="FILE", help="the authorities to trust"
    ),
    click.Option(
        ["--client-cert-file"], type=click.Path(), metavar="FILE", help="our own certificate"
    ),
    click.Option(["--client-key-file"], type=click.Path(), metavar="FILE", help="its key"),
    click.Option(
        ["--validate-certs/--no-validate-certs"],
        default=None,
        help="whether the server's certificate must be valid [default: yes]",
    ),
    click.Option(
        ["--connect-timeout"],
        type=DURATION,
        metavar="TIME",
        help="how long to wait for a connection [default: 5s]",
    ),
]
# The same that Endpoint.from_url takes.
OF_LOGIN = (
    "ca_certs",
    "client_cert_file",
    "client_key_file",
    "validate_certs",
    "connect_timeout",
)


def endpoint(side: str, given: str | None, options: dict[str, Any], settings: Settings) -> Endpoint:
    """Return the server for one of `source`, `target` and `server`."""
    name = given if given is not None else settings.named(side)
    if name is None:
        raise click.UsageError(f"{side.upper()} is missing: which server is it?")
    url, login = _found(side, name, options, settings)
    if options.get("ask_password"):
        login["password"] = passwords.asked(f"the {side} ({_shown(url)})")
    elif "password" not in login and not _has_password(url):
        login["password"] = _password(side, options)
    return _endpoint(side, url, login)


def for_probe(given: str, options: dict[str, Any], settings: Settings) -> Endpoint:
    """Return the address for the probe, which without a login has the source's."""
    url, login = _found("probe", given, options, settings)
    return _endpoint("probe", url, login)


def _endpoint(side: str, url: str, login: dict[str, Any]) -> Endpoint:
    """Make it; what is wrong with it is said with whose it is."""
    user = login.get("user") or _part(url, "username")
    if user and not login.get("password") and not _part(url, "password"):
        # What stands there may be the password, so it is not shown.
        raise click.UsageError(
            f"{side.upper()}: a user was given without a password "
            f"(a password alone is redis://:PASSWORD@HOST). {HOW_TO_LOG_IN}"
        )
    try:
        return Endpoint.from_url(url, **login)
    except InvalidInput as error:
        found = str(error).removesuffix(" (unchanged)")
        raise click.UsageError(f"{side.upper()}: {found}") from None


def _found(
    what: str, name: str, options: dict[str, Any], settings: Settings
) -> tuple[str, dict[str, Any]]:
    """Return the URL of what was named, and how to come in as far as that was said."""
    login = {key: value for key, value in options.items() if key in OF_LOGIN and value is not None}
    named = settings.server(name)
    if named is not None:
        url: str = named.pop("url")
        return url, {**named, **login}
    url = _url(what, name, settings)
    if _has_password(url):
        err(
            f"warning: everybody on this host can see the password in the URL of the {what}; "
            f"${passwords.ANY_SERVER}, --password-file or --ask-password keep it out of sight"
        )
    return url, login


def _url(side: str, given: str, settings: Settings) -> str:
    if "://" in given:
        return given
    if HOST_PORT.fullmatch(given):
        return f"redis://{given}"
    where = f"a server in {settings.path}" if settings.path else "a name, without --config"
    raise click.UsageError(
        f"{side.upper()}: {_shown(given)!r} is neither HOST:PORT nor a URL ({FORMS}) nor {where}"
    )


def _password(side: str, options: dict[str, Any]) -> str | None:
    file = options.get("password_file")
    if file is not None:
        try:
            return passwords.from_file(Path(file))
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--password-file") from None
    general = passwords.from_environment(passwords.ANY_SERVER)
    own = passwords.from_environment(passwords.of_side(side)) if side != "server" else None
    return own if own is not None else general


def _has_password(url: str) -> bool:
    return _part(url, "password") is not None


def _part(url: str, part: str) -> str | None:
    try:
        found: str | None = getattr(urlsplit(url), part)
    except ValueError:  # no URL at all, which the core says best
        return None
    return found


def _shown(url: str) -> str:
    # Up to the last @: a password that should have been encoded may hold anything.
    return re.sub(r"(//|^).*@", r"\1", url)
