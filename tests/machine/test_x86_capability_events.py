"""KVM_CHECK_EXTENSION as an event: what the release says, and what hangs on how the kernel was built."""

from __future__ import annotations

import pytest

from inspector.machine.events import EventError
from tests.machine.support import world


@pytest.mark.parametrize(
    ("kernel", "capability", "name", "value"),
    [
        ("5.10", "XEN_HVM", "ok", 1),
        ("6.1", "XEN_HVM", "depends-on", 0),
        ("7.2", "KVM_CAP_MAX_VCPUS", "depends-on", 0),
        ("6.1", "MAX_VCPUS", "ok", 1024),
        ("7.2", "KVM_CAP_XSAVE2", "ok", 4096),
        ("7.2", "ADJUST_CLOCK", "ok", 0xE),
        ("6.1", "GUEST_MEMFD", "ok", 0),
    ],
)
def test_a_capability(kernel: str, capability: str, name: str, value: int) -> None:
    outcome = world("sapphire-rapids", kernel).happen(f"KVM_CHECK_EXTENSION {capability}").outcome
    assert (outcome.name, outcome.value) == (name, value)
    if name == "depends-on":
        assert "CONFIG_KVM_" in outcome.because
        assert "as Debian builds it" in outcome.because


def test_a_capability_that_there_is_not() -> None:
    with pytest.raises(EventError, match="no capability XEN_HVN that x86 has; did you mean XEN_HVM"):
        world().happen("KVM_CHECK_EXTENSION XEN_HVN")
