"""ACL users are proven before the sync, in both directions, and the differences are named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis_baton as rb

from tests.python.common import SECRET, Pair, fails, put

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ServerFactory
    from tests.python.conftest import PairFactory
    from tests.support.servers import Instance


def users(server: Instance) -> set[str]:
    return {line.split()[1] for line in server.call("ACL", "LIST")}


def test_the_differences_are_named(pair: Pair) -> None:
    for name in ("app", "both"):
        pair.source.call("ACL", "SETUSER", name, "on", f">{SECRET}", "~*", "+@all")
    pair.target.call("ACL", "SETUSER", "both", "on", f">{SECRET}", "~*", "+@read")
    pair.target.call("ACL", "SETUSER", "own", "on", f">{SECRET}", "~*", "+@all")
    foreseen = rb.replicate(**pair.given, dry_run=True)
    assert users(pair.target) == {"default", "both", "own"}
    done = rb.replicate(**pair.given)
    for found in (foreseen, done):
        assert found.users_carried == ["app", "both"]
        assert found.users_overwritten == ["both"]
        assert found.users_only_on_target == ["own"]
    assert users(pair.target) == {"app", "both", "default", "own"}
    again = rb.replicate(**pair.given)
    assert (again.users_carried, again.users_overwritten) == ([], [])


def test_the_targets_own_password_may_be_given_to_the_end(
    server: ServerFactory, journal_dir: Path
) -> None:
    """After `replicate` it is as open as the source, which has none."""
    source, target = server("redis-7.0"), server("redis-8.0", password=SECRET)
    target.call("CONFIG", "SET", "masterauth", "")
    pair = Pair(source, target, journal_dir)
    put(source, 10)
    rb.upgrade(**pair.given, quiet_for=0.1)
    assert rb.status(**pair.given).warm is True
    rb.rollback(**pair.given)
    done = rb.upgrade(**pair.given, until="retire", quiet_for=0.1)
    assert done.stage == "retired"


def test_a_rule_that_the_target_does_not_know(pair_of: PairFactory) -> None:
    pair = pair_of("valkey-8.1", "redis-8.0")
    for name, rule in (("first", "+@all"), ("odd", "+commandlog"), ("then", "+@all")):
        pair.source.call("ACL", "SETUSER", name, "on", f">{SECRET}", "~*", rule)
    with fails(rb.Refused, "user_refused", pair.source, pair.target) as caught:
        rb.replicate(**pair.given)
    assert "the user odd: '+commandlog" in caught.message
    assert pair.roles == ("master", "master")
    pair.source.call("ACL", "SETUSER", "odd", "nocommands", "+get")
    assert rb.replicate(**pair.given).users_carried == ["first", "odd", "then"]


def test_the_way_back_is_proven_before_the_sync(server: ServerFactory, journal_dir: Path) -> None:
    source, target = server("redis-7.0"), server("redis-8.0")
    source.call("SET", "x", "1")
    # For its own master the source has a login that the target will not know.
    source.call("CONFIG", "SET", "masteruser", "nobody-knows")
    source.call("CONFIG", "SET", "masterauth", SECRET)
    pair = Pair(source, target, journal_dir)
    with pytest.raises(rb.ConnectionFailed) as failed:
        rb.replicate(**pair.given)
    assert failed.value.reason == "auth_failed"
    assert "source" in str(failed.value)
    assert SECRET not in str(failed.value)
    assert pair.roles == ("master", "master")
    assert target.call("DBSIZE") == 0
    source.call("CONFIG", "SET", "masteruser", "")
    source.call("CONFIG", "SET", "masterauth", "")
    assert rb.upgrade(**pair.given, quiet_for=0.1).stage == "switched"


def test_the_default_user_off(server: ServerFactory, journal_dir: Path, tmp_path: Path) -> None:
    """We come to the target as that user, and go on as the source's."""
    source = server("redis-7.0")
    (tmp_path / "target.acl").touch()
    target = server("redis-8.0", aclfile=str(tmp_path / "target.acl"))
    source.call("ACL", "SETUSER", "admin", "on", f">{SECRET}", "~*", "&*", "+@all")
    # What reads the servers' state in a test comes as the default user.
    with source.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "off", "resetkeys", "-@all")
        login = rb.Endpoint(port=source.port, user="admin", password=SECRET)
        done = rb.upgrade(source=login, target=target.url, journal_dir=journal_dir, quiet_for=0.1)
    assert done.stage == "switched"
    assert "user default off" in (tmp_path / "target.acl").read_text()


def test_users_that_could_not_be_saved_are_saved_by_the_rerun(
    server: ServerFactory, journal_dir: Path, tmp_path: Path
) -> None:
    """Otherwise the target would come back from a restart without them, open to all."""
    file = tmp_path / "acl" / "target.acl"
    file.parent.mkdir()
    file.touch()
    source, target = server("redis-7.0"), server("redis-8.0", aclfile=str(file))
    source.call("ACL", "SETUSER", "app", "on", f">{SECRET}", "~app:*", "+get")
    pair = Pair(source, target, journal_dir)
    file.parent.rename(tmp_path / "away")
    with pytest.raises(rb.BatonError, match="ACL SAVE"):
        rb.replicate(**pair.given)
    assert "app" in users(target)
    (tmp_path / "away").rename(file.parent)
    assert "app" not in file.read_text()
    rb.replicate(**pair.given)
    assert "user app" in file.read_text()
    assert "ACL SAVE" not in " ".join(rb.replicate(**pair.given).actions)


@pytest.mark.parametrize(("from_file", "to_file"), [(True, False), (False, True), (True, True)])
def test_users_in_files_on_either_side(
    server: ServerFactory, journal_dir: Path, tmp_path: Path, *, from_file: bool, to_file: bool
) -> None:
    files = [tmp_path / "source.acl", tmp_path / "target.acl"]
    for file in files:
        file.write_text("user default on nopass ~* &* +@all\n")
    source = server("redis-7.0", aclfile=str(files[0]) if from_file else "")
    target = server("redis-8.0", aclfile=str(files[1]) if to_file else "")
    # Live, and in no file.
    source.call("ACL", "SETUSER", "app", "on", f">{SECRET}", "~app:*", "+get")
    pair = Pair(source, target, journal_dir)
    done = rb.replicate(**pair.given)
    assert done.users_carried == ["app"]
    assert "app" in users(target)
    assert ("user app" in files[1].read_text()) == to_file
    assert "user app" not in files[0].read_text()
