"""Objects of Kubernetes: what ``kubectl get ... -o json`` or ``-o yaml`` prints, and manifests.

Source: Kubernetes API concepts; of a list (``kind: List``, ``NodeList``) its items count.
"""

from __future__ import annotations

from collections.abc import Mapping

from inspector.capture.errors import InputError, UsageError
from inspector.readers.text import parse_json
from inspector.readers.yaml_text import parse_yaml
from layouts.light import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from typing import Any

#: The first key of an object, or of a part of one that this program writes.
_KEYS = ("apiVersion", "kind", "items", "metadata", "spec", "domain", "cpu")
_HEAD = 1 << 16
#: The answer of kubectl for 5,000 nodes has 60 MB and more.
MAX_OBJECTS_BYTES = 256 << 20
_SHOWN = 8
Kind = TypeVar("Kind")


def looks_like_yaml(text: str) -> bool:
    """The text begins as an object in YAML does, behind comments and ``---``."""
    for line in text[:_HEAD].splitlines():
        words = line.strip("\ufeff \t")
        if words and words != "---" and words[0] != "#":
            key, colon, rest = words.removeprefix("- ").partition(":")
            return bool(colon) and key in _KEYS and rest[:1] in ("", " ", "\t")
    return False


def objects_of(text: str, file: str) -> list[dict[str, Any]]:
    """The objects of a text in JSON or YAML, lists flattened. Raises InputError for a text that is neither."""
    if len(text) > MAX_OBJECTS_BYTES:
        raise InputError(file, f"objects of Kubernetes in at most {MAX_OBJECTS_BYTES >> 20} MiB", "more")
    try:
        found = parse_yaml(text) if looks_like_yaml(text) else [parse_json(text)]
    except ValueError as error:
        raise InputError(file, "objects of Kubernetes as JSON or YAML", str(error)) from None
    return list(_flattened(found))


def _flattened(found: list[Any]) -> list[dict[str, Any]]:
    objects: list[dict[str, Any]] = []
    for document in found:
        # A list's items are no lists: Kubernetes nests none.
        rows = document if isinstance(document, list) else [document]
        for row in rows:
            items = row.get("items") if isinstance(row, dict) else None
            objects += [one for one in (items if isinstance(items, list) else [row]) if isinstance(one, dict)]
    return objects


def chosen(objects: Mapping[str, Kind], name: str, kind: str, file: str) -> Kind:
    """The object of that name, the only one where the name is empty. Raises UsageError that names the choices."""
    if name in objects:
        return objects[name]
    if not name and len(objects) == 1:
        return next(iter(objects.values()))
    others = f", and {len(objects) - _SHOWN} more" if len(objects) > _SHOWN else ""
    names = f"{', '.join(list(objects)[:_SHOWN])}{others}"
    what = f"a {kind} of that name, found {names}" if name else f"one {kind}, found {len(objects)}: {names}"
    hint = "" if name else f"; {file}:{next(iter(objects))} names one"
    raise UsageError(f"{file}{f':{name}' if name else ''}: expected {what}{hint}")
