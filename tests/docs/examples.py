"""The code blocks of the documents: who runs which, and what becomes of the rest.

A test gets a block by `@example(text="docs/config.md python")`. So what it runs is what stands
there, and a block that no test asks for is found (`test_blocks.py`). One that can't be run says so
in a comment above it, with the reason: `<!-- not run: output -->`. Such a block is at least read.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

REPOSITORY = Path(__file__).parents[2]
COLLECTION = "ansible/ansible_collections/baton/redis"
# What users are told to type or write.
GUIDES = (
    "README.md",
    *sorted(str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "docs").rglob("*.md")),
    f"{COLLECTION}/README.md",
    *sorted(
        str(path.relative_to(REPOSITORY))
        for path in (REPOSITORY / COLLECTION / "roles").glob("*/README.md")
    ),
)
# Pages whose blocks are run by tests that read them in their own way.
ELSEWHERE = {
    "docs/cli.md": "tests/cli",
    "docs/permissions.md": "tests/python",
}

_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^>]+) -->\n\n?)?"
    r"^```(?P<kind>\w*)[^\n]*\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
asked_for: set[tuple[str, int]] = set()


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    line: int
    kind: str
    text: str
    reason: str | None
    """Why it is not run, where the page says so."""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@cache
def blocks(page: str) -> tuple[Block, ...]:
    """Return the blocks of a page of the repository."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    return tuple(
        Block(page, text.count("\n", 0, m.start("text")), m["kind"], m["text"], m["reason"])
        for m in _BLOCK.finditer(text)
    )


def block(place: str) -> str:
    """Return the text of a block that will be run, by page, kind and, from 0, its number."""
    page, kind, number = [*place.split(), "0"][:3]
    found = [one for one in blocks(page) if one.kind == kind and one.reason is None][int(number)]
    asked_for.add((page, found.line))
    return found.text


def all_of(page: str) -> list[Block]:
    """Return all blocks of a page that will be run, in order."""
    found = [one for one in blocks(page) if one.reason is None]
    asked_for.update((page, one.line) for one in found)
    return found


def example(**places: str) -> pytest.MarkDecorator:
    """Give a test the texts of blocks, each under the name that it has here."""
    texts = [block(place) for place in places.values()]
    return pytest.mark.parametrize(
        list(places), [pytest.param(*texts, id=next(iter(places.values())))]
    )
