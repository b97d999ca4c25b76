"""Puts the licences of the crates in a wheel into it: most ask to be passed on with the program.

`python -m tests.support.crate_licences WHEEL` is a part of `make dist-wheel`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
TEXTS = re.compile(r"(licen[sc]e|copying|copyright|notice|unlicense)", re.IGNORECASE)


def sources() -> dict[str, Path]:
    """Return the folder of each crate, by its identity."""
    asks = ["cargo", "metadata", "--format-version=1", "--locked", "--all-features"]
    said = subprocess.run(asks, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    return {one["id"]: Path(one["manifest_path"]).parent for one in json.loads(said)["packages"]}


def listed(bill: Path) -> str:
    """Return the crates of a bill of materials, each with its licences, then the texts of these."""
    folders = sources()
    crates, texts = [], defaultdict[str, list[str]](list)
    for one in json.loads(bill.read_text("utf-8"))["components"]:
        crate = f"{one['name']} {one['version']}"
        expression = one["licenses"][0]["expression"]
        found = [path for path in folders[one["bom-ref"]].rglob("*") if TEXTS.match(path.name)]
        # Without a text of its own it has that of the choice which is the licence of the wheel too.
        if not found and "Apache-2.0" not in expression.split(" OR "):
            sys.exit(f"{crate} comes without the text of its licence, {expression}")
        crates.append(f"{crate}: {expression}")
        for path in filter(Path.is_file, found):
            texts[path.read_text("utf-8").strip()].append(crate)
    parts = [f"{', '.join(sorted(set(of)))}:\n\n{text}" for text, of in texts.items()]
    rule = f"\n\n{'=' * 100}\n\n"
    return rule.join(["\n".join(crates), *parts]) + "\n"


def main(wheel: Path) -> None:
    """Do so."""
    tool = [sys.executable, "-m", "wheel"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*tool, "unpack", wheel, "--dest", folder], check=True)
        [unpacked] = Path(folder).iterdir()
        [bill] = unpacked.glob("*.dist-info/sboms/*.cyclonedx.json")
        about = bill.parents[1]
        (about / "licenses" / "crates.txt").write_text(listed(bill), "utf-8")
        metadata = (about / "METADATA").read_text("utf-8")
        ours = "License-File: LICENSE\n"
        with_theirs = metadata.replace(ours, f"{ours}License-File: crates.txt\n", 1)
        (about / "METADATA").write_text(with_theirs, "utf-8")
        subprocess.run([*tool, "pack", unpacked, "--dest-dir", wheel.parent], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
