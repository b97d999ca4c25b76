"""Each module on real servers: in check mode, for real, again; then the servers are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.ansible.runner import connection
from tests.ansible.test_contract import documentation
from tests.support.haproxy import NAME, HAProxy, find_haproxy
from tests.support.sentinel import NAME as MASTER
from tests.support.sentinel import Sentinels
from tests.support.servers import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.ansible.runner import Ansible, Outcome
    from tests.conftest import ServerFactory
    from tests.support.certificates import Certificates
    from tests.support.servers import Instance

KEYS = 1000
SECRET = "hunter2-is-never-shown"
# What Ansible adds to what a module returns.
FROM_ANSIBLE = {"changed", "diff", "exception", "failed", "invocation", "warnings"}

Task = dict[str, Any]


def thrice(module: str, **options: object) -> list[Task]:
    """Return the tasks that run a module in check mode, for real, and again."""
    return [once(module, **options) | {"check_mode": True}, *twice(module, **options)]


def twice(module: str, **options: object) -> list[Task]:
    return [once(module, **options), once(module, **options)]


def once(module: str, **options: object) -> Task:
    return {f"baton.redis.{module}": options}


def statuses(outcome: Outcome, module: str) -> list[str]:
    return [task.status for task in outcome.of(module)]


def fill(instance: Instance) -> None:
    with instance.client() as client:
        client.mset({f"key:{n}": f"value {n}" for n in range(KEYS)})


@pytest.fixture
def pair(server: ServerFactory) -> tuple[Instance, Instance]:
    """Return a source with data and an empty target."""
    source, target = server("redis-7.0"), server("redis-8.0")
    fill(source)
    return source, target


def assert_documented(outcome: Outcome) -> None:
    """Fail if a module returned what its documentation does not have."""
    ours = sorted({task.action for task in outcome if task.action.startswith("baton.redis.")})
    found = documentation("-t", "module", *ours)
    for task in outcome:
        if task.action in ours:
            undocumented = set(task.result) - set(found[task.action]["return"]) - FROM_ANSIBLE
            assert not undocumented, task


def test_the_steps_of_an_upgrade(
    ansible: Ansible, pair: tuple[Instance, Instance], journal_dir: Path
) -> None:
    source, target = pair
    public, aside = source.port, target.port
    diary = journal_dir.with_name("diary")
    note = ["sh", "-c", 'echo "$REDIS_BATON_MOMENT $REDIS_BATON_SERVING" >>"$0"', str(diary)]
    outcome = ansible.tasks(
        [
            *thrice("preflight"),
            *thrice("replicate"),
            *thrice("wait_synced"),
            *thrice("verify", sample_keys=50),
            *thrice("switchover", hooks={"before": note, "promoted": note}, hook_timeout=5),
            *twice("clients"),
            *thrice("wait_quiescent", quiet_for=0.2, monitor=0.1),
            *thrice("rollback", probe=True),
            once("switchover", probe="no"),
        ],
        "--diff",
        defaults=connection(source, target, journal_dir),
    )
    assert outcome.status == 0, outcome.output
    for look in ("preflight", "verify", "clients", "wait_quiescent"):
        assert set(statuses(outcome, look)) == {"ok"}, look
    # What was raised for the sync is restored at its end, whenever that is.
    assert statuses(outcome, "wait_synced")[1:] == ["changed", "ok"]
    for act in ("replicate", "switchover", "rollback"):
        assert statuses(outcome, act)[:3] == ["changed", "changed", "ok"], act
        checked, done, again = outcome.of(act)[:3]
        assert checked.result["actions"], act
        assert done.result["diff"]["before"] != done.result["diff"]["after"], act
        assert again.result["actions"] == [], act
    assert_documented(outcome)

    synced = outcome.of("wait_synced")[1].result
    assert synced["synced"] is True
    verified = outcome.of("verify")[1].result
    assert (verified["equal"], verified["compared"]) == (True, 50)
    assert verified["databases"][0]["target_keys"] == KEYS
    switched = outcome.of("switchover")[1].result
    assert switched["serving"].endswith(f":{public}")
    assert switched["warm"] is True
    assert diary.read_text().splitlines() == [
        f"{moment} 127.0.0.1:{public}" for moment in ("before", "promoted")
    ]
    rolled_back = outcome.of("rollback")[1].result
    assert rolled_back["probe"]["lost"] == 0
    assert rolled_back["probe"]["writes"] > 10
    assert switched["probe"] is None
    assert rolled_back["serving"].endswith(f":{public}")
    assert rolled_back["parked"].endswith(f":{aside}")
    assert rolled_back["after"]["source"]["role"] == "master"
    assert (source.role, target.role, target.current_port) == ("slave", "master", public)

    with source.client() as stray:
        stray.ping()
        outcome = ansible.tasks(
            [*thrice("clients", disconnect={"kinds": ["normal"]}), *thrice("retire")],
            defaults=connection(source, target, journal_dir),
        )
    assert outcome.status == 0, outcome.output
    assert statuses(outcome, "clients") == ["changed", "changed", "ok"]
    assert [len(task.result["disconnected"]) for task in outcome.of("clients")] == [1, 1, 0]
    assert [len(task.result["stragglers"]) for task in outcome.of("clients")] == [1, 0, 0]
    assert statuses(outcome, "retire") == ["changed", "changed", "ok"]
    assert_documented(outcome)
    eventually(lambda: not source.alive, "the source has ended")
    assert (target.role, target.current_port) == ("master", public)
    assert target.call("DBSIZE") == KEYS


def test_clients_behind_haproxy(
    ansible: Ansible, pair: tuple[Instance, Instance], journal_dir: Path, tmp_path: Path
) -> None:
    source, target = pair
    program = find_haproxy()
    if program is None:
        pytest.skip(f"{NAME} is not on this machine")
    servers = {"old": source.address, "new": target.address}
    with HAProxy(program, tmp_path / "proxy", servers, disabled=["new"]) as proxy:
        way = {"redirect": "haproxy", "haproxy": {"sockets": [str(proxy.socket)]}}
        steps = [
            once("preflight", **way),
            once("replicate", **way),
            once("wait_synced"),
            *thrice("switchover", **way),
            once("rollback"),
        ]
        outcome = ansible.tasks(steps, defaults=connection(source, target, journal_dir))
        assert outcome.status == 0, outcome.output
        assert statuses(outcome, "switchover") == ["changed", "changed", "ok"]
        assert any(
            "redis/old state maint" in line
            for line in outcome.of("switchover")[0].result["actions"]
        )
        assert_documented(outcome)
        assert (proxy.serving, source.role, target.role) == (["old"], "master", "slave")


def test_clients_through_a_relay(
    ansible: Ansible, pair: tuple[Instance, Instance], journal_dir: Path
) -> None:
    source, target = pair
    # Else a relay to this host would get round its protected mode.
    source.call("CONFIG", "SET", "protected-mode", "no")
    target.call("CONFIG", "SET", "protected-mode", "no")
    steps = [
        once("replicate", redirect="relay"),
        once("wait_synced"),
        *thrice("switchover", redirect="relay"),
        *thrice("relay"),
        *thrice("relay", end=True),
    ]
    outcome = ansible.tasks(steps, defaults=connection(source, target, journal_dir))
    assert outcome.status == 0, outcome.output
    assert statuses(outcome, "switchover") == ["changed", "changed", "ok"]
    assert statuses(outcome, "relay") == ["ok"] * 3 + ["changed", "changed", "ok"]
    running = [task.result["running"] for task in outcome.of("relay")]
    assert running == [True] * 4 + [False] * 2
    [listens] = outcome.of("relay")[0].result["listens"]
    assert f"port {source.port}" in listens
    assert_documented(outcome)
    assert (source.role, target.role) == ("slave", "master")


def test_status_at_each_stage(
    ansible: Ansible, pair: tuple[Instance, Instance], journal_dir: Path
) -> None:
    source, target = pair
    outcome = ansible.tasks(
        [
            *thrice("status"),
            once("replicate"),
            once("wait_synced"),
            once("status"),
            once("switchover"),
            *thrice("status"),
            once("retire"),
            once("status"),
        ],
        "--diff",
        defaults=connection(source, target, journal_dir),
    )
    assert outcome.status == 0, outcome.output
    assert set(statuses(outcome, "status")) == {"ok"}
    assert_documented(outcome)
    found = [task.result for task in outcome.of("status")]
    stages = [result["stage"] for result in found]
    assert stages == ["apart"] * 3 + ["following"] + ["switched"] * 3 + ["retired"]
    assert [result["warm"] for result in found] == [None] * 4 + [True] * 3 + [None]
    assert {result["serving"] for result in found} == {source.address}
    assert [found[n]["parked"] is None for n in (0, 4, 7)] == [False, False, True]
    before, after = found[3], found[4]
    assert before["since"] is None
    assert after["since"] > 0
    assert any("repl-backlog-size" in line for line in after["raised"])
    assert found[7]["raised"] == []
    assert all(result["actions"] == [] for result in found)
    assert "the old one is warm" in after["msg"]


def test_promote(ansible: Ansible, pair: tuple[Instance, Instance], journal_dir: Path) -> None:
    source, target = pair
    outcome = ansible.tasks(
        [once("replicate"), once("wait_synced"), *thrice("promote")],
        defaults=connection(source, target, journal_dir),
    )
    assert outcome.status == 0, outcome.output
    assert statuses(outcome, "promote") == ["changed", "changed", "ok"]
    assert_documented(outcome)
    assert (target.role, target.call("DBSIZE")) == ("master", KEYS)


def test_config(ansible: Ansible, server: ServerFactory) -> None:
    one = server("redis-8.0", password="old-secret")
    wanted = {
        "maxmemory": "1gb",
        "rdbcompression": False,
        "save": ["3600 1", "300 100"],
        "databases": 32,
        "masterauth": "link-secret",
    }
    login = {"login_port": one.port, "login_password": "old-secret"}
    outcome = ansible.tasks(
        [
            *thrice("config", **login, parameters=wanted, rewrite=True),
            *thrice("config", **login, parameters={"requirepass": "new-secret"})[:2],
            once("config", **login, parameters={}) | {"ignore_errors": True},
        ],
        "-vvv",
        "--diff",
        defaults={},
    )
    assert outcome.status == 0, outcome.output
    expected = ["changed", "changed", "ok", "changed", "changed", "failed"]
    assert statuses(outcome, "config") == expected
    assert_documented(outcome)
    checked, done, again = (task.result for task in outcome.of("config")[:3])
    assert checked["diff"] == done["diff"]
    assert done["diff"]["before"] != done["diff"]["after"]
    assert (done["set"], done["rewritten"]) == ([*list(wanted)[:3], "masterauth"], True)
    assert (again["actions"], again["rewritten"]) == ([], False)
    for result in (checked, done, again):
        (left,) = result["restart_required"]
        assert (left["parameter"], left["present"], left["wanted"]) == ("databases", "16", "32")
        assert result["msg"].endswith("but for what needs a restart: databases.")
    one.password = "new-secret"
    assert one.call("CONFIG", "GET", "save") == {"save": "3600 1 300 100"}
    assert "-secret" not in outcome.output + "".join(str(task.result) for task in outcome)


def test_persistence(ansible: Ansible, server: ServerFactory) -> None:
    one = server("redis-8.0", save="3600 1")
    fill(one)
    login = {"login_port": one.port}
    outcome = ansible.tasks(
        [
            *thrice("persistence", **login, mode="both", appendfsync="always"),
            *thrice("persistence", **login, mode="aof"),
            *thrice("persistence", **login, mode="rdb", save="60 1"),
            once("persistence", **login, mode="aof", save="60 1") | {"ignore_errors": True},
            once("persistence", **login, mode="none"),
        ],
        "--diff",
        defaults={},
    )
    assert outcome.status == 0, outcome.output
    tasks = outcome.of("persistence")
    assert [task.status for task in tasks[:9]] == ["changed", "changed", "ok"] * 3
    assert_documented(outcome)
    checked, done, again = (task.result for task in tasks[:3])
    assert checked["diff"] == done["diff"]
    assert (done["before"]["mode"], done["after"]["mode"]) == ("rdb", "both")
    assert (again["previous_mode"], again["appendfsync"], again["actions"]) == (
        "both",
        "always",
        [],
    )
    assert (tasks[7].result["save"], tasks[8].result["msg"][:13]) == ("60 1", "Nothing to do")
    assert (tasks[9].status, tasks[9].result["reason"]) == ("failed", "invalid_input")
    assert "comes back empty" in tasks[10].result["warnings"][0]
    assert one.call("CONFIG", "GET", "save", "appendonly") == {"save": "", "appendonly": "no"}


def test_upgrade_in_one_task(
    ansible: Ansible, pair: tuple[Instance, Instance], journal_dir: Path
) -> None:
    source, target = pair
    options = {"quiet_for": 0.2}
    outcome = ansible.tasks(
        [
            once("upgrade", until="verify"),
            *thrice("upgrade", **options),
            *thrice("upgrade", **options, until="retire"),
        ],
        defaults=connection(source, target, journal_dir),
    )
    assert outcome.status == 0, outcome.output
    assert statuses(outcome, "upgrade") == ["changed", *["changed", "changed", "ok"] * 2]
    assert_documented(outcome)
    stages = [task.result["stage"] for task in outcome.of("upgrade")]
    assert stages[0::3] == ["following", "switched", "retired"]
    assert (target.role, target.current_port) == ("master", source.port)
    assert target.call("DBSIZE") == KEYS


def test_clients_that_ask_sentinel(
    ansible: Ansible, pair: tuple[Instance, Instance], journal_dir: Path, tmp_path: Path
) -> None:
    source, target = pair
    with Sentinels([source.binary] * 3, tmp_path, source, password=SECRET) as sentinels:
        one = {"sentinels": [sentinels.all[0].address], "name": MASTER, "password": SECRET}
        way = {"redirect": "sentinel", "sentinel": one}
        outcome = ansible.tasks(
            [
                once("preflight", **way),
                once("replicate", **way),
                once("wait_synced"),
                *thrice("switchover", **way),
                *twice("rollback", **way),
                once("switchover", **way),
                once("wait_quiescent", quiet_for=0.2),
                *thrice("retire", **way),
            ],
            defaults=connection(source, target, journal_dir),
        )
        assert outcome.status == 0, outcome.output
        for act in ("switchover", "retire"):
            assert statuses(outcome, act)[:3] == ["changed", "changed", "ok"], act
        assert statuses(outcome, "rollback") == ["changed", "ok"]
        assert_documented(outcome)
        assert SECRET not in outcome.output
        assert sentinels.agree(target.address)
        assert [each.replicas for each in sentinels.all] == [set()] * 3
    assert target.call("DBSIZE") == KEYS


def test_bad_input_is_one_sentence_and_changes_nothing(
    ansible: Ansible, pair: tuple[Instance, Instance], server: ServerFactory, journal_dir: Path
) -> None:
    source, target = pair
    guarded = server("redis-8.0", password="secret")
    full = server("redis-8.0")
    fill(full)
    at_target = {"login_port": target.port}
    cases: list[tuple[str, dict[str, Any], str | None]] = [
        ("preflight", {"login_port": 1}, "unreachable"),
        ("preflight", {"login_host": "no-such-host.invalid"}, "host_unknown"),
        ("preflight", {"login_port": guarded.port}, "auth_failed"),
        ("preflight", {"login_port": guarded.port, "login_password": "wrong"}, "auth_failed"),
        ("preflight", {"login_port": source.port}, "same_server"),
        ("preflight", {"login_host": "localhost", "login_port": source.port}, "same_server"),
        ("preflight", {"tls": True}, "tls_failed"),
        ("preflight", {"login_port": full.port}, "target_has_data"),
        ("preflight", {"login_port": 70000}, "invalid_input"),
        ("preflight", {"connect_timeout": -1}, "invalid_input"),
        ("preflight", {"ca_certs": "/no/such/file", "tls": True}, "invalid_input"),
        ("preflight", {"login_port": "redis"}, None),
        ("preflight", {"client_cert_file": "/tmp/cert.pem"}, None),  # noqa: S108
        ("replicate", {"login_port": full.port}, "target_has_data"),
        ("replicate", {"replication_user": "someone"}, "invalid_input"),
        ("wait_synced", {}, "not_replicating"),
        ("wait_synced", {"wait_timeout": "soon"}, None),
        ("verify", {}, "not_replicating"),
        ("verify", {"sample_keys": -1}, "invalid_input"),
        ("verify", {"level": "all"}, None),
        ("verify", {"rate": 0}, "invalid_input"),
        ("switchover", {}, "not_replicating"),
        ("switchover", {"attempts": 0}, "invalid_input"),
        ("switchover", {"pause_budget": -1}, "invalid_input"),
        ("switchover", {"redirect": "proxy"}, None),
        ("switchover", {"probe": "redis://app:secret@127.0.0.1:1"}, "invalid_input"),
        ("switchover", {"probe": "perhaps"}, "invalid_input"),
        ("switchover", {"redirect": "haproxy"}, "invalid_input"),
        ("promote", {}, "not_replicating"),
        ("retire", {}, "only_copy"),
        ("upgrade", {"until": "never"}, None),
        ("config", at_target | {"parameters": {"no-such": 1}}, "parameter_unknown"),
        ("config", at_target | {"parameters": {"hz": "often"}}, "parameter_refused"),
        ("config", at_target | {"parameters": {"hz": None}}, "invalid_input"),
        ("config", at_target | {"parameters": {"max*": 1}}, "invalid_input"),
        ("config", at_target, None),
    ]
    outcome = ansible.tasks(
        [once(module, **options) | {"ignore_errors": True} for module, options, _ in cases],
        defaults=connection(source, target, journal_dir),
    )
    assert "Traceback" not in outcome.output
    for (module, options, reason), task in zip(cases, outcome, strict=True):
        case = f"{module} {options}: {task.result}"
        assert task.status == "failed", case
        assert task.result.get("reason") == reason, case
        assert "\n" not in task.result["msg"], case
        if reason:
            assert task.result["state"] == "unchanged", case
    assert [one.role for one in (source, target, full)] == ["master"] * 3
    assert (source.call("DBSIZE"), target.call("DBSIZE")) == (KEYS, 0)


def test_findings_and_differences_need_not_fail(
    ansible: Ansible, pair: tuple[Instance, Instance], journal_dir: Path
) -> None:
    source, target = pair
    fill(target)
    outcome = ansible.tasks(
        [
            once("preflight", fail=False),
            once("preflight", force=True),
            once("replicate", force=True),
            once("wait_synced"),
        ],
        defaults=connection(source, target, journal_dir),
    )
    assert outcome.status == 0, outcome.output
    found, forced = (task.result for task in outcome.of("preflight"))
    assert (found["ok"], forced["ok"]) == (False, True)
    assert found["findings"][0]["code"] == "target_has_data"
    assert "initial sync would wipe" in forced["warnings"][0]

    target.call("CONFIG", "SET", "replica-read-only", "no")
    target.call("SET", "of its own", 1)
    outcome = ansible.tasks(
        [
            once("verify", fail=False),
            once("verify") | {"ignore_errors": True},
            *thrice(
                "verify", level="full", by="reads", fail=False, max_differences=1, rate=100_000
            ),
        ],
        defaults=connection(source, target, journal_dir),
    )
    assert_documented(outcome)
    tolerated, failed, checked, full, again = outcome.of("verify")
    assert (checked.result["equal"], checked.result["compared"]) == (False, 0)
    for task in (full, again):
        assert (task.status, task.result["differing"]) == ("ok", 1)
        assert task.result["differences"][-1].startswith('key "of its own" of database 0: string')
    assert (tolerated.status, tolerated.result["equal"]) == ("ok", False)
    assert (failed.status, failed.result["reason"]) == ("failed", "counts_differ")


def test_secrets_stay_secret_and_tls_is_spoken(
    ansible: Ansible, server: ServerFactory, certificates: Certificates, journal_dir: Path
) -> None:
    source = server("redis-7.0", password="source-secret", tls=certificates)
    target = server("redis-8.0", password="target-secret", tls=certificates)
    source.call("ACL", "SETUSER", "app", "on", ">app-secret", "~*", "+@all")
    source.call("ACL", "SETUSER", "copier", "on", ">copier-secret", "+psync", "+replconf", "+ping")
    hashes = [source.call("ACL", "GETUSER", user)["passwords"][0] for user in ("app", "copier")]
    login = {"replication_user": "copier", "replication_password": "copier-secret"}
    names = connection(source, target, journal_dir)
    outcome = ansible.tasks(
        [
            once("preflight", source_password="wrong-secret") | {"ignore_errors": True},
            once("preflight", ca_certs=str(certificates.stranger_ca)) | {"ignore_errors": True},
            once("preflight"),
            *thrice("replicate", **login),
            once("wait_synced"),
            once("verify"),
            *thrice("switchover", **login),
            once("wait_quiescent", quiet_for=0.1),
        ],
        "-vvv",
        "--diff",
        defaults=names,
    )
    assert outcome.status == 0, outcome.output
    assert [task.result["reason"] for task in outcome if task.status == "failed"] == [
        "auth_failed",
        "tls_failed",
    ]
    target.password = source.password  # carried over with the source's users
    assert target.role == "master"
    assert "app" in outcome.of("replicate")[1].result["users_carried"]
    everything = outcome.output + "".join(str(task.result) for task in outcome)
    for secret in ("-secret", *hashes):
        assert secret not in everything, secret
    for kept in journal_dir.rglob("*"):
        if kept.is_file():
            for secret in ("app-secret", "copier-secret", "source-secret", "target-secret"):
                assert secret not in kept.read_text(), kept
