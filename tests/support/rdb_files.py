"""The RDB files in tests/rdb: the same data of every type and encoding, saved by each server.

    python -m tests.support.rdb_files

The reader's own tests (src/rdb/tests.rs) read them. They are kept, so that those need no servers.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.differences import fields_expire
from tests.support.servers import NAMES, Instance, find

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.differences import Command

FOLDER = Path(__file__).parents[1] / "rdb"
DUE_MS = "4102444800000"
# Longer than what fits into the packed encodings of members, and of a list's node.
LONG = "long-" * 20
LARGER_THAN_A_NODE = "0123456789" * 1200
NOISE = "".join(chr(33 + n * n * 7919 % 89) for n in range(100))


def commands() -> Iterator[Command]:
    """Yield what is written to database 0."""
    texts = ("", "a", "1", "-2", "300", "70000", "1099511627776", "007", "ab" * 1000, NOISE)
    yield from (("SET", f"string:{n}", text) for n, text in enumerate(texts))
    yield "SET", "expires", "1"
    yield "PEXPIREAT", "expires", DUE_MS
    yield "RPUSH", "list", "a", "1", "-1", "127", "128", "-5000", "40000", "9000000", "-3000000000"
    yield "RPUSH", "list:long", *(f"{n} {NOISE}" for n in range(100))
    yield "RPUSH", "list:node", "a", LARGER_THAN_A_NODE, "b"
    yield "SADD", "set:16", "1", "-2", "3"
    yield "SADD", "set:32", "1", "-2", "70000"
    yield "SADD", "set:64", "1", "-2", "1099511627776"
    yield "SADD", "set", "a", "b", "17"
    yield "SADD", "set:large", "a", "17", LONG
    yield "ZADD", "zset", "1", "a", "-inf", "b", "inf", "c", "0.1", "d", "-1.5e300", "17"
    yield "ZADD", "zset:large", "1", "a", "73135.583", "b", "inf", LONG
    yield "HSET", "hash", "a", "1", "b", "text", "17", "-129"
    yield "HSET", "hash:large", "a", "1", "b", LONG
    for n in range(1, 8):
        yield "XADD", "stream", f"{n}-1", "field", f"value {n}", "number", str(n * 1000)
    yield "XADD", "stream", "9-5", "other", "fields"
    yield "XADD", "stream", "9-7", "field", "again", "number", "9"
    yield "XDEL", "stream", "3-1"
    yield "XGROUP", "CREATE", "stream", "group", "0"
    yield "XREADGROUP", "GROUP", "group", "one", "COUNT", "3", "STREAMS", "stream", ">"
    yield "XREADGROUP", "GROUP", "group", "two", "COUNT", "1", "STREAMS", "stream", ">"
    yield "XACK", "stream", "group", "1-1"


def expiring_fields() -> Iterator[Command]:
    """Yield what only servers with fields that expire can take."""
    for key, value in (("field", "1"), ("field:large", LONG)):
        yield "HSET", key, "a", "1", "b", value, "c", "3"
        yield "HPEXPIREAT", key, DUE_MS, "FIELDS", "1", "a"
        yield "HPEXPIREAT", key, f"{int(DUE_MS) + 1000}", "FIELDS", "1", "b"


def main() -> int:
    """Write all that can be written here."""
    FOLDER.mkdir(exist_ok=True)
    for name in NAMES:
        binary = find(name)
        if binary is None:
            sys.stderr.write(f"{name} is not here: its file is left as it is\n")
            continue
        with tempfile.TemporaryDirectory() as folder, Instance(binary, Path(folder)) as server:
            for command in commands():
                server.call(*command)
            if fields_expire(server):
                for command in expiring_fields():
                    server.call(*command)
            server.call("SET", "elsewhere", "1", db=3)
            if name != "redis-6.0":
                server.call(
                    *("FUNCTION", "LOAD"),
                    "#!lua name=lib\nredis.register_function('f', function() return 1 end)",
                )
            server.call("SAVE")
            shutil.copy(server.folder / "dump.rdb", FOLDER / f"{name}.rdb")
    return 0


if __name__ == "__main__":
    sys.exit(main())
