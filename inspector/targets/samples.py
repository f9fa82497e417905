"""The samples that ship: ``sample:NAME`` is a file or folder under ``samples/``."""

from __future__ import annotations

import os

from inspector.capture.errors import InputError
from inspector.capture.nearest import did_you_mean
from inspector.readers.open import open_capture
from layouts.light import TYPE_CHECKING, cache

if TYPE_CHECKING:
    from inspector.capture.model import Capture
    from inspector.readers.options import Options

SCHEME = "sample:"

#: CPU records are named without their ending: ``sample:graviton3/linux-6.18``.
RECORD = ".toml"
_ABOUT = "about.toml"


@cache
def root() -> str:
    """The samples folder: inside the installed package, or beside it in a checkout."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    packaged = os.path.join(package, "_samples")
    return packaged if os.path.isdir(packaged) else os.path.join(os.path.dirname(package), "samples")


def names() -> list[str]:
    """All sample names: every folder that has a ``about.toml`` and each file that it lists."""
    return list(abouts())


@cache
def abouts() -> dict[str, str]:
    """All samples by name, each in one line."""
    import tomllib

    found: dict[str, str] = {}
    for folder in sorted(os.listdir(root())):
        path = os.path.join(root(), folder, _ABOUT)
        if os.path.exists(path):
            with open(path, "rb") as file:
                table = tomllib.load(file)["open"]
            found |= {f"{folder}/{name}" if name != "." else folder: str(text) for name, text in table.items()}
    return found


def x86_chips() -> list[str]:
    """The chips of x86 of which a shipped capture tells, by name."""
    folders = dict.fromkeys(sample.partition("/linux-")[0] for sample in names() if "/linux-" in sample)
    return [name.removeprefix("epyc-") for name in folders if not name.startswith("graviton")]


def x86_records(chip: str) -> dict[str, str]:
    """The shipped captures of a chip of x86 by release of its kernel, by their targets; ``epyc-`` may be left out."""
    plain = chip.removeprefix("epyc-")
    found = {}
    for folder in (plain, f"epyc-{plain}"):
        path = os.path.join(root(), folder)
        if plain.startswith("graviton") or not os.path.isdir(path):
            continue
        for name in os.listdir(path):
            member = name.removesuffix(RECORD)
            if name.startswith("linux-") and name.endswith(RECORD):
                found[member.removeprefix("linux-")] = f"{SCHEME}{folder}/{member}"
    return found


def about(name: str) -> str:
    """What one sample is, in one line."""
    return abouts()[name]


def capture_of_sample(target: str, options: Options) -> Capture:
    """``sample:NAME``. It goes by its name: where the tool is installed is nobody's business. Raises InputError."""
    return open_capture(path_of(target), options, target)


def path_of(target: str) -> str:
    """The path of ``sample:NAME``. Raises InputError for an unknown name."""
    name = target.removeprefix(SCHEME)
    path = os.path.normpath(os.path.join(root(), name))
    if not os.path.exists(path):
        path += RECORD
    if not name or ".." in name.split("/") or os.path.isabs(name) or not os.path.exists(path):
        hint = did_you_mean(target if name else "", [SCHEME + known for known in names()], "inspector samples")
        raise InputError(target, "the name of a sample", f"no such sample; {hint}")
    return path
