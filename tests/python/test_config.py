"""`config` on every server: what holds is left alone, what differs is set, all of it or nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis_baton as rb
from redis_baton import Failed, InvalidInput, Refused

from tests.python.common import SECRET, assert_readable, config_of, fails, state_of
from tests.support.servers import NAMES

if TYPE_CHECKING:
    from tests.conftest import ServerFactory
    from tests.support.servers import Instance

OLD = "redis-6.0"
# From 7.0 on several parameters are set together.
SEVERAL = [name for name in NAMES if name != OLD]
# Thirty that every server has.
THIRTY = """
    maxmemory maxmemory-policy maxmemory-samples maxclients timeout tcp-keepalive hz loglevel
    appendonly appendfsync auto-aof-rewrite-percentage auto-aof-rewrite-min-size save
    rdbcompression stop-writes-on-bgsave-error repl-backlog-size repl-timeout
    repl-diskless-sync client-output-buffer-limit notify-keyspace-events slowlog-max-len
    slowlog-log-slower-than latency-monitor-threshold activedefrag lazyfree-lazy-eviction
    replica-priority replica-read-only hash-max-ziplist-entries databases dir
"""
# A value, other ways to put it, and how the server shows it.
SPELLINGS: list[tuple[str, Any, list[Any], str]] = [
    ("maxmemory", "100mb", [104857600, "104857600", "100MB", "102400kb"], "104857600"),
    ("maxmemory", "100m", [100000000, "100000k"], "100000000"),
    ("activedefrag", False, ["no", 0, "0", "false", "NO"], "no"),
    ("rdbcompression", "false", [False, "no"], "no"),
    ("lazyfree-lazy-eviction", 1, [True, "yes", "True"], "yes"),
    ("appendfsync", False, ["no", "NO"], "no"),
    ("maxmemory-policy", "AllKeys-LRU", ["allkeys-lru"], "allkeys-lru"),
    ("notify-keyspace-events", "KEA", ["AKE", "EKA"], "AKE"),
    (
        "save",
        "3600 1  300 100",
        ["300 100 3600 1", ["3600 1", "300 100"], ("3600", 1, 300, 100)],
        "3600 1 300 100",
    ),
    ("save", '""', ["", []], ""),
    ("oom-score-adj-values", "10  20 30", [[10, 20, 30]], "10 20 30"),
    ("oom-score-adj", "relative", [True, "yes"], "yes"),
    ("tcp-keepalive", 60.0, ["60", 60], "60"),
    ("hz", 1000, [500], "500"),
    ("repl-backlog-size", "1kb", [16384], "16384"),
    (
        "client-output-buffer-limit",
        "replica 1gb  256mb 60",
        [
            ["slave 1gb 262144kb 60"],
            ["normal 0 0 0", "replica 1073741824 268435456 60"],
            "normal 0 0 0 slave 1gb 256mb 60 pubsub 32mb 8mb 60",
        ],
        "normal 0 0 0 slave 1073741824 268435456 60 pubsub 33554432 8388608 60",
    ),
    ("list-max-listpack-size", -1, ["-1"], "-1"),
    ("hash-max-listpack-entries", 100, ["100"], "100"),
    ("primaryuser", "follower", ["follower"], "follower"),
]


@pytest.fixture(params=NAMES)
def one(request: pytest.FixtureRequest, server: ServerFactory) -> Instance:
    """Start a server of each version."""
    return server(request.param)


def calls(one: Instance, subcommand: str) -> int:
    """Return how often CONFIG with this subcommand was called; 6.0 counts them all as one."""
    stats = one.info("commandstats")
    name = "cmdstat_config" if one.binary.name == OLD else f"cmdstat_config|{subcommand}"
    found: dict[str, int] = stats.get(name, {"calls": 0})
    return found["calls"]


def test_every_parameter_at_its_present_value(one: Instance) -> None:
    present = config_of(one)
    gets, sets = calls(one, "get"), calls(one, "set")
    for name, value in present.items():
        done = rb.config(server=one.url, parameters={name: value})
        assert (done.changed, done.set, done.restart_required) == (False, [], []), name
        assert done.before == done.after
    together = rb.config(server=one.url, parameters=present)
    assert (together.changed, together.actions, together.restart_required) == (False, [], [])
    looks = len(present) + 1
    # Where the subcommands are not counted apart, nothing but the looks may be there.
    assert calls(one, "get") - gets == looks
    assert calls(one, "set") - sets == (looks if one.binary.name == OLD else 0)
    assert config_of(one) == present


def test_thirty_that_hold_are_read_by_one_command(one: Instance) -> None:
    present = config_of(one)
    wanted: dict[str, Any] = {name: present[name] for name in THIRTY.split()}
    assert len(wanted) == 30
    gets, sets = calls(one, "get"), calls(one, "set")
    done = rb.config(server=one.url, parameters=wanted)
    assert (done.changed, done.before) == (False, wanted)
    # One command is one round trip, and the server counts commands.
    assert calls(one, "get") - gets == 1
    assert calls(one, "set") - sets == (1 if one.binary.name == OLD else 0)


def test_what_means_the_same_is_left_alone(one: Instance) -> None:
    for name, value, others, shown in SPELLINGS:
        done = rb.config(server=one.url, parameters={name: value})
        assert done.after == {name: shown}, name
        assert done.warnings == [], name
        sets = calls(one, "set")
        for other in [value, *others]:
            again = rb.config(server=one.url, parameters={name: other})
            assert (again.changed, again.set, again.actions) == (False, [], []), (name, other)
            assert again.after == {name: shown}
        # 6.0 counts the looks as well.
        assert calls(one, "set") - sets == (len(others) + 1 if one.binary.name == OLD else 0)


def test_several_are_set_and_shown(one: Instance) -> None:
    wanted: dict[str, Any] = {
        "timeout": 7,
        "maxmemory": "1gb",
        "maxmemory-policy": "allkeys-lfu",
        "hz": 10,
    }
    planned = rb.config(server=one.url, parameters=wanted, dry_run=True)
    assert config_of(one)["timeout"] == "0"
    done = rb.config(server=one.url, parameters=wanted)
    assert (planned.changed, done.changed) == (True, True)
    assert (planned.before, planned.after) == (done.before, done.after)
    assert (planned.actions, planned.set) == (done.actions, done.set)
    assert done.after == {
        "timeout": "7",
        "maxmemory": "1073741824",
        "maxmemory-policy": "allkeys-lfu",
        "hz": "10",
    }
    assert done.before["maxmemory"] == "0"
    assert sorted(done.set) == ["maxmemory", "maxmemory-policy", "timeout"]
    assert len(done.actions) == (3 if one.binary.name == OLD else 1)
    present = config_of(one)
    assert {name: present[name] for name in wanted} == done.after
    assert not rb.config(server=one.url, parameters=wanted).changed


def test_what_needs_a_restart_is_reported(one: Instance) -> None:
    fixed = []
    for name, value in config_of(one).items():
        try:
            one.call("CONFIG", "SET", name, value)
        except redis.ResponseError as error:
            if any(word in str(error) for word in ("immutable", "protected", "Unsupported")):
                fixed.append((name, value))
    assert len(fixed) > 20
    before = config_of(one)
    for name, value in before.items():
        planned = rb.config(server=one.url, parameters={name: f"{value}x"}, dry_run=True)
        needed = [(each.parameter, each.present) for each in planned.restart_required]
        assert needed == ([(name, value)] if (name, value) in fixed else []), name
        assert planned.changed == (not needed)
    assert config_of(one) == before
    for name, value in fixed:
        done = rb.config(server=one.url, parameters={name: f"{value}x"})
        assert (done.changed, done.actions) == (False, [])
        (left,) = done.restart_required
        assert left.as_dict() == {
            "parameter": name,
            "present": value,
            "wanted": f"{value}x",
            "why": left.why,
        }
        assert "CONFIG" in left.why or "can't set" in left.why
    assert config_of(one) == before


def test_what_can_be_set_is_set_beside_what_needs_a_restart(one: Instance) -> None:
    done = rb.config(server=one.url, parameters={"databases": 32, "timeout": 5, "tcp-backlog": 128})
    assert (done.changed, done.set) == (True, ["timeout"])
    assert sorted(each.parameter for each in done.restart_required) == ["databases", "tcp-backlog"]
    assert done.after == {"databases": "16", "timeout": "5", "tcp-backlog": "511"}
    again = rb.config(server=one.url, parameters={"databases": "32", "timeout": "5"})
    assert (again.changed, len(again.restart_required)) == (False, 1)


def test_the_result_is_plain_and_frozen(server: ServerFactory) -> None:
    one = server("redis-8.6")
    done = rb.config(server=one.url, parameters={"databases": 32, "timeout": 5})
    (needed,) = done.restart_required
    for result in (done, needed):
        plain = result.as_dict()
        assert json.loads(json.dumps(plain)) == plain
        assert set(plain) == {name for name in dir(result) if name[0] != "_"} - {"as_dict"}
        assert repr(result).startswith(f"{type(result).__name__}(")
        with pytest.raises(AttributeError):
            result.present = "1"  # type: ignore[misc,union-attr] # the point
    assert done == done  # noqa: PLR0124 # that is what is tested


def test_a_value_that_is_refused(one: Instance) -> None:
    with fails(Failed, "parameter_refused", one) as caught:
        rb.config(server=one.url, parameters={"maxmemory-policy": "the-oldest"})
    assert "maxmemory-policy" in caught.message
    assert "must be one of the following" in caught.message


@pytest.mark.parametrize("name", SEVERAL)
def test_one_that_is_refused_leaves_all_as_they_were(name: str, server: ServerFactory) -> None:
    one = server(name)
    refused: dict[str, Any] = {"hz": "often", "port": server(OLD).port}
    for name_, value in refused.items():
        with fails(Failed, "parameter_refused", one) as caught:
            rb.config(server=one.url, parameters={"timeout": 5, name_: value, "maxmemory": "1gb"})
        assert name_ in caught.message


def test_before_7_those_that_were_set_are_put_back(server: ServerFactory) -> None:
    one = server(OLD)
    before = config_of(one)
    with pytest.raises(Failed) as raised:
        rb.config(
            server=one.url,
            parameters={"timeout": 5, "maxmemory-samples": 7, "hz": "often", "databases": 32},
        )
    error = raised.value
    assert (error.reason, error.state) == ("parameter_refused", "undone")
    assert_readable(error)
    assert "hz" in str(error)
    assert [action.split(": ")[1] for action in error.actions] == [
        "CONFIG SET timeout 5",
        "CONFIG SET maxmemory-samples 7",
        "CONFIG SET maxmemory-samples 5",
        "CONFIG SET timeout 0",
    ]
    assert config_of(one) == before


def test_before_7_the_limit_comes_last_when_it_is_lowered(server: ServerFactory) -> None:
    one = server(OLD)
    wanted: dict[str, str | int] = {"maxmemory": "1gb", "maxmemory-policy": "allkeys-lru"}
    lowered = rb.config(server=one.url, parameters=wanted)
    raised = rb.config(
        server=one.url, parameters=wanted | {"maxmemory": 0, "maxmemory-policy": "noeviction"}
    )
    assert [done.set for done in (lowered, raised)] == [
        ["maxmemory-policy", "maxmemory"],
        ["maxmemory", "maxmemory-policy"],
    ]


def test_unknown_parameters(one: Instance) -> None:
    with fails(Refused, "parameter_unknown", one) as caught:
        rb.config(server=one.url, parameters={"timeout": 5, "no-such": 1, "nor-this": 2})
    assert "no-such, nor-this" in caught.message


@pytest.mark.parametrize("parameters", [None, 1, "timeout", ["timeout"], {1: 2}])
def test_wrong_parameters(parameters: Any) -> None:  # noqa: ANN401 # the point of the test
    with fails(InvalidInput, "invalid_input") as caught:
        rb.config(server="redis://127.0.0.1:1", parameters=parameters)
    assert "parameters" in caught.message


@pytest.mark.parametrize("value", [None, b"5", object(), {"a": 1}, float("nan"), [["5"]], [None]])
def test_wrong_values(value: Any) -> None:  # noqa: ANN401 # the point of the test
    with fails(InvalidInput, "invalid_input") as caught:
        rb.config(server="redis://127.0.0.1:1", parameters={"timeout": value})
    assert "timeout" in caught.message


@pytest.mark.parametrize("name", ["", "max*", "time out", "timeout?", "[t]imeout", "ti\nmeout"])
def test_names_that_are_none(name: str) -> None:
    with fails(InvalidInput, "invalid_input"):
        rb.config(server="redis://127.0.0.1:1", parameters={name: 1})


def test_two_names_of_one_parameter(one: Instance) -> None:
    with fails(InvalidInput, "invalid_input", one) as caught:
        rb.config(server=one.url, parameters={"replica-priority": 1, "slave-priority": 2})
    assert "replica-priority and slave-priority" in caught.message
    done = rb.config(server=one.url, parameters={"replica-priority": 1, "slave-priority": "1"})
    assert done.after == {"replica-priority": "1", "slave-priority": "1"}
    assert len(done.actions) == 1
    with fails(InvalidInput, "invalid_input"):
        rb.config(server=one.url, parameters={"timeout": 1, "TimeOut": 1})


def test_secrets_are_not_shown(one: Instance) -> None:
    events: list[dict[str, Any]] = []
    wanted: dict[str, Any] = {
        "requirepass": SECRET,
        "masterauth": SECRET,
        "primaryuser": "follower",
    }
    done = rb.config(server=one.url, parameters=wanted, on_event=events.append)
    one.password = SECRET
    assert (done.changed, len(done.set)) == (True, 3)
    assert config_of(one)["masterauth"] == SECRET
    assert done.before["requirepass"] == ""
    again = rb.config(server=one.url, parameters=wanted, on_event=events.append)
    assert again.before == {"requirepass": "***", "masterauth": "***", "primaryuser": "follower"}
    another = rb.config(
        server=one.url, parameters={"requirepass": f"{SECRET}-2"}, on_event=events.append
    )
    assert another.before != another.after
    one.password = f"{SECRET}-2"
    assert one.call("PING")
    for shown in (done, again, another, events):
        assert SECRET not in f"{shown} {shown!r}"
    with pytest.raises(rb.ConnectionFailed):
        rb.config(server=f"redis://{one.address}", parameters=wanted)


def test_a_secret_that_is_refused(server: ServerFactory) -> None:
    one = server(OLD)
    # 6.0 says in its error what it was given.
    with fails(Failed, "parameter_refused", one) as caught:
        rb.config(server=one.url, parameters={"requirepass": SECRET * 50})
    assert "'***" in caught.message


def test_a_server_over_its_maxmemory(one: Instance) -> None:
    one.call("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(redis.ResponseError, match="maxmemory"):
        one.call("SET", "x", 1)
    with one.client() as other:
        other.client_setname("redis-baton:0123456789abcdef")
        with pytest.raises(Refused) as raised:
            rb.config(server=one.url, parameters={"maxmemory": "1gb"})
        assert raised.value.reason == "locked"
    assert rb.config(server=one.url, parameters={"maxmemory": "1gb"}).changed
    assert one.call("SET", "x", 1)


def test_rewrite_is_sent_once(one: Instance) -> None:
    assert one.config_file
    wanted: dict[str, Any] = {
        "timeout": 7,
        "save": ["3600 1", "300 100"],
        "masterauth": f"{SECRET} 'ä' #",
        "hz": 50,
    }
    planned = rb.config(server=one.url, parameters=wanted, rewrite=True, dry_run=True)
    file = one.config_file.read_text()
    done = rb.config(server=one.url, parameters=wanted, rewrite=True)
    assert (planned.changed, planned.rewritten) == (done.changed, done.rewritten) == (True, True)
    assert one.config_file.read_text() != file
    rewrites = calls(one, "rewrite")
    again = rb.config(server=one.url, parameters=wanted, rewrite=True)
    assert (again.changed, again.rewritten, again.actions) == (False, False, [])
    looks = 1 if one.binary.name == OLD else 0
    assert calls(one, "rewrite") - rewrites == looks
    one.stop()
    one.start()
    restarted = rb.config(server=one.url, parameters=wanted, rewrite=True)
    assert (restarted.changed, restarted.actions) == (False, [])
    assert config_of(one)["timeout"] == "7"


def test_a_line_that_was_written_wrong(server: ServerFactory) -> None:
    """Valkey 8.1 writes a quote as it is, and would read something else when it starts."""
    one = server("valkey-8.1")
    wanted: dict[str, Any] = {"masterauth": f'{SECRET}"'}
    with pytest.raises(Failed) as raised:
        rb.config(server=one.url, parameters=wanted, rewrite=True)
    assert (raised.value.reason, raised.value.state) == ("not_saved", "interrupted")
    assert_readable(raised.value)


def test_a_controller_that_died_before_the_rewrite(one: Instance) -> None:
    assert one.config_file
    one.call("CONFIG", "SET", "timeout", "7")
    done = rb.config(server=one.url, parameters={"timeout": 7}, rewrite=True)
    assert (done.changed, done.set, done.rewritten) == (True, [], True)
    assert "timeout 7" in one.config_file.read_text()
    # Another value in the file is seen in a dry run too.
    one.call("CONFIG", "SET", "timeout", "8")
    planned = rb.config(server=one.url, parameters={"timeout": 8}, rewrite=True, dry_run=True)
    assert (planned.changed, planned.rewritten) == (True, True)
    assert "timeout 7" in one.config_file.read_text()


def test_a_default_is_not_in_the_file(one: Instance) -> None:
    for _ in range(2):
        done = rb.config(server=one.url, parameters={"maxmemory": 0}, rewrite=True)
    assert (done.changed, done.rewritten) == (False, False)


def test_a_file_that_cannot_be_read(one: Instance) -> None:
    assert one.config_file
    rb.config(server=one.url, parameters={"timeout": 7}, rewrite=True)
    one.config_file.unlink()
    done = rb.config(server=one.url, parameters={"timeout": 7}, rewrite=True)
    assert (done.changed, done.rewritten) == (False, True)
    assert "timeout 7" in one.config_file.read_text()


def test_a_file_that_cannot_be_written(one: Instance) -> None:
    assert one.config_file
    one.config_file.unlink()
    one.config_file.mkdir()
    with pytest.raises(Failed) as raised:
        rb.config(server=one.url, parameters={"timeout": 7}, rewrite=True)
    assert (raised.value.reason, raised.value.state) == ("not_saved", "interrupted")
    assert_readable(raised.value)
    one.config_file.rmdir()
    assert rb.config(server=one.url, parameters={"timeout": 7}, rewrite=True).rewritten


@pytest.mark.parametrize("name", NAMES)
def test_no_file_to_rewrite(name: str, server: ServerFactory) -> None:
    one = server(name, config_file=False)
    with fails(Refused, "no_config_file", one):
        rb.config(server=one.url, parameters={"timeout": 7}, rewrite=True)


def test_a_rewrite_takes_a_pending_value_out_of_the_file(server: ServerFactory) -> None:
    one = server("redis-8.6")
    assert one.config_file
    one.config_file.write_text(f"{one.config_file.read_text()}databases 32\n")
    wanted: dict[str, Any] = {"databases": 32, "timeout": 7}
    done = rb.config(server=one.url, parameters=wanted, rewrite=True)
    assert "databases" in done.warnings[0]
    assert "databases 16" in one.config_file.read_text()


def test_a_value_that_is_not_shown_again(server: ServerFactory) -> None:
    """Where `A` is set, a server does not show `n`: it can't be known whether that is set."""
    one = server("redis-7.0")
    wanted: dict[str, Any] = {"notify-keyspace-events": "AKEn"}
    assert rb.config(server=one.url, parameters=wanted).changed
    again = rb.config(server=one.url, parameters=wanted)
    assert (again.changed, again.set) == (False, ["notify-keyspace-events"])
    assert "AKE, not AKEn" in again.warnings[0]


