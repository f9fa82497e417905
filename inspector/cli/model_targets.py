"""The word that names a model: a shipped one's name, a file of one's own, libvirt's XML, or the host itself."""

from __future__ import annotations

import os
from difflib import get_close_matches
from typing import NamedTuple

from inspector.capture.errors import InputError, UsageError
from inspector.readers.libvirt_cpu import parse_libvirt_cpu
from layouts.arm64.named_models import NamedModel, model_named, named_models, parse_model

HOST = "host"
#: No model file or domain is larger.
_MOST_BYTES = 1 << 20


class Target(NamedTuple):
    """A model, None for the host's own values; all models that are known; properties that the file has over it."""

    name: str
    model: NamedModel | None
    models: dict[str, NamedModel]
    words: tuple[str, ...] = ()


def target(name: str) -> Target:
    """What a word names. Raises UsageError for a name that is none, InputError for a file that is none."""
    models = dict(named_models())
    if name == HOST:
        return Target(name, None, models)
    known = model_named(name, models)
    if known is not None:
        return Target(name, known, models)
    text = _text(name, models)
    if text.lstrip("\ufeff \t\r\n").startswith("<"):
        return _domain(name, text, models)
    model = parse_model(text, name)
    models[name] = models[model.name] = model
    return Target(name, model, models)


def _text(name: str, models: dict[str, NamedModel]) -> str:
    try:
        if os.path.exists(name) and not os.path.isfile(name):
            raise InputError(name, "a model file", "a folder, a pipe or a device")
        with open(name, "rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        every = [
            word for model in models.values() for word in (model.name, model.libvirt, model.name.rpartition("-v")[0])
        ]
        close = get_close_matches(name, every, 1)
        hint = f"did you mean {close[0]}?" if close else "inspector models list has them"
        raise UsageError(f"models: {name}: no such model or file; {hint}") from None
    except OSError as error:
        raise InputError(name, "a model file", error.strerror or "") from error
    if len(data) > _MOST_BYTES:
        raise InputError(name, f"a model file of at most {_MOST_BYTES} bytes", "more")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(name, "a model file", "not UTF-8") from None


def _domain(name: str, text: str, models: dict[str, NamedModel]) -> Target:
    found = parse_libvirt_cpu(text, name)
    if not found.model:
        return Target(name, None, models, found.words)
    model = model_named(found.model, models)
    if model is None:
        raise InputError(name, "the name of an arm64 model (inspector models list)", repr(found.model))
    return Target(name, model, models, found.words)
