"""What an Ansible task of ours costs, beside `ansible.builtin.ping`."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

from bench.playbook import OUR_COLLECTIONS, play

if TYPE_CHECKING:
    from tests.support.servers import Instance

PING = "ansible.builtin.ping"
OURS = "baton.redis.preflight"


def task_costs(old: Instance, new: Instance, folder: Path, rounds: int) -> dict[str, float]:
    """Run both tasks in turn in one playbook; the median seconds of each."""
    ours = {"source_port": old.port, "login_port": new.port, "journal_dir": str(folder)}
    tasks: list[dict[str, object]] = [{PING: {}}, {OURS: ours}] * rounds
    playbook = folder / "tasks.json"  # JSON is YAML
    playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    seconds: dict[str, list[float]] = {PING: [], OURS: []}
    for task in play(playbook, folder / "ansible", collections=OUR_COLLECTIONS):
        seconds[task.action].append(task.seconds)
    return {action: statistics.median(values[1:]) for action, values in seconds.items()}