def test_a_dry_run_changes_nothing(one: Instance) -> None:
    before = state_of(one)
    wanted: dict[str, Any] = {
        "timeout": 7,
        "requirepass": SECRET,
        "databases": 32,
        "appendonly": True,
    }
    planned = rb.config(server=one.url, parameters=wanted, rewrite=True, dry_run=True)
    assert planned.changed
    assert planned.after["requirepass"] == "*** (another)"
    assert SECRET not in repr(planned)
    assert state_of(one) == before


def test_another_controller_is_kept_out(server: ServerFactory) -> None:
    one = server("valkey-9.1")
    with one.client() as other:
        other.client_setname("redis-baton:0123456789abcdef")
        with fails(Refused, "locked", one):
            rb.config(server=one.url, parameters={"timeout": 7})
        done = rb.config(server=one.url, parameters={"timeout": 7}, break_lock=True)
    assert done.set == ["timeout"]


def test_a_login_that_may_only_read(server: ServerFactory) -> None:
    one = server("redis-8.0")
    rules = ["on", f">{SECRET}", "+info", "+client", "+multi", "+exec", "+config|get"]
    one.call("ACL", "SETUSER", "reader", *rules)
    url = f"redis://reader:{SECRET}@{one.address}"
    assert not rb.config(server=url, parameters={"timeout": 0}).changed
    with fails(Refused, "permission_denied", one):
        rb.config(server=url, parameters={"timeout": 7})
