"""Clients of Valkey that have announced `CLIENT CAPA redirect`: cut like all, then led on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis
import redis_baton as rb
from redis.backoff import NoBackoff
from redis.retry import Retry

if TYPE_CHECKING:
    from tests.python.conftest import PairFactory


def announced(port: int) -> redis.Redis:
    """Return a client that has announced it, on one connection."""
    never = Retry(NoBackoff(), 0)  # it would come back without having announced it
    client = redis.Redis(port=port, single_connection_client=True, socket_timeout=10, retry=never)
    client.execute_command("CLIENT", "CAPA", "redirect")
    return client


def led_to(client: redis.Redis, *command: object) -> int:
    """Return the port that a command is answered with."""
    with pytest.raises(redis.ResponseError) as raised:
        client.execute_command(*command)
    word, _, address = str(raised.value).partition(" ")
    assert word == "REDIRECT"
    return int(address.rpartition(":")[2])


def test_who_has_announced_it_is_cut_once_and_led_to_the_new_one(pair_of: PairFactory) -> None:
    pair = pair_of("valkey-8.1", "valkey-9.1")
    pair.follow()
    client = announced(pair.source.port)
    assert client.set("seen", "before")
    assert rb.switchover(**pair.given, redirect="none").warm
    # No answer from a server that serves no more, however harmless: see ARCHITECTURE.md.
    with pytest.raises(redis.ConnectionError):
        client.get("seen")
    client.close()
    # It comes back to where it was: to read and write it is led on, as often as it comes.
    with announced(pair.source.port) as back:
        assert led_to(back, "SET", "seen", "after") == pair.target.port
        assert led_to(back, "GET", "seen") == pair.target.port
    with announced(pair.target.port) as there:
        assert there.get("seen") == b"before"
        assert there.set("seen", "after")
    rb.rollback(**pair.given)
    with announced(pair.target.port) as back:
        assert led_to(back, "GET", "seen") == pair.source.port
