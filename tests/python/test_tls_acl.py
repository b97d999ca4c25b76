"""TLS alone, client certificates, ACL users: a whole upgrade, and secrets stay secret."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis_baton as rb

from tests.python.common import SECRET, Given, Pair, assert_probe_saw_no_harm, data_of
from tests.support import dataset

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ServerFactory
    from tests.support.certificates import Certificates
    from tests.support.servers import Instance

APP_SECRET = "app-password-nobody-sees"
NEW_SECRET = "target-password-nobody-sees"
SECRETS = (SECRET, APP_SECRET, NEW_SECRET)


def endpoint(one: Instance, certificates: Certificates, **login: str) -> rb.Endpoint:
    return rb.Endpoint(
        "127.0.0.1",
        one.port,
        tls=True,
        ca_certs=str(certificates.ca),
        client_cert_file=str(certificates.client),
        client_key_file=str(certificates.client_key),
        user=login.get("user"),
        password=login.get("password"),
    )


def app_login(port: int, certificates: Certificates) -> redis.Redis:
    """Log in as the application does, over TLS with a certificate."""
    return redis.Redis(
        port=port,
        username="app",
        password=APP_SECRET,
        ssl=True,
        ssl_ca_certs=str(certificates.ca),
        ssl_certfile=str(certificates.client),
        ssl_keyfile=str(certificates.client_key),
        decode_responses=True,
    )


@pytest.fixture
def pair(server: ServerFactory, certificates: Certificates, journal_dir: Path) -> Pair:
    """Start two servers that take TLS with client certificates only, with users."""
    source, target = (
        server(name, tls=certificates, tls_auth_clients=True) for name in ("redis-7.0", "redis-8.0")
    )
    for user, secret, rules in (
        ("ops", SECRET, ["~*", "&*", "+@all"]),
        ("app", APP_SECRET, ["~app:*", "&news", "+@read", "+@write", "-flushall"]),
    ):
        source.call("ACL", "SETUSER", user, "on", f">{secret}", *rules)
    target.call("ACL", "SETUSER", "admin", "on", f">{NEW_SECRET}", "~*", "&*", "+@all")
    with source.client() as client:
        dataset.fill(client, keys=1000)
    return Pair(source, target, journal_dir)


def given_of(pair: Pair, certificates: Certificates) -> Given:
    return Given(
        source=endpoint(pair.source, certificates, user="ops", password=SECRET),
        target=endpoint(pair.target, certificates, user="admin", password=NEW_SECRET),
        journal_dir=pair.journal_dir,
    )


def test_a_whole_upgrade(pair: Pair, certificates: Certificates) -> None:
    public, private = pair.ports
    data = data_of(pair.source)
    users = {line.split()[1]: line for line in pair.source.call("ACL", "LIST")}
    said: list[Any] = []
    given = given_of(pair, certificates)

    found = rb.preflight(**given, on_event=said.append)
    assert found.ok
    done = rb.upgrade(**given, quiet_for=0.1, probe=True, on_event=said.append)
    assert_probe_saw_no_harm(done.probe, "refused")
    assert (done.stage, done.serving) == ("switched", f"127.0.0.1:{public}")
    assert pair.target.current_port == public
    assert pair.target.call("CONFIG", "GET", "port") == {"port": "0"}
    assert data_of(pair.target) == data
    replicate = next(step for step in done.steps if step.name == "replicate")
    assert set(replicate.result["users_carried"]) >= {"app", "ops"}
    carried = {line.split()[1]: line for line in pair.target.call("ACL", "LIST")}
    assert "admin" in carried  # its own user stays
    for user in ("app", "ops"):
        assert set(users[user].split()) - {"sanitize-payload"} == set(carried[user].split()) - {
            "sanitize-payload"
        }
    with app_login(public, certificates) as app:
        assert app.set("app:1", "written after the switchover")
        with pytest.raises(redis.exceptions.NoPermissionError):
            app.get("another")

    back = rb.rollback(**given, on_event=said.append)
    assert (back.warm, pair.ports) == (True, (public, private))
    with app_login(public, certificates) as app:
        assert app.get("app:1") == "written after the switchover"
    ended = rb.upgrade(**given, until="retire", quiet_for=0.1, on_event=said.append)
    assert ended.stage == "retired"
    assert pair.target.call("CONFIG", "GET", "masterauth") == {"masterauth": ""}
    assert pair.target.call("CONFIG", "GET", "masteruser") == {"masteruser": ""}

    assert any(event["event"] == "action" for event in said)
    shown = [said, found, done, back, ended, found.as_dict(), done.as_dict(), given["source"]]
    assert_no_secret("".join(repr(one) for one in shown) + json.dumps(said))
    assert_no_secret(text_of(pair.journal_dir))


def assert_no_secret(text: str) -> None:
    for secret in SECRETS:
        assert secret not in text


def text_of(folder: Path) -> str:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return "".join(path.read_text() for path in files)


def test_a_login_for_replication(pair: Pair, certificates: Certificates) -> None:
    rules = ["+psync", "+replconf", "+ping"]
    pair.source.call("ACL", "SETUSER", "sync", "on", ">sync-password-nobody-sees", *rules)
    given = given_of(pair, certificates)
    login = {
        "replication_user": "sync",
        "replication_password": "sync-password-nobody-sees",
    }
    said: list[Any] = []
    wishes: dict[str, Any] = {**given, **login, "quiet_for": 0.1, "on_event": said.append}
    done = rb.upgrade(**wishes, until="verify")
    assert pair.target.call("CONFIG", "GET", "masteruser") == {"masteruser": "sync"}
    done = rb.upgrade(**wishes)
    assert done.stage == "switched"
    # It is linked with that login, and could not link again by itself.
    assert pair.source.call("CONFIG", "GET", "masteruser") == {"masteruser": "redis-baton-fuse"}
    assert pair.source.info("replication")["master_link_status"] == "up"
    text = f"{said} {done!r} {done.as_dict()}" + text_of(pair.journal_dir)
    assert "sync-password-nobody-sees" not in text
    rb.upgrade(**wishes, until="retire")
    assert pair.target.call("CONFIG", "GET", "masteruser") == {"masteruser": ""}


def test_no_secret_in_an_error(pair: Pair, certificates: Certificates) -> None:
    given = given_of(pair, certificates)
    given["source"] = endpoint(pair.source, certificates, user="ops", password=NEW_SECRET)
    with pytest.raises(rb.ConnectionFailed) as refused:
        rb.upgrade(**given)
    assert refused.value.reason == "auth_failed"
    # A target that can't log in at the source.
    wrong: dict[str, Any] = {"replication_user": "ops", "replication_password": APP_SECRET}
    with pytest.raises(rb.ConnectionFailed) as shut_out:
        rb.replicate(**given_of(pair, certificates), **wrong)
    assert (shut_out.value.reason, shut_out.value.state) == ("auth_failed", "unchanged")
    # Something fails after settings were raised.
    pair.source.call("ACL", "SETUSER", "ops", "-psync", "-sync")
    with pytest.raises(rb.TimedOut) as late:  # noqa: PT012 # either step may be the one to see it
        rb.replicate(**given_of(pair, certificates), wait_timeout=0.5)
        rb.wait_synced(**given_of(pair, certificates), wait_timeout=0.5)
    assert (late.value.reason, late.value.state) == ("sync_timed_out", "interrupted")
    for error in (refused.value, shut_out.value, late.value):
        assert_no_secret(f"{error} {error!r} {vars(error)}")
    assert_no_secret(text_of(pair.journal_dir))


def test_a_client_certificate_is_asked_for(pair: Pair, certificates: Certificates) -> None:
    given = given_of(pair, certificates)
    given["source"] = rb.Endpoint(
        port=pair.source.port, tls=True, ca_certs=str(certificates.ca), connect_timeout=1
    )
    with pytest.raises(rb.ConnectionFailed) as refused:
        rb.upgrade(**given)
    assert (refused.value.reason, refused.value.state) == ("tls_failed", "unchanged")
    assert "certificate" in str(refused.value)


def test_without_verification_any_certificate_will_do(
    server: ServerFactory, certificates: Certificates, journal_dir: Path
) -> None:
    pair = Pair(
        server("redis-7.0", tls=certificates), server("redis-8.0", tls=certificates), journal_dir
    )
    source, target = (
        rb.Endpoint(port=one.port, tls=True, validate_certs=False)
        for one in (pair.source, pair.target)
    )
    done = rb.upgrade(source=source, target=target, journal_dir=journal_dir, quiet_for=0.1)
    assert done.stage == "switched"
