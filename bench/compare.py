"""One comparison in a process of its own, as `bench.verify` starts it.

It says `ready`, waits for a line, compares, and says what came of it.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable
from urllib.parse import urlsplit

import redis
import redis_baton

if TYPE_CHECKING:
    from redis.client import Pipeline

AT_A_TIME = 1000
READS: dict[bytes, Callable[[Pipeline, bytes], object]] = {
    b"none": lambda pipeline, key: pipeline.exists(key),
    b"string": lambda pipeline, key: pipeline.get(key),
    b"hash": lambda pipeline, key: pipeline.hgetall(key),
    b"list": lambda pipeline, key: pipeline.lrange(key, 0, -1),
    b"set": lambda pipeline, key: pipeline.smembers(key),
    b"zset": lambda pipeline, key: pipeline.zrange(key, 0, -1, withscores=True),
    b"stream": lambda pipeline, key: pipeline.xrange(key),
}
COMPARE_TIME = 3600.0


def main() -> None:
    """Do what the argument says."""
    job = json.loads(sys.argv[1])
    print("ready", flush=True)
    sys.stdin.readline()
    before = _most_memory()
    began = time.monotonic()
    kind, *rest = job["command"]
    if kind == "ours":
        equal = _ours(job, rest[0])
    elif kind == "redis-py":
        equal = _scan(job["old"], job["new"], _dumps if rest[0] == "dumps" else _values)
    elif kind == "rdb":
        equal = _dumped(rest[0], job["old"])
    else:
        equal = _full_check(rest[0], job["old"], job["new"])
    seconds = time.monotonic() - began
    print(json.dumps({"equal": equal, "seconds": seconds, "bytes": _most_memory() - before}))


def _most_memory() -> int:
    """Return the most that this process, or one that it has run, had in memory."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return 1024 * max(resource.getrusage(kind).ru_maxrss for kind in kinds)


def _ours(job: dict[str, str], by: str) -> bool:
    return redis_baton.verify(
        source=job["old"],
        target=job["new"],
        journal_dir=job["journal_dir"],
        level="full",
        by=by,  # type: ignore[arg-type]  # one of the two
        fail=False,
    ).equal


def _scan(old: str, new: str, read: Callable[[redis.Redis, list[bytes]], list[Any]]) -> bool:
    """Compare as scripts do: SCAN on the source, and what `read` says of each page on both."""
    with redis.Redis.from_url(old) as source:
        databases = [int(name.removeprefix("db")) for name in source.info("keyspace")]
    for db in databases:
        with redis.Redis.from_url(old, db=db) as here, redis.Redis.from_url(new, db=db) as there:
            cursor = -1
            while cursor:
                cursor, keys = here.scan(max(cursor, 0), count=AT_A_TIME)
                if read(here, keys) != read(there, keys):
                    return False
    return True


def _dumps(client: redis.Redis, keys: list[bytes]) -> list[bool]:
    """Read DUMP and PTTL, and say which keys there are.

    DUMP differs between versions although the data does not, so it is only read here: to compare
    what it holds would take longer still.
    """
    with client.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.dump(key)
            pipeline.pttl(key)
        return [reply is None for reply in pipeline.execute()]


def _values(client: redis.Redis, keys: list[bytes]) -> list[Any]:
    """Read what each key holds by a command of its type, which is alike on all versions."""
    with client.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.type(key)
        types = pipeline.execute()
        for key, kind in zip(keys, types):
            READS[kind](pipeline, key)
            pipeline.pttl(key)
        replies = pipeline.execute()
    # Times to live are read one after the other, so only whether there is one can be told.
    return [reply if n % 2 == 0 else reply >= 0 for n, reply in enumerate(replies)]


def _dumped(redis_cli: str, old: str) -> bool:
    """Let the source send its data, and compare nothing."""
    with tempfile.TemporaryDirectory() as folder:
        command = [redis_cli, "-u", old, "--rdb", str(Path(folder) / "rdb")]
        subprocess.run(command, check=True, capture_output=True, timeout=COMPARE_TIME)
    return True


def _full_check(binary: str, old: str, new: str) -> bool:
    """Run RedisFullCheck; what it calls a conflict is not looked at: it has false ones."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [
                *(binary, "-s", urlsplit(old).netloc, "-t", urlsplit(new).netloc),
                *("--comparemode=1", "--comparetimes=1", "--parallel=2", "--batchcount=1024"),
                *("--db", str(Path(folder) / "result"), "--log", str(Path(folder) / "log")),
                "--qps=1000000",
            ],
            cwd=folder,
            check=True,
            capture_output=True,
            timeout=COMPARE_TIME,
        )
    return True


if __name__ == "__main__":
    main()
