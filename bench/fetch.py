"""Fetches community.general, which the incumbent's playbook needs, from the package `ansible`.

    python -m bench.fetch

That package on PyPI has every collection in it; only this one is unpacked, into the cache where
the servers are. Run again it does nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tests.support.servers import cache

# The release whose collections are tested with the ansible-core that is in .venv, more or less.
PACKAGE = "ansible==12.3.0"
INSIDE = "ansible_collections/community/general/"
FETCH_TIME = 600.0


def collections() -> Path:
    """Return the folder for ANSIBLE_COLLECTIONS_PATH."""
    return cache() / "collections"


def version() -> str | None:
    """Return the version of community.general that is here; None if it is not."""
    manifest = collections() / INSIDE / "MANIFEST.json"
    if not manifest.exists():
        return None
    return str(json.loads(manifest.read_text())["collection_info"]["version"])


def main() -> int:
    """Fetch it; that it can't be had is said, and is no failure."""
    if version() is not None:
        return 0
    with tempfile.TemporaryDirectory(prefix="redis-baton-fetch-") as scratch:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet"),
                *("--no-deps", "--only-binary=:all:", "--dest", scratch, PACKAGE),
            ],
            check=False,
            timeout=FETCH_TIME,
        )
        if done.returncode != 0:
            sys.stderr.write(f"bench.fetch: {PACKAGE} can't be had, so that way is left out\n")
            return 0
        (wheel,) = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.startswith(INSIDE)]
            archive.extractall(scratch, names)
        place = collections() / INSIDE
        place.parent.mkdir(parents=True, exist_ok=True)
        # Beside its place first: what is there is whole.
        beside = place.with_name(f"general.{os.getpid()}")
        shutil.copytree(Path(scratch) / INSIDE, beside)
        if version() is None:
            beside.rename(place)
        else:
            shutil.rmtree(beside)
    sys.stderr.write(f"bench.fetch: community.general {version()} is in {collections()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
