"""`clients`: who is connected, how they follow, what they lose, and who is disconnected."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import redis
import redis_baton as rb
from redis_baton import Refused

from tests.python.common import connected_to, fails
from tests.support.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.python.common import Pair
    from tests.python.conftest import PairFactory
    from tests.support.servers import Instance

ALL = ("normal", "blocked", "pubsub")
LOSSES = ("watching", "in_transaction", "tracking", "subscribed", "blocked")
# By name: what each connection has sent. The last reply is not waited for: a blocked one gets none.
CROWD: dict[str, tuple[tuple[str, ...], ...]] = {
    "plain-1": (("GET", "key:1"),),
    "plain-2": (("GET", "key:1"),),
    "watching": (("WATCH", "key:1"),),
    "within": (("MULTI",), ("SET", "x", "1")),
    "tracking": (("HELLO", "3"), ("CLIENT", "TRACKING", "ON")),
    "subscribed": (("SUBSCRIBE", "news"),),
    "waiting": (("BLPOP", "nothing-is-here", "0"),),
    "looking": (("MONITOR",),),
}
CAPABLE = {"capable": (("CLIENT", "CAPA", "redirect"), ("GET", "key:1"))}


@contextmanager
def crowd(server: Instance, members: dict[str, tuple[tuple[str, ...], ...]]) -> Iterator[None]:
    """Connect one client a name to the public port, and let each send its commands."""
    with ExitStack() as stack:
        for name, commands in members.items():
            pool = redis.ConnectionPool(port=server.current_port, decode_responses=True, protocol=2)
            stack.callback(pool.disconnect)
            connection = pool.get_connection()
            for command in (("CLIENT", "SETNAME", name), *commands[:-1]):
                connection.send_command(*command)
                connection.read_response()
            connection.send_command(*commands[-1])
        eventually(
            lambda: settled(server) >= set(members), f"{', '.join(members)} are all connected"
        )
        yield


def settled(server: Instance) -> set[str]:
    """Return the names of those whose last command has arrived."""
    return {one["name"] for one in connected_to(server) if one["cmd"] != "client|setname"}


def by_name(groups: list[rb.ClientGroup]) -> dict[str, rb.ClientGroup]:
    return {group.name: group for group in groups}


def names(found: list[rb.Straggler]) -> list[str]:
    return sorted(one.name for one in found)


def test_who_is_connected_how_they_follow_and_what_they_lose(pair_of: PairFactory) -> None:
    pair = pair_of("valkey-8.1", "valkey-9.1")
    pair.follow()
    with crowd(pair.source, {**CROWD, **CAPABLE}):
        listed = rb.clients(**pair.given)
        assert (listed.changed, listed.stragglers, listed.disconnected) == (False, [], [])
        groups = by_name(listed.source)
        plain = groups["plain-1"]
        assert (plain.kind, plain.follows, plain.connections) == ("normal", "reconnects", 1)
        assert (plain.address, plain.user) == ("127.0.0.1", "default")
        kinds = {"subscribed": "pubsub", "waiting": "blocked", "looking": "monitor"}
        assert {name: groups[name].kind for name in kinds} == kinds
        assert groups["capable"].follows == "redirected"
        lost = {
            name: [what for what in LOSSES if getattr(group, what)]
            for name, group in groups.items()
            if group.follows == "reconnects"
        }
        assert lost == {
            "plain-1": [],
            "plain-2": [],
            "watching": ["watching"],
            "within": ["in_transaction"],
            "tracking": ["tracking"],
            "subscribed": ["subscribed"],
            "waiting": ["blocked"],
            "looking": [],
        }
        others = {(group.kind, group.follows) for group in listed.source if not group.name}
        assert others == {("replica", "repointed")}
        assert groups["redis-baton"].follows == "ours"
        at_target = {(group.kind, group.follows) for group in listed.target}
        assert at_target == {("master", "repointed"), ("ours", "ours")}


def test_stragglers_are_named_and_those_who_are_meant_are_cut(pair_of: PairFactory) -> None:
    pair = pair_of("valkey-8.1", "valkey-9.1")
    pair.switch()
    with crowd(pair.source, {**CROWD, **CAPABLE}):
        everybody = {**CROWD, **CAPABLE}
        del everybody["looking"]  # no application
        found = rb.clients(**pair.given)
        assert names(found.stragglers) == sorted(everybody)
        ways = {one.name: one.follows for one in found.stragglers}
        assert ways == {name: "redirected" if name == "capable" else "cut" for name in everybody}
        plain = next(one for one in found.stragglers if one.name == "plain-1")
        assert (plain.kind, plain.user, plain.command) == ("normal", "default", "get")
        assert plain.address.startswith("127.0.0.1:")

        def cut(dry_run: bool = False, **selection: list[str]) -> list[str]:
            done = rb.clients(**pair.given, disconnect=selection, dry_run=dry_run)  # type: ignore[arg-type] # criteria
            assert done.changed == bool(done.disconnected)
            assert len(done.actions) == len(done.disconnected)
            left = {one.address for one in done.stragglers}
            assert dry_run or not left & {one.address for one in done.disconnected}
            return names(done.disconnected)

        before = settled(pair.source)
        assert cut(dry_run=True, names=["plain-*", "wait?ng"]) == ["plain-1", "plain-2", "waiting"]
        assert cut(dry_run=True, users=["default"], kinds=["pubsub"]) == ["subscribed"]
        assert cut(names=["looking", "capable"]) == []
        assert cut(users=["nobody"]) == cut(addresses=["10.9.9.9"]) == cut(libraries=["x*"]) == []
        assert settled(pair.source) == before
        assert cut(addresses=[plain.address]) == ["plain-1"]
        assert cut(names=["plain-*", "wait?ng"]) == ["plain-2", "waiting"]
        assert cut(kinds=["pubsub"], addresses=["127.0.0.1"]) == ["subscribed"]
        assert cut(kinds=[*ALL]) == ["tracking", "watching", "within"]
        assert cut(kinds=[*ALL]) == []
        assert before - settled(pair.source) == set(everybody) - {"capable"}
        assert names(rb.clients(**pair.given).stragglers) == ["capable"]
    assert pair.source.info()["master_link_status"] == "up"


def test_who_is_redirected_goes_by_itself(pair_of: PairFactory) -> None:
    """It is left alone because the demoted server tells it where to go."""
    pair = pair_of("valkey-8.1", "valkey-9.1")
    pair.switch()
    with pair.source.client() as app:
        connection = app.connection_pool.get_connection()
        for command in (("CLIENT", "CAPA", "redirect"), ("GET", "key:1")):
            connection.send_command(*command)
            try:
                said = connection.read_response()
            except redis.ResponseError as error:
                said = str(error)
        assert said == f"REDIRECT {pair.target.address.split(':')[0]}:{pair.source.port}"
        (left,) = rb.clients(**pair.given, disconnect={"kinds": [*ALL]}).stragglers
        assert left.follows == "redirected"


def test_nobody_is_cut_from_the_one_that_serves(pair: Pair) -> None:
    pair.follow()
    with pair.source.client() as app:
        app.client_setname("app")
        with fails(Refused, "source_in_use"):
            rb.clients(**pair.given, disconnect={"kinds": ["normal"]})
        dry = rb.clients(**pair.given, disconnect={"kinds": ["normal"]}, dry_run=True)
        assert (names(dry.disconnected), dry.changed) == (["app"], True)
        assert app.client_getname() == "app"
        (group,) = [group for group in rb.clients(**pair.given).source if group.name == "app"]
        assert (group.kind, group.connections) == ("normal", 1)
    rb.switchover(**pair.given)
    with pair.source.client() as app:
        app.client_setname("late")
        pair.source.call("ACL", "SETUSER", "ops", "on", ">x", "~*", "&*", "+@all", "-client|kill")
        given: Any = {**pair.given, "source": pair.source.url.replace("//", "//ops:x@")}
        with fails(Refused, "permission_denied"):
            rb.clients(**given, disconnect={"names": ["late"]})
        assert app.client_getname() == "late"
        done = rb.clients(**pair.given, disconnect={"names": ["late"]})
        assert (names(done.disconnected), done.changed) == (["late"], True)
