"""The file of `--config`: servers with their names, and options of the verbs. In TOML."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from . import passwords
from .parameters import ARGUMENTS, WISHES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SERVER_KEYS: dict[str, type] = {
    "url": str,
    "user": str,
    "password_file": str,
    "password_env": str,
    "validate_certs": bool,
    "ca_certs": str,
    "client_cert_file": str,
    "client_key_file": str,
    "connect_timeout": float,
}
PATHS = ("password_file", "ca_certs", "client_cert_file", "client_key_file")
# What is looked at in place of a verb that has no section.
SPELLED = {"plan": "upgrade"}
SIDES = ("source", "target", "server")
KINDS = {str: "a text", bool: "true or false", float: "a number", dict: "a table"}


class SettingsError(click.UsageError):
    """The file is wrong, in one sentence that names it and the key."""


class Settings:
    """What the file says. Without one it says nothing."""

    def __init__(self, path: Path | None, verbs: dict[str, set[str]]) -> None:
        """Read it; `verbs` has the options of each step."""
        self.path = path
        self._data: dict[str, Any] = {} if path is None else _read(path)
        if path is not None:
            self._check(verbs)

    def _check(self, verbs: dict[str, set[str]]) -> None:
        anywhere = set().union(*verbs.values())
        for name, content in self._data.items():
            if name in SIDES:
                self._has_type(name, content, str)
                continue
            allowed = anywhere if name == "options" else verbs.get(name)
            if name != "servers" and allowed is None:
                section = SPELLED.get(name, name.replace("-", "_"))
                hint = f"; it is [{section}]" if section in verbs else ""
                raise self.wrong(name, f"is not known{hint}")
            self._has_type(name, content, dict)
            for key, value in content.items():
                if name == "servers":
                    self._check_server(key, value)
                elif allowed is not None and key not in allowed | _secret_keys(
                    "replication_password"
                ):
                    raise self.wrong(f"{name}.{key}", "is not known")

    def _check_server(self, name: str, content: object) -> None:
        self._has_type(f"servers.{name}", content, dict)
        assert isinstance(content, dict)  # noqa: S101 # for the type checker
        for key, value in content.items():
            place = f"servers.{name}.{key}"
            if key not in SERVER_KEYS:
                hint = "; use password_file or password_env" if key == "password" else ""
                raise self.wrong(place, f"is not known{hint}")
            self._has_type(place, value, SERVER_KEYS[key])
        if "url" not in content:
            raise self.wrong(f"servers.{name}.url", "is missing")

    def _has_type(self, key: str, value: object, wanted: type) -> None:
        if wanted is float and isinstance(value, int) and not isinstance(value, bool):
            return
        if not isinstance(value, wanted):
            raise self.wrong(key, f"is not {KINDS[wanted]}")

    def wrong(self, key: str, problem: str) -> SettingsError:
        """Return the error about a key."""
        return SettingsError(f"{self.path}: {key} {problem}")

    def named(self, side: str) -> str | None:
        """Return which server is the source, the target, or the only one."""
        found: str | None = self._data.get(side)
        return found

    def server(self, name: str) -> dict[str, Any] | None:
        """Return a server, its files by whole paths and its password found."""
        servers: dict[str, dict[str, Any]] = self._data.get("servers", {})
        if name not in servers or self.path is None:
            return None
        found = dict(servers[name])
        for key in PATHS:
            if key in found:
                found[key] = str(self.path.parent / Path(found[key]).expanduser())
        password = self._secret(found, "password", f"servers.{name}")
        return {**found, "password": password} if password is not None else found

    def options(self, verb: str, names: set[str]) -> dict[str, Any]:
        """Return the options for a verb, its own section before the common one."""
        section = verb.replace("-", "_")
        found: dict[str, Any] = {}
        for place in ("options", section):
            content = dict(self._data.get(place, {}))
            if "replication_password" in names:
                secret = self._secret(content, "replication_password", place)
                if secret is not None:
                    found["replication_password"] = secret
            for key in names & set(content):
                found[key] = self._value(section, key, content[key], f"{place}.{key}")
        return found

    def _value(self, verb: str, name: str, value: Any, place: str) -> Any:  # noqa: ANN401 # what TOML has
        wish = WISHES[name]
        if name == "redirect":
            return self._redirect(value, place)
        if wish.gathers is not None:
            self._has_type(place, value, dict)
            return value
        if name == "probe" and isinstance(value, str):
            return value  # an address
        if wish.type is None or (verb, name) in ARGUMENTS:
            self._has_type(place, value, bool if wish.type is None else str)
        if wish.type is None:
            return value
        if isinstance(value, (dict, list, bool)):
            raise self.wrong(place, f"{value!r} is not {wish.metavar or 'a word'}")
        try:
            return wish.type.convert(value, None, None)
        except click.UsageError as error:
            raise self.wrong(place, f"can't be used: {error.message}") from None

    def _redirect(self, value: object, place: str) -> object:
        if not isinstance(value, dict):
            self._has_type(place, value, str)
            return value
        ways = {}
        for way, options in value.items():
            self._has_type(f"{place}.{way}", options, dict)
            given = dict(options)
            secret = self._secret(given, "password", f"{place}.{way}")
            ways[way] = given if secret is None else {**given, "password": secret}
        return ways

    def _secret(self, content: dict[str, Any], name: str, place: str) -> str | None:
        """Take `NAME_file` or `NAME_env` out, and return what it leads to."""
        file, env = content.pop(f"{name}_file", None), content.pop(f"{name}_env", None)
        if file is not None and env is not None:
            raise self.wrong(f"{place}.{name}_env", f"can't go with {name}_file")
        if env is not None:
            self._has_type(f"{place}.{name}_env", env, str)
            found = passwords.from_environment(env)
            if found is None:
                raise self.wrong(f"{place}.{name}_env", f"names {env}, which is not set")
            return found
        if file is None or self.path is None:
            return None
        self._has_type(f"{place}.{name}_file", file, str)
        try:
            return passwords.from_file(self.path.parent / Path(file).expanduser())
        except ValueError as error:
            raise self.wrong(f"{place}.{name}_file", f"is of no use: {error}") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: can't be read: {_reason(error)}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        # The line itself may hold a secret; what the parser says of it does not.
        raise SettingsError(f"{path}: is not TOML: {error}") from None


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else "it is not UTF-8"


def _secret_keys(name: str) -> set[str]:
    return {f"{name}_file", f"{name}_env"}
