"""QEMU's named x86 CPU models, by version of QEMU, and what its machine types change in them.

``data/qemu-VERSION.json`` holds each model as what it has over another (``like``: of the same version, or
``VERSION:NAME``): features that are ``on`` and ``off``, and numbers. Each file says what was asked.
"""

from __future__ import annotations

from collections.abc import Mapping

from layouts.by_name import ByName
from layouts.data import data_table
from layouts.light import TYPE_CHECKING, NamedTuple, cache

if TYPE_CHECKING:
    from typing import Any

#: The versions of QEMU whose models are known, the newest first. A release between two has the models of the older.
VERSIONS = ("11.1", "10.0", "5.2")
NEWEST = VERSIONS[0]
#: What names its emulator as a host.
TCG = "tcg"
_NUMBERS = {"family": 0, "model": 0, "stepping": 0, "level": 0, "xlevel": 0, "avx10_version": 0}
_TEXTS = {"vendor": "", "model_id": ""}


class CpuModel(NamedTuple):
    """A model with its version (``EPYC-v4``), as QEMU defines it: before the accelerator, the machine and the user.

    ``features`` has what only shows when the feature that it hangs on is on (``npt`` with svm, ``vmx-ept`` with
    vmx). ``level`` and ``xlevel`` are minimums of the highest CPUID leaves. ``legacy_cache``: the caches are
    QEMU's old ones, not the model's.
    """

    name: str
    qemu: str
    vendor: str
    family: int
    model: int
    stepping: int
    model_id: str
    level: int
    xlevel: int
    avx10_version: int
    legacy_cache: bool
    deprecated: bool
    features: frozenset[str]

    @property
    def family_name(self) -> str:
        """The name without its version."""
        return self.name.rpartition("-v")[0]

    @property
    def version(self) -> int:
        """N of ``-vN``."""
        return int(self.name.rpartition("-v")[2])


class Models(NamedTuple):
    """What one version of QEMU has; ``tcg`` is what its emulator can give, ``lacks`` are features unknown to it."""

    version: str
    package: str
    models: ByName[CpuModel]
    aliases: dict[str, str]
    lacks: frozenset[str]
    tcg: frozenset[str]

    def named(self, name: str) -> CpuModel | None:
        """A model by its name with or without version, or by an alias (``Broadwell-IBRS``)."""
        return self.models.get(self.aliases.get(name, name))


def _file(name: str) -> dict[str, Any]:
    found: dict[str, Any] = data_table(f"x86/models/data/{name}.json")
    return found


@cache
def qemu_models(version: str = NEWEST) -> Models:
    """The models of a version of QEMU, by the newest file that is not newer."""
    known = version_for(version)
    found = _file(f"qemu-{known}")
    entries, deprecated = found["models"], frozenset(found["deprecated"])
    return Models(
        known,
        found["package"],
        ByName(entries, lambda name: _model(name, entries[name], known, deprecated=name in deprecated)),
        found["aliases"],
        frozenset(found["lacks"].split()),
        frozenset(found["tcg"].split()),
    )


def _model(name: str, entry: Mapping[str, Any], version: str, *, deprecated: bool) -> CpuModel:
    like = entry.get("like", "")
    other, _, base = like.rpartition(":")
    parent = qemu_models(other or version).models[base] if like else None
    values: dict[str, Any] = {
        key: entry.get(key, getattr(parent, key) if parent else default)
        for key, default in (_NUMBERS | _TEXTS | {"legacy_cache": True}).items()
    }
    had = parent.features if parent else frozenset()
    has = had - set(entry.get("off", "").split()) | set(entry.get("on", "").split())
    return CpuModel(name=name, qemu=version, deprecated=deprecated, features=has, **values)


def version_for(version: str) -> str:
    """The version whose models hold: the newest known one that is not newer; the oldest for older ones."""
    wanted = numbers_of(version)
    return next((known for known in VERSIONS if numbers_of(known) <= wanted), VERSIONS[-1])


def numbers_of(version: str) -> tuple[int, ...]:
    """``10.0.13`` as numbers, major and minor. Raises ValueError."""
    parts = version.split(".")
    if not 1 <= len(parts) <= 4 or not all(part.isdecimal() and len(part) < 5 for part in parts):
        raise ValueError(f"expected a version of QEMU such as {NEWEST}, found {version[:40]!r}")
    major, minor, *_ = (*map(int, parts), 0)
    return major, minor


class Machine(NamedTuple):
    """A machine type: what it sets in every model, and in some by name."""

    name: str
    properties: dict[str, Any]
    of_models: dict[str, dict[str, Any]]

    def sets(self, name: str) -> dict[str, Any]:
        """The properties that this machine gives to a model by the name that was written."""
        return self.properties | self.of_models.get(name, {})


@cache
def machines() -> dict[str, Machine]:
    """The pc-q35 machine types by name, the oldest first. Their aliases of models are those of their QEMU."""
    found = _file("machines")["machines"]
    return {name: Machine(name, entry["all"], entry.get("models", {})) for name, entry in found.items()}


def machine_named(name: str) -> Machine | None:
    """A machine type; ``q35`` and ``pc`` are the newest, and ``pc-i440fx-N`` sets what ``pc-q35-N`` sets."""
    known = machines()
    if name in ("q35", "pc", ""):
        return known[list(known)[-1]]
    return known.get(name.replace("pc-i440fx-", "pc-q35-"))
