"""What one of our tasks costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.ansible.runner import connection

if TYPE_CHECKING:
    from pathlib import Path

    from tests.ansible.runner import Ansible
    from tests.conftest import ServerFactory

ROUNDS = 8
ALLOWED = 0.05


def test_a_task_costs_little_more_than_a_ping(
    ansible: Ansible, server: ServerFactory, journal_dir: Path
) -> None:
    names = connection(server("redis-7.0"), server("redis-8.0"), journal_dir)
    ping, ours = "ansible.builtin.ping", "baton.redis.preflight"
    outcome = ansible.tasks([{ping: {}}, {ours: {}}] * ROUNDS, defaults=names)
    assert outcome.status == 0, outcome.output
    # The best of several: whatever else the machine does only makes a task slower.
    best = {
        action: min(task.seconds for task in outcome if task.action == action)
        for action in (ping, ours)
    }
    assert best[ours] < best[ping] + ALLOWED, best
