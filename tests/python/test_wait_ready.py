"""wait_ready: a server is up again, as another process; and replicate, where it came back aside."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis_baton as rb

from tests.python.common import SECRET, assert_readable, data_of, put

if TYPE_CHECKING:
    from tests.conftest import ServerFactory
    from tests.python.common import Pair
    from tests.python.conftest import PairFactory


def test_it_says_who_answers(server: ServerFactory) -> None:
    instance = server("redis-7.0", masteruser="replication")
    put(instance, 50)
    ready = rb.wait_ready(server=instance.url)
    info = instance.info()
    assert (ready.ready, ready.changed, ready.actions) == (True, False, [])
    assert (ready.run_id, ready.process_id) == (info["run_id"], instance.pid)
    assert ready.program is not None
    assert Path(ready.program).name == "redis-server"
    assert ready.config_file == str(instance.config_file)
    assert ready.version == f"Redis {info['redis_version']}"
    assert (ready.role, ready.follows) == ("master", None)
    assert (ready.replication_user, ready.key_count) == ("replication", 50)


def test_a_replica_says_whom_it_follows(pair: Pair) -> None:
    pair.follow()
    ready = rb.wait_ready(server=pair.target.url)
    assert (ready.role, ready.follows) == ("replica", pair.source.address)


def test_a_dry_run_looks_once(server: ServerFactory) -> None:
    instance = server("redis-7.0")
    run_id = rb.wait_ready(server=instance.url, dry_run=True).run_id
    assert run_id
    same = rb.wait_ready(server=instance.url, other_than=run_id, dry_run=True)
    assert (same.ready, same.run_id) == (False, None)
    instance.kill()
    assert rb.wait_ready(server=instance.url, dry_run=True).ready is False


def test_it_waits_for_another_process(server: ServerFactory) -> None:
    instance = server("redis-7.0", save="3600 1")
    put(instance, 50)
    before = rb.wait_ready(server=instance.url)

    def restart() -> None:
        instance.stop()
        instance.start()

    restarting = threading.Thread(target=restart)
    events: list[str] = []

    def on_event(event: dict[str, str]) -> None:
        if event["event"] == "waiting" and "waiting" not in events:
            restarting.start()  # only once it is waited for
        events.append(event["event"])

    try:
        after = rb.wait_ready(server=instance.url, other_than=before.run_id, on_event=on_event)
    finally:
        restarting.join()
    assert after.run_id == instance.info()["run_id"] != before.run_id
    assert after.key_count == 50
    assert events[:2] == ["step", "waiting"]


def test_its_time_is_limited(server: ServerFactory) -> None:
    instance = server("redis-7.0")
    run_id = rb.wait_ready(server=instance.url).run_id
    with pytest.raises(rb.TimedOut) as same:
        rb.wait_ready(server=instance.url, other_than=run_id, wait_timeout=0.1)
    assert (same.value.reason, same.value.state) == ("not_restarted", "unchanged")
    assert_readable(same.value)
    instance.kill()
    with pytest.raises(rb.ConnectionFailed) as gone:
        rb.wait_ready(server=instance.url, wait_timeout=0.1)
    assert gone.value.reason == "unreachable"
    assert_readable(gone.value)


def test_what_no_wait_helps_against_is_said_at_once(server: ServerFactory) -> None:
    instance = server("redis-7.0", password=SECRET)
    with pytest.raises(rb.ConnectionFailed) as refused:
        rb.wait_ready(server=f"redis://{instance.address}", wait_timeout=60)
    assert refused.value.reason == "auth_failed"
    assert_readable(refused.value)


def test_a_source_that_was_restarted_aside_is_linked_as_a_target(pair_of: PairFactory) -> None:
    """As in a restart in place: it has a fuse in its file, and is to take over back."""
    pair = pair_of("redis-7.0", "redis-7.0")
    pair.switch()
    source, target = pair.source, pair.target
    aside = source.current_port
    source.kill()  # without saving: it comes back with nothing
    source.start()
    put(target, 300)
    back: dict[str, object] = {
        "source": target.url.replace(str(target.port), str(source.port)),
        "target": source.url.replace(str(source.port), str(aside)),
        "journal_dir": pair.journal_dir / "back",
    }
    assert source.info("replication")["master_link_status"] == "down"
    done = rb.replicate(**back)  # type: ignore[arg-type]
    assert done.changed
    rb.wait_synced(**back)  # type: ignore[arg-type]
    assert not rb.replicate(**back).changed  # type: ignore[arg-type]
    assert data_of(source) == data_of(target)
    rb.switchover(**back)  # type: ignore[arg-type]
    rb.retire(**back)  # type: ignore[arg-type]
    assert (source.role, source.current_port, target.alive) == ("master", source.port, False)
    # Nothing of the fuse is left: neither live nor in the file.
    assert source.config_file
    assert "redis-baton" not in source.config_file.read_text()
    assert set(source.call("CONFIG", "GET", "masterauth").values()) == {""}
