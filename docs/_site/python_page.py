"""The page on the Python package: what `redis_baton` exports, as the stub describes it."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "python/redis_baton"
HEAD = """\
# Python

`import redis_baton`. Every step is a function of keyword arguments, and can be run again at any
time. It returns a frozen object with `changed`, `before`, `after`, `actions`, `warnings`, `elapsed`
and facts of its own, or raises a `BatonError`.
"""
# By what they are for; whatever is not named here comes under its kind.
WHOLE = ["upgrade"]
ONE_SERVER = ["config", "persistence", "wait_ready"]


def text() -> str:
    """Return the page."""
    exported = _exported()
    stub = ast.parse((PACKAGE / "_core.pyi").read_text("utf-8")).body
    functions = [
        one.name for one in stub if isinstance(one, ast.FunctionDef) and one.name in exported
    ]
    classes = [one.name for one in stub if isinstance(one, ast.ClassDef) and one.name in exported]
    steps = [name for name in functions if name not in (*WHOLE, *ONE_SERVER)]
    results = [name for name in classes if name != "Endpoint"]
    return (
        HEAD
        + "".join(
            _section(title, names)
            for title, names in (
                ("The whole procedure", _core(WHOLE)),
                ("Servers", _core(["Endpoint"])),
                ("Steps", _core(steps)),
                ("Steps of one server", _core(ONE_SERVER)),
                ("Results", _core(results)),
                ("Errors", ["redis_baton.errors"]),
            )
        )
        + _types(stub)
    )


def _exported() -> set[str]:
    for node in ast.parse((PACKAGE / "__init__.py").read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    raise SystemExit("redis_baton has no __all__")


def _types(stub: list[ast.stmt]) -> str:
    """Return the section on the names of types that stand in the signatures."""
    lines = "\n".join(
        f"{ast.unparse(one.target)} = {ast.unparse(one.value)}"
        for one in stub
        if isinstance(one, ast.AnnAssign) and one.value is not None
    )
    return f"\n## Types in the signatures\n\n```python\n{lines}\n```\n"


def _core(names: list[str]) -> list[str]:
    return [f"redis_baton._core.{name}" for name in names]


def _section(title: str, names: list[str]) -> str:
    return f"\n## {title}\n" + "".join(f"\n::: {name}\n" for name in names)
