"""Named models in other programs' words: the reviewer's scheme and back, libvirt's names and XML."""

from __future__ import annotations

import pytest

from inspector.cli.arm64_hosts import host_named
from inspector.export.model_formats import sysreg_line
from inspector.machine.arm64.host import CLIDR
from inspector.machine.arm64.models.realize import realize
from inspector.machine.arm64.models.request import parse_words, request
from layouts.arm64.named_models import named_models

MODELS = named_models()


@pytest.mark.parametrize("kernel", ["6.12", "6.18", "7.2"])
@pytest.mark.parametrize("name", ["max", "neoverse-v1", "neoverse-n1", "neoverse-n2", "cortex-a55", "graviton2"])
def test_a_guest_in_the_reviewers_scheme_is_the_same_guest(name: str, kernel: str) -> None:
    host = host_named(f"{name}@{kernel}")
    usable = 0
    for model in MODELS.values():
        for words in ((), ("sve=off",), ("pmu=on",)):
            there = realize(request(model, parse_words(words), host), host)
            if not there.possible:
                continue
            usable += 1
            line = sysreg_line(there).removeprefix("-cpu host").lstrip(",").split(",")
            back = realize(request(None, parse_words(line), host), host)
            assert back.possible, [str(blocker) for blocker in back.blockers]
            # CLIDR_EL1 is the vCPU's own: what reset gives, in both.
            assert {e: v for e, v in back.registers.items() if e != CLIDR} == there.registers, model.name
            assert (back.request.features, back.request.vqs) == (there.request.features, there.request.vqs)
    assert usable or kernel == "6.12"
