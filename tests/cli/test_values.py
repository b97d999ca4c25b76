"""What is typed, or stands in the file of --config, becomes what the steps take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import pytest
from redis_baton.cli import gather
from redis_baton.cli.kinds import DURATION, SIZE
from redis_baton.cli.parameters import WISHES, as_typed
from redis_baton.cli.settings import Settings
from redis_baton.cli.words import seconds

from tests.cli.common import baton, of
from tests.python.common import Pair, put
from tests.support.haproxy import NAME, HAProxy, find_haproxy

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ServerFactory


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [("1.5", 1.5), ("250ms", 0.25), ("90s", 90), ("5m", 300), ("2H", 7200), (30, 30)],
)
def test_durations(typed: Any, wanted: float) -> None:  # noqa: ANN401 # as it is typed
    assert DURATION.convert(typed, None, None) == wanted


@pytest.mark.parametrize(
    ("typed", "size"), [("65536", 65536), ("64kb", 65536), ("1m", 1 << 20), ("1.5gb", 3 << 29)]
)
def test_sizes(typed: str, size: int) -> None:
    assert SIZE.convert(typed, None, None) == size


@pytest.mark.parametrize("wrong", ["", "-1", "5 minutes", "1e3", "nan", True, []])
def test_what_is_no_measure(wrong: Any) -> None:  # noqa: ANN401 # as it is typed
    for kind in (DURATION, SIZE):
        with pytest.raises(click.BadParameter):
            kind.convert(wrong, None, None)


@pytest.mark.parametrize("default", [0.025, 0.05, 1.0, 30.0, 60.0, 3600.0, 5400.0])
def test_a_default_is_shown_as_it_could_be_typed(default: float) -> None:
    assert DURATION.convert(DURATION.shown(default), None, None) == pytest.approx(default)
    assert SIZE.convert(SIZE.shown(round(default * 1024)), None, None) == round(default * 1024)


@pytest.mark.parametrize(
    ("count", "said"),
    [(0.44, "0.4 s"), (205, "3:25"), (3805, "1:03:25"), (172_799, "47:59:59"), (172_800, "2 days")],
)
def test_a_time_is_as_long_as_it_must_be(count: float, said: str) -> None:
    assert seconds(count) == said


def test_what_the_library_calls_its_parameters_is_typed_otherwise() -> None:
    said = "wait_synced says: give break_lock, a longer wait_timeout, redirect=none, or force"
    assert as_typed(said) == (
        "wait_synced says: give --break-lock, a longer --wait-timeout, --redirect none, or --force"
    )
    assert as_typed("give a longer wait_timeout. It's the source's max_latency") == (
        "give a longer --wait-timeout. It's the source's --max-latency"
    )


@pytest.mark.parametrize(
    "said",
    [
        "the journal /srv/journal_dir/a.jsonl can't be written",
        "journal_dir.old/a, /srv/x.journal_dir and /srv/old-journal_dir are there",
        'key "wait_timeout" of database 0: string',
        r'key "a \"b\" wait_timeout" of database 0: string',
        "'redirect=none' is not one of them, nor `or force`",
    ],
)
def test_what_only_happens_to_be_called_so_stays(said: str) -> None:
    assert as_typed(said) == said


def test_a_redirect() -> None:
    given = ["sockets=/a", "sockets=/b", "backends=db"]
    assert gather.redirect("haproxy", given, "") == {
        "haproxy": {"sockets": ["/a", "/b"], "backends": ["db"]}
    }
    given = ["sentinels=a:1", "name=m", "tls.ca_certs=/ca", "tls.validate_certs=no"]
    assert gather.redirect("sentinel", given, "") == {
        "sentinel": {
            "sentinels": ["a:1"],
            "name": "m",
            "tls": {"ca_certs": "/ca", "validate_certs": False},
        }
    }
    assert gather.redirect("relay", ["idle=600"], "") == {"relay": {"idle": 600}}
    assert gather.redirect("none", [], "") == "none"
    with pytest.raises(click.BadParameter):
        gather.redirect("relay", ["idle=soon"], "")


def test_what_may_come_several_times() -> None:
    assert gather.parameters(["hz=20", "save=1 1", "save=2 2"], "") == {
        "hz": "20",
        "save": ["1 1", "2 2"],
    }
    assert gather.hooks(["after=tell-us 'it is done'"], "") == {"after": ["tell-us", "it is done"]}
    assert gather.selection(["names=a", "names=b", "users=c"], "") == {
        "names": ["a", "b"],
        "users": ["c"],
    }


def test_a_file_keeps_passwords_of_others_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_SENTINELS", "secret-1")
    (tmp_path / "secret").write_text("secret-2\n")
    file = tmp_path / "pair.toml"
    file.write_text(
        """
        [options]
        replication_user = "repl"
        replication_password_file = "secret"
        [switchover.redirect.sentinel]
        sentinels = ["a:1"]
        name = "m"
        password_env = "OF_SENTINELS"
        """
    )
    settings = Settings(file, {"switchover": set(WISHES), "verify": {"level"}})
    given = settings.options("switchover", {*WISHES, "replication_password"})
    assert given == {
        "replication_user": "repl",
        "replication_password": "secret-2",
        "redirect": {"sentinel": {"sentinels": ["a:1"], "name": "m", "password": "secret-1"}},
    }
    assert settings.options("verify", {"level"}) == {}


def test_clients_led_by_haproxy(server: ServerFactory, journal_dir: Path, tmp_path: Path) -> None:
    program = find_haproxy()
    if program is None:
        pytest.skip(f"{NAME} is not on this machine")
    pair = Pair(server("redis-7.0"), server("redis-8.0"), journal_dir)
    pair.follow(10)
    entries = {"old": pair.source.address, "new": pair.target.address}
    with HAProxy(program, tmp_path / "proxy", entries, disabled=["new"]) as proxy:
        way = ("--redirect", "haproxy", "--redirect-option", f"sockets={proxy.socket}")
        done = baton("switchover", *of(pair), *way, "--yes", password=None)
        assert done.status == 0, done.err
        assert proxy.serving == ["new"]


def test_a_plan_says_that_there_is_no_way_back_from_6_0(
    server: ServerFactory, journal_dir: Path
) -> None:
    source, target = server("redis-6.0"), server("redis-8.0")
    put(source, 10)
    told = baton(
        "plan", source.address, target.address, "--journal-dir", journal_dir, password=None
    )
    assert told.status == 0, told
    assert "the source is shut down in the switchover: there is no way back" in told.out
    assert "warning irreversible" in told.out
