"""The whole surface between the Rust core and Python. Checked against the module by stubtest."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, final

Event = dict[str, Any]
OnEvent = Callable[[Event], object]
Redirect = Literal["takeover", "none"]

__version__: str

@final
class Endpoint:
    """Where a server is and how to log in. Immutable; its repr never shows the password.

    ``source=`` and ``target=`` of every step take one of these or a URL (see `from_url`).
    """

    def __new__(
        cls,
        host: str = "127.0.0.1",
        port: int = 6379,
        *,
        unix_socket: str | None = None,
        user: str | None = None,
        password: str | None = None,
        tls: bool = False,
        validate_certs: bool = True,
        ca_certs: str | None = None,
        client_cert_file: str | None = None,
        client_key_file: str | None = None,
        connect_timeout: float = 5.0,
    ) -> Endpoint: ...
    @staticmethod
    def from_url(
        url: str,
        *,
        user: str | None = None,
        password: str | None = None,
        validate_certs: bool = True,
        ca_certs: str | None = None,
        client_cert_file: str | None = None,
        client_key_file: str | None = None,
        connect_timeout: float = 5.0,
    ) -> Endpoint:
        """Read ``redis://``, ``rediss://``, ``valkey://``, ``valkeys://`` or ``unix://``."""
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def unix_socket(self) -> str | None: ...
    @property
    def user(self) -> str | None: ...
    @property
    def tls(self) -> bool: ...
    @property
    def connect_timeout(self) -> float: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

class _Result:
    """What every step returns. Frozen; ``elapsed`` in seconds."""

    @property
    def changed(self) -> bool: ...
    @property
    def before(self) -> dict[str, Any]: ...
    @property
    def after(self) -> dict[str, Any]: ...
    @property
    def actions(self) -> list[str]: ...
    @property
    def warnings(self) -> list[str]: ...
    @property
    def elapsed(self) -> float: ...
    def as_dict(self) -> dict[str, Any]: ...
