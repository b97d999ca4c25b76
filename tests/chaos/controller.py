"""The controller's process: imports, says that it is ready, and makes one call when it is told.

It is told by a line of JSON on its standard input, and writes how it ended to the file named there.
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Any

import redis_baton as rb


def main() -> None:
    """Make one call."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    line = sys.stdin.readline()
    if not line:
        return
    job: dict[str, Any] = json.loads(line)
    answer = Path(job["answer"])
    written = answer.with_suffix(".part")
    written.write_text(json.dumps(_outcome(job)))
    written.rename(answer)


def _outcome(job: dict[str, Any]) -> dict[str, Any]:
    try:
        ends = {side: rb.Endpoint(**job[side]) for side in ("source", "target")}
        done = getattr(rb, job["call"])(**ends, journal_dir=job["journal_dir"], **job["options"])
    except rb.BatonError as error:
        return {"error": {**vars(error), "kind": type(error).__name__, "text": str(error)}}
    except BaseException:  # noqa: BLE001 # whatever else it is, it is a finding
        return {"trace": traceback.format_exc()}
    return {"done": {"changed": done.changed, "warnings": list(done.warnings)}}


if __name__ == "__main__":
    main()
