"""X01xx: the XSAVE image against XCR0, XSS and itself."""

from __future__ import annotations

from collections.abc import Iterator

from inspector.lint.registry import Hit, check
from inspector.lint.state import State
from layouts.x86.xsave import BY_NUMBER, PKRU

#: x87 and SSE are always saved; KVM_GET_XSAVE fills in PKRU whatever XCR0 is (copy_xstate_to_uabi_buf).
_ALWAYS = 1 << PKRU | 3

#: What MXCSR may hold where the image does not say (MXCSR_MASK 0 means this, Intel SDM vol. 1, 11.6.6).
_DEFAULT_MXCSR_MASK = 0xFFBF


def names_of(mask: int) -> str:
    """Components by name."""
    numbers = [number for number in range(mask.bit_length()) if mask >> number & 1]
    return ", ".join(BY_NUMBER[number].name if number in BY_NUMBER else f"component {number}" for number in numbers)


def images(state: State) -> Iterator[str]:
    """The prefixes of the vCPU's XSAVE images."""
    return (area.prefix for area in state.areas("xsave") if not area.attributes.get("xstate_bv_unmaintained"))


@check("X0101")
def in_use_but_disabled(state: State) -> Iterator[Hit]:
    """XSTATE_BV against XCR0 and XSS."""
    xcr0, xss = state.number("xcr.xcr0"), state.number("msr.IA32_XSS") or 0
    for prefix in images(state):
        in_use = state.number(f"{prefix}.header.xstate_bv")
        if xcr0 is None or in_use is None:
            continue
        beyond = in_use & ~(xcr0 | xss | _ALWAYS)
        if beyond:
            evidence = f"XSTATE_BV {in_use:#x} has {names_of(beyond)}, XCR0 is {xcr0:#x}"
            yield Hit(f"{prefix}.header.xstate_bv", evidence)


@check("X0102")
def header_not_zero(state: State) -> Iterator[Hit]:
    """XCOMP_BV of an image in the standard format."""
    for prefix in images(state):
        xcomp_bv = state.number(f"{prefix}.header.xcomp_bv")
        if xcomp_bv and not xcomp_bv >> 63:
            yield Hit(f"{prefix}.header.xcomp_bv", f"XCOMP_BV is {xcomp_bv:#x} without bit 63")


@check("X0103")
def mxcsr_reserved(state: State) -> Iterator[Hit]:
    """MXCSR against its mask, in images and in struct kvm_fpu."""
    for prefix in (*images(state), "fpu"):
        field = next(filter(None, (state.field(f"{prefix}{name}") for name in (".mxcsr", ".legacy.mxcsr"))), None)
        if field is None or field.value is None:
            continue
        mask = state.number(f"{field.path}_mask") or _DEFAULT_MXCSR_MASK
        if field.value & ~mask:
            yield Hit(field.path, f"MXCSR {field.value:#x} has bits outside {mask:#x}")
