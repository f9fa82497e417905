"""x86 models as QEMU and libvirt tell of them: rows of the one form that both architectures have."""

from __future__ import annotations

from inspector.export.model_answers import Property, Row
from inspector.machine.x86.models.realize import Realization
from layouts.x86.models.features import features
from layouts.x86.models.qemu import CpuModel

_STATES = ("off", "on")


def typename_of(model: str) -> str:
    """The type of a model in QEMU."""
    return f"{model}-x86_64-cpu"


def row_of_model(model: CpuModel, made: Realization | None) -> Row:
    """A model, and what comes of it on a host where one was asked."""
    row = Row(model.name, model.name, typename_of(model.name), is_deprecated=model.deprecated)
    return row if made is None else _on_host(row, made)


def row_of_request(made: Realization) -> Row:
    """One guest on a host, with its features."""
    name = made.request.name
    kept = tuple(_property(feature, made) for feature in features() if feature not in made.request.models.lacks)
    return _on_host(Row(name, name, typename_of(name)), made)._replace(properties=kept)


def _on_host(row: Row, made: Realization) -> Row:
    blockers = tuple(entry.feature for entry in (*made.missing, *made.dropped))
    return row._replace(verdict=made.verdict, blockers=blockers, unknown=made.unknown)


def _property(feature: str, made: Realization) -> Property:
    supports = _STATES if made.offer.has(feature) is not False else _STATES[:1]
    return Property(feature, "boolean", _STATES[feature in made.features], supports)
