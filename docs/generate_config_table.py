#!/usr/bin/env python3
"""Write the table in docs/config.md, asking real servers which parameters can be set live.

python docs/generate_config_table.py            write it
python docs/generate_config_table.py --check    exit with 1 if it is not what would be written
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import redis

from tests.support.servers import NAMES, Instance, find

PAGE = Path(__file__).with_name("config.md")
BEGIN = "<!-- Written by docs/generate_config_table.py. Don't edit it here. -->\n"
END = "<!-- The end of it. -->\n"
# What a server answers to CONFIG SET with the value that a parameter has.
FIXED = ("can't set immutable config", "Unsupported CONFIG parameter")
PROTECTED = "can't set protected config"


def answers(name: str) -> dict[str, str]:
    """Return what can be said of each parameter that this server shows."""
    binary = find(name)
    if binary is None:
        raise SystemExit(f"{name} is not on this machine: run tests/support/fetch-servers")
    with tempfile.TemporaryDirectory() as folder, Instance(binary, Path(folder) / "server") as one:
        shown: dict[str, str] = one.call("CONFIG", "GET", "*")
        return {parameter: answer(one, parameter, value) for parameter, value in shown.items()}


def answer(one: Instance, parameter: str, value: str) -> str:
    """Set a parameter to the value that it has."""
    try:
        one.call("CONFIG", "SET", parameter, value)
    except redis.ResponseError as error:
        if any(fixed in str(error) for fixed in FIXED):
            return "restart"
        return "restart (1)" if PROTECTED in str(error) else "no"
    return "live"


def table() -> str:
    """Return the table as it must be."""
    found = {name: answers(name) for name in NAMES}
    titles = " | ".join(name.replace("-", " ").capitalize() for name in NAMES)
    lines = [f"| parameter | {titles} |", "|---" * (len(NAMES) + 1) + "|"]
    for parameter in sorted({parameter for one in found.values() for parameter in one}):
        cells = " | ".join(found[name].get(parameter, "") for name in NAMES)
        lines.append(f"| `{parameter}` | {cells} |")
    return "".join(f"{line}\n" for line in lines)


def main() -> int:
    """Write the table into its page, or compare it."""
    page = PAGE.read_text(encoding="utf-8")
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    wanted = f"{before}{begin}\n{table()}\n{end}{after}"
    if page == wanted:
        return 0
    if "--check" in sys.argv[1:]:
        sys.stderr.write(f"{PAGE.name} is not up to date: python docs/generate_config_table.py\n")
        return 1
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
