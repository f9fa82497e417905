"""X07xx: what one VMM loses or refuses of such a state."""

from __future__ import annotations

from collections.abc import Iterator

from inspector.lint.registry import CHECKS, Hit, check
from inspector.lint.state import State
from inspector.lint.x86.clocks import tsc_khz
from inspector.lint.x86.xsave import images
from layouts.x86.xsave import XTILE

#: Rules of an image or a list that KVM refuses whole.
_REFUSED_IMAGES = ("X0102", "X0103", "X0104", "X0113", "X0117")
_REFUSED_MSRS = ("X0340", "X0341", "X0342", "X0343", "X0344", "X0345", "X0346", "X0347", "X0355")


@check("X0701")
def firecracker_xss(state: State) -> Iterator[Hit]:
    """Supervisor states in CPUID."""
    supervisor = state.leaf(0xD, 1)[2] if state.feature("d.1.eax.xsaves") else 0
    if supervisor and state.has("kvm-sregs"):
        yield Hit("msr.IA32_XSS", f"CPUID offers {supervisor:#x} of IA32_XSS")


@check("X0702")
def cloud_hypervisor_tiles(state: State) -> Iterator[Hit]:
    """Tiles in XCR0."""
    xcr0 = state.number("xcr.xcr0") or 0
    if xcr0 & XTILE:
        yield Hit("xcr.xcr0", f"XCR0 is {xcr0:#x}")


def _of(state: State, codes: tuple[str, ...]) -> Iterator[tuple[str, Hit]]:
    return ((code, hit) for code in codes for hit in CHECKS[code](state))


@check("X0703")
def qemu_xsave(state: State) -> Iterator[Hit]:
    """An image that KVM refuses."""
    refused = dict(_of(state, _REFUSED_IMAGES))
    for prefix in images(state) if refused else ():
        yield Hit(f"{prefix}.header.xstate_bv", f"refused because of {', '.join(refused)}")


@check("X0704")
def qemu_invariant_tsc(state: State) -> Iterator[Hit]:
    """Invariant TSC."""
    if state.feature("80000007.0.edx.constant_tsc") and tsc_khz(state) is None and state.has("kvm-sregs"):
        yield Hit("cpuid.80000007.0.edx", "the invariant TSC is offered, no frequency was captured")


@check("X0705")
def qemu_msrs(state: State) -> Iterator[Hit]:
    """An MSR that KVM refuses."""
    return (Hit(hit.path, f"{hit.evidence} ({code})") for code, hit in _of(state, _REFUSED_MSRS))


@check("X0706")
def nested(state: State) -> Iterator[Hit]:
    """A guest that is a hypervisor."""
    for path in ("sregs.efer.SVME", "sregs.cr4.VMXE"):
        if state.bit(path):
            yield Hit(path, f"{path.rpartition('.')[2]} is 1")
