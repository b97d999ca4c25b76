"""What mkdocs.yml asks for beyond MkDocs: the pages made from the code, links, tabs.

The pages in docs/ are read on the forge as well. So they are plain Markdown there, with links as
they are in the repository, and this makes of them what the site needs.
"""

from __future__ import annotations

import posixpath
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import collection_pages
import command_page
import python_page
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).parents[2]
BLOB = "https://github.com/redis-baton/redis-baton/blob/main/"
COLLECTION = "ansible/ansible_collections/baton/redis"
# Documents that lie elsewhere, by where they are in the site.
ELSEWHERE = {
    "project/architecture.md": "ARCHITECTURE.md",
    "project/contributing.md": "CONTRIBUTING.md",
    "project/changelog.md": "CHANGELOG.md",
    "reference/collection.md": f"{COLLECTION}/README.md",
    "reference/roles/install.md": f"{COLLECTION}/roles/install/README.md",
    "reference/roles/restart.md": f"{COLLECTION}/roles/restart/README.md",
    "reference/roles/upgrade.md": f"{COLLECTION}/roles/upgrade/README.md",
}
# Where in the site a document of the repository is; those of docs/ are by themselves.
IN_SITE = {path: page for page, path in ELSEWHERE.items()} | {"README.md": "index.md"}


@cache
def generated() -> dict[str, str]:
    """Return the pages made from the code, by where they are in the site."""
    pages = {page: (REPOSITORY / path).read_text("utf-8") for page, path in ELSEWHERE.items()}
    for role, options in collection_pages.roles().items():
        pages[f"reference/roles/{role}.md"] += options
    pages |= {f"reference/modules/{name}.md": text for name, text in collection_pages.modules()}
    pages["reference/python.md"] = python_page.text()
    pages["reference/command.md"] = command_page.text()
    return pages


def on_config(config: MkDocsConfig) -> None:
    """Put the generated pages into the navigation."""
    for section in config.nav or []:
        for entries in section.values():
            for entry in entries:
                if isinstance(entry, dict):
                    entry.update({title: _all_in(place) for title, place in entry.items()})


def _all_in(place: str | list[str]) -> str | list[str]:
    if isinstance(place, str) and place.endswith("/"):
        return sorted(page for page in generated() if page.startswith(place))
    return place


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for page, text in generated().items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Lead links to where things are in the site, and lay out tabs."""
    place = page.file.src_uri
    origin = ELSEWHERE.get(place, f"docs/{place}")
    markdown = re.sub(r"<!-- table: (\S+) (\w+) -->", _table, markdown)
    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    for number in range(0, len(parts), 2):  # what is between code blocks
        parts[number] = re.sub(
            r"\]\(([^)\s]+)\)", lambda m: f"]({_link(m[1], origin, place)})", parts[number]
        )
    return tabs("".join(parts))


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:  # noqa: ARG001 # MkDocs gives it
    """Have the page fetch nothing from elsewhere: the theme would get one script from a CDN."""
    shim = posixpath.relpath("_assets/iframe-worker.js", posixpath.dirname(page.url) or ".")
    output = re.sub(r'src="[^"]*/iframe-worker/shim"', f'src="{shim}"', output)
    if (
        fetched := re.search(r'<(?:script|img|iframe|link)\b[^>]*"https?://[^>]*>', output)
    ) is not None:
        raise PluginError(f"{page.url} would fetch {fetched[0]}")
    return output


def _link(link: str, origin: str, place: str) -> str:
    """Return a link of a document of the repository as the page at this place has it."""
    path, _, heading = link.partition("#")
    if path.startswith(BLOB):
        meant = path.removeprefix(BLOB)
    elif not path or "://" in link:
        return link
    else:
        meant = posixpath.normpath(posixpath.join(posixpath.dirname(origin), path))
    if meant.startswith("docs/"):
        target = meant.removeprefix("docs/")
        target = f"{target}/README.md" if (REPOSITORY / meant).is_dir() else target
    elif meant in IN_SITE:
        target = IN_SITE[meant]
    elif (module := re.fullmatch(f"{COLLECTION}/plugins/modules/(.*).py", meant)) is not None:
        target = f"reference/modules/{module[1]}.md"
    else:
        return f"{BLOB}{meant}"
    relative = posixpath.relpath(target, posixpath.dirname(place) or ".")
    return f"{relative}#{heading}" if heading else relative


def _table(found: re.Match[str]) -> str:
    """Return a table that a bench has put into another page."""
    page = (REPOSITORY / "docs" / found[1]).read_text("utf-8")
    _, _, rest = page.partition(f"<!-- begin: bench {found[2]} -->\n")
    return rest.partition(f"<!-- end: bench {found[2]} -->")[0]


def tabs(markdown: str) -> str:
    """Make tabs of the headings between `<!-- tabs -->` and `<!-- end of tabs -->`."""
    return re.sub(r"<!-- tabs -->\n(.*?)<!-- end of tabs -->", _tabbed, markdown, flags=re.DOTALL)


def _tabbed(found: re.Match[str]) -> str:
    lines, fenced = [], False
    for line in found[1].splitlines():
        fenced ^= line.startswith("```")
        heading = None if fenced else re.match(r"#+ (.*)", line)
        lines.append(f'=== "{heading[1]}"' if heading else f"    {line}".rstrip())
    return "\n".join(lines)
