"""The samples that ship: ``sample:NAME`` is a file or folder under ``samples/``."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

from inspector.capture.errors import InputError
from inspector.capture.nearest import did_you_mean
from inspector.readers.open import open_capture

if TYPE_CHECKING:
    from pathlib import Path

    from inspector.capture.model import Capture
    from inspector.readers.options import Options

SCHEME = "sample:"

#: CPU records are named without their ending: ``sample:graviton3/linux-6.18``.
RECORD = ".toml"


@cache
def root() -> Path:
    """The samples folder: inside the installed package, or beside it in a checkout."""
    from pathlib import Path

    packaged = Path(__file__).parents[1] / "_samples"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "samples"


def names() -> list[str]:
    """All sample names: every folder that has a ``about.toml`` and each file that it lists."""
    return list(abouts())


@cache
def abouts() -> dict[str, str]:
    """All samples by name, each in one line."""
    import tomllib

    found: dict[str, str] = {}
    for about in sorted(root().glob("*/about.toml")):
        table = tomllib.loads(about.read_text("utf-8"))
        folder = about.parent.name
        found |= {f"{folder}/{name}" if name != "." else folder: str(text) for name, text in table["open"].items()}
    return found


def x86_chips() -> list[str]:
    """The chips of x86 of which a shipped capture tells, by name."""
    folders = dict.fromkeys(sample.partition("/linux-")[0] for sample in names() if "/linux-" in sample)
    return [name.removeprefix("epyc-") for name in folders if not name.startswith("graviton")]


def about(name: str) -> str:
    """What one sample is, in one line."""
    return abouts()[name]


def capture_of_sample(target: str, options: Options) -> Capture:
    """``sample:NAME``. It goes by its name: where the tool is installed is nobody's business. Raises InputError."""
    return open_capture(path_of(target), options, target)


def path_of(target: str) -> str:
    """The path of ``sample:NAME``. Raises InputError for an unknown name."""
    name = target.removeprefix(SCHEME)
    path = root() / name
    if not path.exists():
        path = path.with_name(path.name + RECORD)
    if not name or ".." in name.split("/") or os.path.isabs(name) or not path.exists():
        hint = did_you_mean(target if name else "", [SCHEME + known for known in names()], "inspector samples")
        raise InputError(target, "the name of a sample", f"no such sample; {hint}")
    return str(path)
