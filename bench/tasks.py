"""What an Ansible task of ours costs, beside `ansible.builtin.ping`."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.servers import Instance

REPOSITORY = Path(__file__).parents[1]
PING = "ansible.builtin.ping"
OURS = "baton.redis.preflight"


def task_costs(old: Instance, new: Instance, folder: Path, rounds: int) -> dict[str, float]:
    """Run both tasks in turn in one playbook; the median seconds of each."""
    ours = {"source_port": old.port, "login_port": new.port, "journal_dir": str(folder)}
    tasks: list[dict[str, object]] = [{PING: {}}, {OURS: ours}] * rounds
    playbook = folder / "tasks.json"  # JSON is YAML
    playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / "ansible"),
        "ANSIBLE_STDOUT_CALLBACK": "bench_json",
        "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).with_name("callbacks")),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
    }
    program = Path(sys.executable).with_name("ansible-playbook")
    output = subprocess.run(
        [program, "-i", "localhost,", "-c", "local", playbook],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        timeout=300,
        check=True,
    ).stdout
    seconds: dict[str, list[float]] = {PING: [], OURS: []}
    for line in output.splitlines():
        task = json.loads(line)
        seconds[task["action"]].append(task["seconds"])
    return {action: statistics.median(values[1:]) for action, values in seconds.items()}
