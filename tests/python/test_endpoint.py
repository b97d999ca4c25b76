"""`Endpoint`: every spelling of an address, and no way to see the password."""

from __future__ import annotations

import copy
import pickle
from typing import Any, Callable

import pytest
import redis_baton as rb
from redis_baton import Endpoint, InvalidInput

from tests.python.common import SECRET, assert_readable

SCHEMES = {
    "redis": False,
    "rediss": True,
    "valkey": False,
    "valkeys": True,
}


@pytest.mark.parametrize(("scheme", "tls"), SCHEMES.items())
def test_urls(scheme: str, tls: bool) -> None:  # from the table
    endpoint = Endpoint.from_url(f"{scheme}://ops:p%40ss%2F@db.example:7000/0")
    assert (endpoint.host, endpoint.port, endpoint.user) == ("db.example", 7000, "ops")
    assert (endpoint.tls, endpoint.unix_socket, endpoint.connect_timeout) == (tls, None, 5.0)
    assert endpoint == Endpoint("db.example", 7000, user="ops", password="p@ss/", tls=tls)
    assert Endpoint.from_url(f"{scheme}://db.example").port == 6379
    assert str(endpoint) == "db.example:7000"


def test_defaults() -> None:
    endpoint = Endpoint()
    assert (endpoint.host, endpoint.port, endpoint.user) == ("127.0.0.1", 6379, None)
    assert endpoint == Endpoint.from_url("redis://127.0.0.1")


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_ipv6(host: str) -> None:
    endpoint = Endpoint(host, 7000)
    assert endpoint.host == "::1"
    assert str(endpoint) == "[::1]:7000"
    assert endpoint == Endpoint.from_url("redis://[::1]:7000")


@pytest.mark.parametrize("scheme", ["unix", "redis+unix", "valkey+unix"])
def test_a_unix_socket(scheme: str) -> None:
    endpoint = Endpoint.from_url(f"{scheme}://:{SECRET}@/run/a%20b.sock")
    assert endpoint.unix_socket == "/run/a b.sock"
    assert str(endpoint) == "/run/a b.sock"
    assert endpoint == Endpoint(unix_socket="/run/a b.sock", password=SECRET)


def test_arguments_go_before_the_url() -> None:
    url = "rediss://one:first@db:7000"
    endpoint = Endpoint.from_url(url, user="two", password=SECRET, connect_timeout=0.5)
    assert endpoint == Endpoint(
        "db", 7000, user="two", password=SECRET, tls=True, connect_timeout=0.5
    )
    assert Endpoint.from_url(url, validate_certs=False) != Endpoint.from_url(url)


def test_equal_ones_are_one_key() -> None:
    one, other = Endpoint(password=SECRET), Endpoint.from_url(f"redis://:{SECRET}@127.0.0.1")
    assert len({one, other}) == 1
    assert one != Endpoint(password="another")
    assert one != "redis://127.0.0.1"


def test_it_cannot_be_changed() -> None:
    endpoint: Any = Endpoint()
    with pytest.raises(AttributeError):
        endpoint.port = 1
    with pytest.raises(AttributeError):
        endpoint.another = 1


def test_the_password_is_nowhere() -> None:
    endpoint = Endpoint("db", user="ops", password=SECRET, tls=True)
    shown = [repr(endpoint), str(endpoint), f"{endpoint}", ascii(endpoint), repr([endpoint])]
    shown += [str(getattr(endpoint, name)) for name in dir(endpoint) if name != "__doc__"]
    assert SECRET not in "".join(shown)
    assert "***" in repr(endpoint)
    assert "ops" in repr(endpoint)
    assert not hasattr(endpoint, "password")
    for save in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            save(endpoint)


BAD: dict[str, Callable[[], object]] = {
    "no scheme": lambda: Endpoint.from_url("db:7000"),
    "another scheme": lambda: Endpoint.from_url(f"http://u:{SECRET}@db"),
    "no host": lambda: Endpoint.from_url(f"redis://u:{SECRET}@"),
    "a port too high": lambda: Endpoint.from_url(f"redis://u:{SECRET}@db:65536"),
    "a port of letters": lambda: Endpoint.from_url(f"redis://u:{SECRET}@db:redis"),
    "port 0": lambda: Endpoint.from_url("redis://db:0"),
    "a database by name": lambda: Endpoint.from_url(f"redis://u:{SECRET}@db/first"),
    "a parameter": lambda: Endpoint.from_url(f"redis://db?password={SECRET}"),
    "no socket": lambda: Endpoint.from_url("unix://"),
    "just a password": lambda: Endpoint.from_url(SECRET),
    "an empty URL": lambda: Endpoint.from_url(""),
    "an empty host": lambda: Endpoint(""),
    "a host of blanks": lambda: Endpoint(" "),
    "a host of two words": lambda: Endpoint("db example"),
    "a host of two lines": lambda: Endpoint("db\nexample"),
    "a port below 1": lambda: Endpoint(port=0),
    "a port above 65535": lambda: Endpoint(port=65536),
    "a negative port": lambda: Endpoint(port=-1),
    "a port beyond all": lambda: Endpoint(port=10**30),
    "no time to connect": lambda: Endpoint(connect_timeout=0),
    "a negative time": lambda: Endpoint(connect_timeout=-1),
    "no number of seconds": lambda: Endpoint(connect_timeout=float("nan")),
    "endless time": lambda: Endpoint(connect_timeout=float("inf")),
    "a user alone": lambda: Endpoint(user="ops"),
    "a certificate alone": lambda: Endpoint(tls=True, client_cert_file="c.pem"),
    "a key alone": lambda: Endpoint(tls=True, client_key_file="k.pem"),
    "TLS on a socket": lambda: Endpoint(unix_socket="/s", tls=True),
    "a host that is a number": lambda: Endpoint(7000),  # type: ignore[arg-type]
    "a port that is a text": lambda: Endpoint(port="7000"),  # type: ignore[arg-type]
    "a password that is a number": lambda: Endpoint(password=1),  # type: ignore[arg-type]
    "a URL that is a number": lambda: Endpoint.from_url(1),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("make", BAD.values(), ids=BAD.keys())
def test_bad_input(make: Callable[[], object]) -> None:
    with pytest.raises(InvalidInput) as raised:
        make()
    assert (raised.value.reason, raised.value.state) == ("invalid_input", "unchanged")
    assert isinstance(raised.value, ValueError)
    assert_readable(raised.value)


def test_a_bad_url_given_to_a_step_names_the_argument() -> None:
    good = "redis://127.0.0.1:1"
    for name in ("source", "target"):
        given: Any = {"source": good, "target": good, name: f"http://u:{SECRET}@db"}
        with pytest.raises(InvalidInput, match=f"^{name}: ") as raised:
            rb.preflight(**given)
        assert_readable(raised.value)
