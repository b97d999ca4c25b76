"""Debian's redis-server is upgraded and restarted under load; the host is booted again in the middle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.load import Load
from tests.systemd.conftest import CONFIG, UNIT

if TYPE_CHECKING:
    from tests.systemd.conftest import Service

pytestmark = pytest.mark.timeout(180)


def test_the_package_is_upgraded_under_load(service: Service) -> None:
    older, newer = service.versions
    assert service.installed == older
    before = service.pid()
    with Load(port=service.public, rate=5000) as load:
        played = service.restart(service.install(newer))
        report = load.stop(verify_port=service.public)
    assert played.status == 0, played.output
    assert report.lost == 0, report
    assert report.wrong == 0, report
    assert report.errors == {}, report
    assert report.disconnects_max <= 2, report
    assert (service.installed, service.pid() == before) == (newer, False)
    service.assert_restarted()
