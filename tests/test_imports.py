"""No two files import each other, directly or in a circle: not in a function, not for types alone either."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("inspector", "layouts")


def modules() -> dict[str, Path]:
    """Every module of ours by name."""
    found = {}
    for package in PACKAGES:
        for path in sorted(ROOT.glob(f"{package}/**/*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(text: str, module: str, names: Mapping[str, object]) -> Iterator[str]:
    """The modules of ours that a text imports, wherever in it; relative names are those of the module."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*module.split(".")[: -node.level], *([base] if base else [])])
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                found = whole if whole in names else base
                if found in names:
                    yield found


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one module (Tarjan), each in order."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            at = stack.index(node)
            component = stack[at:]
            del stack[at:]
            if len(component) > 1:
                found.append(sorted(component))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def test_no_circles_of_files() -> None:
    names = modules()
    graph = {name: set(imported(path.read_text(), name, names)) - {name} for name, path in names.items()}
    assert sum(map(len, graph.values())) > 1000, "the graph is there"
    assert circles(graph) == []


@pytest.mark.parametrize(
    "text",
    [
        "import a.b",
        "from a import b",
        "from a.b import x",
        "from . import b",
        "from .b import x",
        "def f():\n    from a.b import x",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from a.b import x",
    ],
)
def test_imports_are_seen_wherever_they_are(text: str) -> None:
    assert list(imported(text, "a.c", {"a": 1, "a.b": 1, "a.c": 1})) == ["a.b"]


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}) == [["a", "b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
