"""The pages of modules and roles, from what `ansible-doc` says of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from antsibull_docs_parser.md import to_md
from antsibull_docs_parser.parser import Context, parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

REPOSITORY = Path(__file__).parents[2]
COLLECTION = REPOSITORY / "ansible/ansible_collections/baton/redis"
NAME = "baton.redis"

Doc = dict[str, Any]


def modules() -> Iterator[tuple[str, str]]:
    """Yield the name and the page of each module."""
    names = sorted(path.stem for path in (COLLECTION / "plugins/modules").glob("[!_]*.py"))
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-doc"),
            "--json",
            *(f"{NAME}.{name}" for name in names),
        ],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / "ansible")},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    for name, all_of_it in json.loads(done.stdout).items():
        yield name.removeprefix(f"{NAME}."), "".join(_module(name, all_of_it))


def _module(name: str, all_of_it: Doc) -> Iterator[str]:
    doc = all_of_it["doc"]
    yield f"# {name.removeprefix(f'{NAME}.')}\n\n{_prose(doc['short_description'])}.\n\n"
    for paragraph in _list(doc["description"]):
        yield f"- {_prose(paragraph)}\n"
    if notes := doc.get("notes"):
        yield "\n## Notes\n\n" + "".join(f"- {_prose(note)}\n" for note in notes)
    yield "\n## Options\n\n" + options(doc.get("options", {}))
    yield "\n## Check mode, diff\n\n| | | |\n|---|---|---|\n"
    for attribute, says in doc.get("attributes", {}).items():
        about = " ".join(_list(says.get("details", says.get("description", ""))))
        yield f"| {attribute} | {says.get('support', '')} | {_cell(about)} |\n"
    yield f"\n## Examples\n\n```yaml\n{all_of_it['examples'].strip()}\n```\n"
    yield "\n## What it returns\n\n" + _returned(all_of_it.get("return") or {})


def roles() -> dict[str, str]:
    """Return, for each role, the section on its variables."""
    found = {}
    for spec in sorted(COLLECTION.glob("roles/*/meta/argument_specs.yml")):
        entry = yaml.safe_load(spec.read_text("utf-8"))["argument_specs"]["main"]
        found[spec.parents[1].name] = "\n## All variables\n\n" + options(entry["options"])
    return found


def options(described: Mapping[str, Doc]) -> str:
    """Return the table of options, those of a dict behind it."""
    return "| option | type, default | |\n|---|---|---|\n" + "".join(_options(described))


def _options(described: Mapping[str, Doc], above: str = "") -> Iterator[str]:
    for name, option in sorted(
        described.items(), key=lambda item: (not item[1].get("required"), item[0])
    ):
        about = " ".join(_list(option.get("description", "")))
        if choices := option.get("choices"):
            meanings = choices.items() if isinstance(choices, dict) else ((c, "") for c in choices)
            about += (
                " One of "
                + ", ".join(
                    f"V({choice})" + (f" ({' '.join(_list(meaning))})" if meaning else "")
                    for choice, meaning in meanings
                )
                + "."
            )
        kind = option.get("type", "str")
        if kind == "list":
            kind = f"list of {option.get('elements', 'str')}"
        if option.get("required"):
            kind += ", **required**"
        elif option.get("default") is not None:
            kind += f", `{json.dumps(option['default'], ensure_ascii=False)}`"
        yield f"| `{above}{name}` | {kind} | {_cell(about)} |\n"
        yield from _options(option.get("suboptions") or option.get("options") or {}, f"{name}.")


def _returned(described: Mapping[str, Doc]) -> str:
    return "| key | type | |\n|---|---|---|\n" + "".join(_values(described))


def _values(described: Mapping[str, Doc], above: str = "") -> Iterator[str]:
    for name, value in described.items():
        about = " ".join(_list(value.get("description", "")))
        when = value.get("returned", "")
        about += f" ({when})" if when and not above and when != "success" else ""
        yield f"| `{above}{name}` | {value.get('type', '')} | {_cell(about)} |\n"
        yield from _values(value.get("contains") or {}, f"{above}{name}.")


def _list(text: str | list[str]) -> list[str]:
    return [text] if isinstance(text, str) else text


def _prose(text: str) -> str:
    """Return Ansible's markup as Markdown."""
    text = to_md(parse(text, Context()), par_start="", par_end="").strip()
    return re.sub(r"\\([^\w\s*<\\`])", r"\1", text)  # it escapes more than Markdown needs


def _cell(text: str) -> str:
    return _prose(text).replace("|", "\\|").replace("\n", " ")
