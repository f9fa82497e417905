"""Named models on known hosts, on one kernel."""

from __future__ import annotations

from functools import cache

from inspector.machine.arm64.host import Host
from inspector.machine.arm64.models.realize import Realization, realize
from inspector.machine.arm64.models.request import parse_words, request
from layouts.arm64.named_models import named_models
from tests.machine.support import host_named

MODELS = named_models()


@cache
def host(name: str) -> Host:
    return host_named(f"{name}@7.2")


def made(model: str, name: str, *words: str) -> Realization:
    return realize(request(MODELS[model], parse_words(words), host(name)), host(name))
