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
description: A JSON line with name, action, seconds and failure for each task, as soon as it ends.
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]  # Ansible has no types
    """Times every task."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "bench_json"

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:  # noqa: ANN401, ARG002
        """Begin a task."""
        self._task, self._began = task, time.monotonic()

    def v2_runner_on_ok(self, result: Any) -> None:  # noqa: ANN401, ARG002
        """End it."""
        self._end(None)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:  # noqa: ANN401, ARG002
        """End it, with what went wrong."""
        self._end(str(result._result.get("msg")))  # noqa: SLF001  (as all callbacks do)

    def _end(self, failure: str | None) -> None:
        line = {
            "name": self._task.get_name(),
            "action": self._task.action,
            "seconds": time.monotonic() - self._began,
            "failure": failure,
        }
        print(json.dumps(line), flush=True)
