#!/usr/bin/env python3
"""Write docs/reasons.md from the codes of the installed package.

python docs/generate_reasons.py            write it
python docs/generate_reasons.py --check    exit with 1 if it is not what would be written
"""

from __future__ import annotations

import sys
from pathlib import Path

from redis_baton import REASONS

PAGE = Path(__file__).with_name("reasons.md")
HEAD = """\
# Reason codes

Every failure has one of these as its `reason`: in Python on the exception, in Ansible in the task's
result. They are stable: scripts and playbooks may branch on them. What to do about each is in
[what-if.md](what-if.md). The codes of blockers that the preflight finds are among them; those of
its warnings are not.

In Ansible there is one more, `library_missing`: the Python package is not where the task runs.

<!-- Written by docs/generate_reasons.py. Don't edit it here. -->

| reason | meaning |
|---|---|
"""


def page() -> str:
    """Return the page as it must be."""
    return HEAD + "".join(
        f"| `{code}` | {meaning} |\n" for code, meaning in sorted(REASONS.items())
    )


def main() -> int:
    """Write the page, or compare it."""
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page():
        return 0
    sys.stderr.write(f"{PAGE.name} is not up to date: python docs/generate_reasons.py\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
