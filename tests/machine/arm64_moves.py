"""Guests of arm64 moves."""

from __future__ import annotations

from inspector.machine.arm64.captured import State, state_of_scratch
from inspector.machine.arm64.models.realize import ask, realize
from inspector.machine.arm64.models.request import parse_words, request
from layouts.arm64.named_models import named_models
from tests.machine.support import host_named


def guest_of(host_name: str, *words: str, model: str = "") -> State:
    """A guest of a host with words of QEMU, and the state that it has."""
    host = host_named(host_name)
    asked = request(named_models()[model] if model else None, parse_words(words), host)
    assert realize(asked, host).usable
    vcpu, _ = ask(asked, host)
    return state_of_scratch(vcpu, host_name)
