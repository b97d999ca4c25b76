# ruff: noqa: ANN401, D102  (whatever Ansible calls these with)
"""Writes what each task reported to the file that BATON_RECORD names, one JSON object per line."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from ansible.plugins.callback import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
    CallbackBase,
)


class CallbackModule(CallbackBase):  # type: ignore[misc,unused-ignore]
    """Records results, and how long each task took for its host."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "record"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._file = Path(os.environ["BATON_RECORD"])
        self._started = 0.0

    def v2_runner_on_start(self, host: Any, task: Any) -> None:  # noqa: ARG002
        self._started = time.monotonic()

    def _record(self, status: str, outcome: Any) -> None:
        task = _of(outcome, "task")
        line = {
            "name": task.name or task.action,
            "action": task.resolved_action or task.action,
            "status": status,
            "seconds": time.monotonic() - self._started,
            "result": {
                name: value
                for name, value in _of(outcome, "result").items()
                if not name.startswith("_ansible_")
            },
        }
        with self._file.open("a") as lines:
            lines.write(json.dumps(line, default=str) + "\n")

    def v2_runner_on_ok(self, result: Any) -> None:
        self._record("changed" if _of(result, "result").get("changed") else "ok", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:  # noqa: ARG002
        self._record("failed", result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._record("skipped", result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._record("unreachable", result)


def _of(outcome: Any, name: str) -> Any:
    # ansible-core 2.18 has these under private names alone.
    return getattr(outcome, name, None) or getattr(outcome, f"_{name}")
