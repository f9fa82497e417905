"""Named CPU models: a name, a version, a parent, and property values that say where they come from.

One TOML file a model, in ``models/``; a user's own has the same form. docs/cpu-models.md describes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from layouts.arm64.properties import PAUTH, PMU, SVE, Assignment, assign
from layouts.arm64.sources import EMULATOR, Source, source_named
from layouts.by_name import ByName
from layouts.data import data_names, data_table
from layouts.light import TYPE_CHECKING, NamedTuple, cache

if TYPE_CHECKING:
    from typing import Any

SWITCHES = (SVE, PAUTH, PMU)
_KEYS = {"name", "version", "title", "libvirt", "parent", "realizable", "notes", "values"}
_BLOCK_KEYS = {"source", "verified", "switch", "vl_bytes", "properties", "second"}
_ALL = "all"
_FOLDER, _FILE = "arm64/models", ".toml"
_MAX_VL_BYTES, _VQ_BYTES = 256, 16
_MAX_VERSION = 9999


class ModelError(ValueError):
    """A model file that is not one: where, what was expected, what was found."""


class ModelValue(NamedTuple):
    """A property value of a model. ``switch``: it only counts with that composite property on.

    ``source`` decides, ``second`` are others that agree. ``verified``: somebody saw it on a machine.
    """

    assignment: Assignment
    source: Source
    second: tuple[Source, ...]
    verified: bool
    switch: str

    @property
    def has_second(self) -> bool:
        """Another source agrees that is no emulator."""
        return any(source.kind != EMULATOR for source in self.second)


class NamedModel(NamedTuple):
    """A model. ``parent`` is a model's name or empty; ``vl_bytes`` the SVE vector lengths, empty for none.

    Not ``realizable``: on its own it leaves fields open that the implementation defines. ``libvirt`` is what
    libvirt calls it: the thread names ``nvidia-grace-v1`` for QEMU's ``grace-v1``, others are by analogy.
    """

    name: str
    version: int
    title: str
    parent: str
    realizable: bool
    notes: str
    values: tuple[ModelValue, ...]
    vl_bytes: tuple[int, ...]
    libvirt: str

    @property
    def typename(self) -> str:
        """QEMU's type of it, in the thread's form."""
        return f"arm-{self.libvirt}-arm-cpu"


def parse_model(text: str, file: str) -> NamedModel:
    """A model from TOML text. Raises ModelError."""
    import tomllib

    try:
        return _model(tomllib.loads(text), file)
    except ModelError:
        raise
    except RecursionError:
        raise ModelError(f"{file}: expected TOML; tables and lists are too deep in each other") from None
    except ValueError as error:
        # TOML that is none, and numbers of more digits than Python turns into text.
        raise ModelError(f"{file}: expected TOML; {error}") from None


def _model(found: dict[str, Any], file: str) -> NamedModel:
    _only(found, _KEYS, file)
    values: list[ModelValue] = []
    vl_bytes: tuple[int, ...] = ()
    for number, block in enumerate(_of(found, "values", list, file, [])):
        where = f"{file}: values[{number}]"
        if not isinstance(block, dict):
            raise ModelError(f"{where}: expected a table, found {block!r:.40}")
        values += _block(block, where)
        vl_bytes = vl_bytes or _lengths(_of(block, "vl_bytes", list, where, []), where)
    version = _of(found, "version", int, file, 1)
    if not 0 < version <= _MAX_VERSION:
        raise ModelError(f"{file}: version: expected 1 to {_MAX_VERSION}, found {version:#x}"[:200])
    return NamedModel(
        name=_of(found, "name", str, file),
        version=version,
        title=_of(found, "title", str, file, ""),
        parent=_of(found, "parent", str, file, ""),
        realizable=_of(found, "realizable", bool, file, default=True),
        notes=_of(found, "notes", str, file, ""),
        values=tuple(values),
        vl_bytes=vl_bytes,
        libvirt=_of(found, "libvirt", str, file, "") or _of(found, "name", str, file),
    )


def _block(block: Mapping[str, Any], where: str) -> list[ModelValue]:
    _only(block, _BLOCK_KEYS, where)
    source = _of(block, "source", str, where)
    verified = _of(block, "verified", bool, where, default=True)
    switch = _of(block, "switch", str, where, "")
    if switch and switch not in SWITCHES:
        raise ModelError(f"{where}.switch: expected {', '.join(SWITCHES)}; found {switch!r}")
    properties = _of(block, "properties", dict, where, {})
    second = _second(_of(block, "second", dict, where, {}), properties, f"{where}.second")
    made = []
    for name, value in properties.items():
        if not isinstance(value, str | int):
            raise ModelError(
                f"{where}.properties.{name}: expected a string, a number or true and false; found {value!r:.40}"
            )
        try:
            made.append(ModelValue(assign(name, value), source_named(source), second.get(name, ()), verified, switch))
        except ValueError as error:
            raise ModelError(f"{where}.properties.{error}") from None
    return made


def _second(found: Mapping[str, Any], properties: Mapping[str, Any], where: str) -> dict[str, tuple[Source, ...]]:
    """The sources of each property beside the block's: ``SOURCE = ["PROPERTY", ...]``, or "all" of the block."""
    by_property: dict[str, tuple[Source, ...]] = {}
    for text, names in found.items():
        listed = list(properties) if names == _ALL else names
        if not isinstance(listed, list):
            raise ModelError(f"{where}.{text}: expected a list of properties or {_ALL!r}, found {names!r}")
        for name in listed:
            if name not in properties:
                raise ModelError(f"{where}.{text}: expected a property of the block, found {name!r}")
            by_property[name] = (*by_property.get(name, ()), source_named(text))
    return by_property


