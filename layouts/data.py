"""The tables beside the declarations, by their path under ``layouts/``: ``x86/data/cpus.json``.

Parsing TOML and JSON takes most of what a table costs. What was parsed is therefore kept as Python keeps its own
modules: in ``__pycache__`` beside the table, by Python's own rules (made again when the table's time or size changes,
replaced as a whole, left out where it cannot be written or PYTHONDONTWRITEBYTECODE says so).
"""

from __future__ import annotations

import marshal
import os

# Which is importlib.machinery's: that imports warnings first.
from _frozen_importlib_external import SourceFileLoader

from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    from types import CodeType
    from typing import Any

_ROOT = __file__.rpartition("/")[0]


def data_text(path: str) -> str:
    """A file of ours, which is UTF-8: importlib.resources takes longer to import than most of them to read."""
    loader: Any = __spec__.loader
    read: bytes = loader.get_data(f"{_ROOT}/{path}")
    return read.decode("utf-8")


def data_names(folder: str, ending: str) -> list[str]:
    """The files of one of our folders whose names end so, in order."""
    return sorted(name for name in os.listdir(f"{_ROOT}/{folder}") if name.endswith(ending))


class _Table(SourceFileLoader):
    """Makes of a table a code object whose one constant is what was parsed."""

    def source_to_code(self, data: Any, path: Any) -> CodeType:  # type: ignore[override]
        """Parse the table; see importlib.abc.InspectLoader."""
        return _EMPTY.replace(co_consts=(marshal.dumps(_parsed(bytes(data).decode("utf-8"), str(path))),))


#: compile() would make the classes of all nodes of the syntax first, which takes as long as a table.
_EMPTY = (lambda: None).__code__


def _parsed(text: str, path: str) -> Any:
    if path.endswith(".toml"):
        import tomllib

        return tomllib.loads(text)
    import json

    return [json.loads(line) for line in text.splitlines()] if path.endswith(".jsonl") else json.loads(text)


def data_table(path: str) -> Any:
    """A table of ours, ``.toml``, ``.json`` or ``.jsonl`` (a list of its lines), as it is parsed: new at each call."""
    try:
        code = _Table(path, f"{_ROOT}/{path}").get_code(path)
        assert code is not None
        return marshal.loads(code.co_consts[0])  # noqa: S302 - of our own, as Python's modules are
    except (EOFError, TypeError, ValueError):  # What was kept is damaged.
        return _parsed(data_text(path), path)
