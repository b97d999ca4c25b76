"""Prints what each task took, a JSON line each: Ansible's own callbacks round to a second."""

from __future__ import annotations

import json
import time
from typing import Any

from ansible.plugins.callback import CallbackBase  # type: ignore[import-untyped]

DOCUMENTATION = """
name: bench_json
type: stdout
short_description: What each task took
description: A JSON line with action and seconds for each task.
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]  # Ansible has no types
    """Times every task."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "bench_json"

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:  # noqa: ANN401, ARG002
        """Begin a task."""
        self._action, self._began = task.action, time.monotonic()

    def v2_runner_on_ok(self, result: Any) -> None:  # noqa: ANN401, ARG002
        """End it."""
        seconds = time.monotonic() - self._began
        print(json.dumps({"action": self._action, "seconds": seconds}))