def _of(table: Mapping[str, Any], key: str, kind: type, where: str, default: Any = None) -> Any:
    if key not in table:
        if default is None:
            raise ModelError(f"{where}: expected {key!r}, found none")
        return default
    value = table[key]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ModelError(f"{where}: {key}: expected {_KIND_NAMES[kind]}, found {value!r:.40}")
    return value


_KIND_NAMES = {str: "a string", int: "a number", bool: "true or false", list: "a list", dict: "a table"}


def _only(table: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise ModelError(f"{where}: {key!r}: expected one of {', '.join(sorted(known))}")


def _lengths(found: list[Any], where: str) -> tuple[int, ...]:
    for length in found:
        if not isinstance(length, int) or length % _VQ_BYTES or not 0 < length <= _MAX_VL_BYTES:
            raise ModelError(f"{where}.vl_bytes: expected multiples of 16 up to 256, found {length!r:.40}")
    return tuple(sorted(found))


class _Models(ByName[NamedModel]):
    """The shipped models: a file is named as its model is. Parents come before children."""

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._made, key=lambda name: _lineage(self, name)))


@cache
def named_models() -> ByName[NamedModel]:
    """The shipped models by name, parents before children."""
    names = (file.removesuffix(_FILE) for file in data_names(_FOLDER, _FILE))
    return _Models(names, lambda name: _model(data_table(f"{_FOLDER}/{name}{_FILE}"), f"{name}{_FILE}"))


def model_named(name: str, models: Mapping[str, NamedModel]) -> NamedModel | None:
    """A model by its name or libvirt's; without its version the newest. None when there is none."""
    if name in models:
        return models[name]
    versions = [
        model
        for model in models.values()
        if model.libvirt == name or f"{name}-v{model.version}" in (model.name, model.libvirt)
    ]
    return max(versions, key=lambda model: model.version, default=None)


def _lineage(models: Mapping[str, NamedModel], name: str) -> list[str]:
    return [model.name for model in chain(models[name], models)]


def chain(model: NamedModel, models: Mapping[str, NamedModel] | None = None) -> list[NamedModel]:
    """The model's parents from the root down, and itself. Raises ModelError for one that is unknown or a circle."""
    known = named_models() if models is None else models
    found = [model]
    while found[0].parent:
        parent = found[0].parent
        if parent not in known:
            raise ModelError(f"{found[0].name}: parent: expected a model's name, found {parent!r:.40}")
        if any(entry.name == parent for entry in found):
            raise ModelError(f"{model.name}: parent: {parent} is its own parent")
        found.insert(0, known[parent])
    return found
