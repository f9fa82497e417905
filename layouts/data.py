"""The tables beside the declarations, by their path under ``layouts/``: ``x86/data/cpus.json``."""

from __future__ import annotations

import os

from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
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
