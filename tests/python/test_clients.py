"""Who still uses the source: `wait_quiescent`, `clients`, and `promote`, which depends on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

import redis_baton as rb
from redis_baton import Refused, TimedOut

from tests.python.common import fails, state_of

if TYPE_CHECKING:
    from tests.python.common import Pair
    from tests.support.servers import Instance


def test_promote(pair: Pair) -> None:
    pair.follow()
    ports = pair.ports
    before = state_of(pair.target)
    dry = rb.promote(**pair.given, dry_run=True)
    assert (dry.changed, dry.promoted) == (True, False)
    assert state_of(pair.target) == before
    done = rb.promote(**pair.given)
    assert (done.changed, done.promoted) == (True, True)
    assert (pair.roles, pair.ports) == (("master", "master"), ports)
    again = rb.promote(**pair.given)
    assert (again.changed, again.promoted) == (False, True)


def test_promote_while_the_source_is_in_use(pair: Pair, writer: Callable[[Instance], None]) -> None:
    pair.follow()
    writer(pair.source)
    with fails(Refused, "source_in_use") as caught:
        rb.promote(**pair.given)
    assert "the-writer" in caught.message
    assert pair.roles == ("master", "slave")
    assert rb.promote(**pair.given, force=True).promoted
    assert pair.target.role == "master"


def test_wait_quiescent_says_who_still_writes(
    pair: Pair, writer: Callable[[Instance], None]
) -> None:
    pair.follow()
    writer(pair.source)
    with fails(TimedOut, "not_quiet") as caught:
        rb.wait_quiescent(**pair.given, quiet_for=0.5, wait_timeout=0.5)
    assert "the-writer" in caught.message
    assert "incrby" in caught.message
    looked = rb.wait_quiescent(**pair.given, quiet_for=0.5, dry_run=True)
    assert not looked.quiet
    assert looked.commands["incrby"] > 0
    assert [client.name for client in looked.active] == ["the-writer"]
    with fails(Refused, "only_copy"):
        rb.retire(**pair.given)


def test_clients(pair: Pair) -> None:
    pair.follow()
    with pair.source.client() as app:
        app.client_setname("app")
        listed = rb.clients(**pair.given)
        (group,) = [group for group in listed.source if group.name == "app"]
        assert (group.kind, group.user, group.connections) == ("normal", "default", 1)
        assert {group.kind for group in listed.source} == {"normal", "replica"}
        assert "master" in {group.kind for group in listed.target}
        with fails(Refused, "source_in_use"):
            rb.clients(**pair.given, disconnect=True)
    rb.switchover(**pair.given)
    with pair.source.client() as app:
        app.client_setname("late")
        dry = rb.clients(**pair.given, disconnect=True, dry_run=True)
        assert (dry.disconnected, dry.changed) == (1, True)
        assert app.client_getname() == "late"
        done = rb.clients(**pair.given, disconnect=True)
        assert (done.disconnected, done.changed) == (1, True)
        again = rb.clients(**pair.given, disconnect=True)
        assert (again.disconnected, again.changed) == (0, False)
    assert pair.source.info()["master_link_status"] == "up"
