"""X0201 to X0239: control registers, EFER, flags and debug registers against each other and against CPUID."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from inspector.lint.registry import Hit, check
from inspector.lint.state import State
from layouts.lint.x86.control import CR4_NEEDS, EFER_NEEDS
from layouts.x86 import registers as reg
from layouts.x86.kvm import KVM_SREGS, KVM_SREGS2

_HIGH_HALF = ~0xFFFF_FFFF
#: RFLAGS bits 63:22, 15, 5 and 3 (Intel SDM vol. 1, 3.4.3).
_RFLAGS_ZERO = ~0x3F_7FD7
_RFLAGS_ONE = 2
#: A PDPTE's bits 2:1 and 8:5 (Intel SDM vol. 3, 4.4.1).
_PDPTE_ZERO = 0x1E6
#: In PAE paging a page-directory pointer's bit 0: present.
_PRESENT = 1
_SEGMENTS = ("cs", "ds", "es", "fs", "gs", "ss", "tr", "ldt")


def is_canonical(address: int, state: State) -> bool:
    """The upper bits repeat bit 47; with CR4.LA57, or where the guest's CPUID has it, bit 56 is enough."""
    width = 57 if state.bit("sregs.cr4.LA57") or state.feature("7.0.ecx.la57") else 48
    return address >> (width - 1) in (0, (1 << (65 - width)) - 1)


def is_long(state: State) -> bool:
    """IA-32e mode: EFER.LMA."""
    return bool(state.bit("sregs.efer.LMA"))


@check("X0201")
def long_mode(state: State) -> Iterator[Hit]:
    """CR0.PG, CR4.PAE, EFER.LME and EFER.LMA."""
    values = state.numbers("sregs.cr0", "sregs.cr4", "sregs.efer")
    if values is None:
        return
    evidence = "CR0 {:#x}, CR4 {:#x}, EFER {:#x}".format(*values)
    if state.bit("sregs.efer.LME") and state.bit("sregs.cr0.PG"):
        if not (state.bit("sregs.cr4.PAE") and is_long(state)):
            yield Hit("sregs.efer", f"{evidence}: paging with LME needs PAE and LMA")
    elif is_long(state):
        yield Hit("sregs.efer", f"{evidence}: LMA without paging and LME")


@check("X0202")
def long_code(state: State) -> Iterator[Hit]:
    """CS.L against EFER."""
    if state.number("sregs.cs.l") and state.number("sregs.efer") is not None and not is_long(state):
        yield Hit("sregs.cs.l", f"CS.L is 1, EFER is {state.hex('sregs.efer')}")


def _cr0(state: State, condition: object) -> Iterator[Hit]:
    if condition:
        yield Hit("sregs.cr0", f"CR0 is {state.hex('sregs.cr0')}")


@check("X0203")
def paging_without_protection(state: State) -> Iterator[Hit]:
    """CR0.PG needs CR0.PE."""
    return _cr0(state, state.bit("sregs.cr0.PG") and not state.bit("sregs.cr0.PE"))


@check("X0204")
def write_through_without_disable(state: State) -> Iterator[Hit]:
    """CR0.NW needs CR0.CD."""
    return _cr0(state, state.bit("sregs.cr0.NW") and not state.bit("sregs.cr0.CD"))


@check("X0205")
def cr0_high(state: State) -> Iterator[Hit]:
    """CR0's upper half."""
    return _cr0(state, (state.number("sregs.cr0") or 0) & _HIGH_HALF)


def _not_offered(state: State, path: str, needs: Mapping[str, tuple[str, ...]]) -> Iterator[Hit]:
    if not state.cpuid:
        return
    for name, features in needs.items():
        if state.bit(f"{path}.{name}") and not any(state.feature(feature) for feature in features):
            value = state.number(path)
            yield Hit(f"{path}.{name}", f"{path} is {value:#x}, CPUID has no {' or '.join(features)}")


@check("X0206")
def cr4_not_offered(state: State) -> Iterator[Hit]:
    """CR4 against CPUID."""
    return _not_offered(state, "sregs.cr4", CR4_NEEDS)


@check("X0207")
def cr4_unknown(state: State) -> Iterator[Hit]:
    """CR4's reserved bits."""
    unknown = (state.number("sregs.cr4") or 0) & ~reg.CR4.known_mask
    if unknown:
        yield Hit("sregs.cr4", f"CR4 has {unknown:#x}")


@check("X0208")
def efer_not_offered(state: State) -> Iterator[Hit]:
    """EFER against CPUID."""
    return _not_offered(state, "sregs.efer", EFER_NEEDS)


@check("X0209")
def efer_unknown(state: State) -> Iterator[Hit]:
    """EFER's reserved bits."""
    unknown = (state.number("sregs.efer") or 0) & ~reg.EFER.known_mask
    if unknown:
        yield Hit("sregs.efer", f"EFER has {unknown:#x}")


@check("X0210")
def cr3_beyond(state: State) -> Iterator[Hit]:
    """CR3 against MAXPHYADDR and LAM."""
    cr3, width = state.number("sregs.cr3"), state.physical_bits
    if cr3 is None or width is None or not is_long(state):
        return
    masks = [bits.mask for name in ("LAM_U48", "LAM_U57") if (bits := state.bits(f"sregs.cr3.{name}"))]
    allowed = (1 << width) - 1 | (sum(masks) if state.feature("7.1.eax.lam") else 0)
    if cr3 & ~allowed:
        yield Hit("sregs.cr3", f"CR3 is {cr3:#x}, the guest has {width} bits of physical address")


@check("X0211")
def identifiers_outside_long_mode(state: State) -> Iterator[Hit]:
    """CR4.PCIDE needs EFER.LMA."""
    if state.bit("sregs.cr4.PCIDE") and state.bit("sregs.efer.LMA") == 0:
        yield Hit("sregs.cr4.PCIDE", f"EFER is {state.hex('sregs.efer')}")


@check("X0212")
def shadow_stacks_without_write_protection(state: State) -> Iterator[Hit]:
    """CR4.CET needs CR0.WP."""
    if state.bit("sregs.cr4.CET") and state.bit("sregs.cr0.WP") == 0:
        yield Hit("sregs.cr4.CET", f"CR0 is {state.hex('sregs.cr0')}")


@check("X0213")
def rflags_reserved(state: State) -> Iterator[Hit]:
    """RFLAGS' reserved bits."""
    rflags = state.number("regs.rflags")
    if rflags is not None and (rflags & _RFLAGS_ZERO or not rflags & _RFLAGS_ONE):
        yield Hit("regs.rflags", f"RFLAGS is {rflags:#x}")


@check("X0214")
def virtual_8086(state: State) -> Iterator[Hit]:
    """RFLAGS.VM against the mode."""
    if state.bit("regs.rflags.VM") and (is_long(state) or state.bit("sregs.cr0.PE") == 0):
        yield Hit("regs.rflags.VM", f"RFLAGS is {state.hex('regs.rflags')}")


@check("X0215")
def instruction_pointer(state: State) -> Iterator[Hit]:
    """RIP against CS.L and the width of addresses."""
    rip, is_64bit = state.number("regs.rip"), state.number("sregs.cs.l")
    if rip is None or is_64bit is None:
        return
    if not (is_64bit and is_long(state)):
        if rip & _HIGH_HALF:
            yield Hit("regs.rip", f"RIP is {rip:#x}, CS.L is {is_64bit}, EFER is {state.hex('sregs.efer')}")
    elif not is_canonical(rip, state):
        yield Hit("regs.rip", f"RIP is {rip:#x}, which is not canonical")


@check("X0216")
def two_sregs(state: State) -> Iterator[Hit]:
    """The members that both structures have."""
    if not state.has(KVM_SREGS.name, KVM_SREGS2.name):
        return
    names = ["cr0", "cr2", "cr3", "cr4", "cr8", "efer", "apic_base", "gdt.base", "gdt.limit", "idt.base", "idt.limit"]
    names += [
        f"{segment}.{part}" for segment in _SEGMENTS for part in ("selector", "base", "limit", "type", "unusable")
    ]
    for name in names:
        values = state.numbers(f"sregs.{name}", f"sregs2.{name}")
        if values is not None and values[0] != values[1]:
            yield Hit(f"sregs2.{name}", f"{values[1]:#x}, in SREGS {values[0]:#x}")


def _is_pae(state: State, prefix: str) -> bool:
    bits = [state.bit(f"{prefix}.{name}") for name in ("cr0.PG", "cr4.PAE", "efer.LMA")]
    return bits == [1, 1, 0]


@check("X0217")
def pdptrs_not_used(state: State) -> Iterator[Hit]:
    """PDPTRS_VALID against the mode."""
    if state.bit("sregs2.flags.PDPTRS_VALID") and not _is_pae(state, "sregs2"):
        yield Hit("sregs2.flags", "PDPTRS_VALID without PAE paging")


@check("X0218")
def sregs2_flags(state: State) -> Iterator[Hit]:
    """Unknown flags."""
    unknown = (state.number("sregs2.flags") or 0) & ~reg.SREGS2_FLAGS.known_mask
    if unknown:
        yield Hit("sregs2.flags", f"flags has {unknown:#x}")


@check("X0219")
def pdptr_reserved(state: State) -> Iterator[Hit]:
    """PDPTRs that are present."""
    width = state.physical_bits or 52
    for number in range(4) if state.bit("sregs2.flags.PDPTRS_VALID") else ():
        entry = state.number(f"sregs2.pdptrs[{number}]") or 0
        if entry & _PRESENT and (entry & _PDPTE_ZERO or entry >> width):
            yield Hit(f"sregs2.pdptrs[{number}]", f"PDPTR {number} is {entry:#x}, physical addresses have {width} bits")


@check("X0220")
def pdptrs_missing(state: State) -> Iterator[Hit]:
    """PAE paging without SREGS2."""
    if state.has(KVM_SREGS.name) and _is_pae(state, "sregs") and not state.bit("sregs2.flags.PDPTRS_VALID"):
        yield Hit("sregs.cr3", f"CR3 is {state.hex('sregs.cr3')}, no PDPTRs are in the capture")


def _high(state: State, path: str) -> Iterator[Hit]:
    value = state.number(path) or 0
    if value & _HIGH_HALF:
        yield Hit(path, f"{value:#x}")


@check("X0221")
def dr6(state: State) -> Iterator[Hit]:
    """DR6's upper half."""
    return _high(state, "debugregs.dr6")


@check("X0222")
def dr7(state: State) -> Iterator[Hit]:
    """DR7's upper half."""
    return _high(state, "debugregs.dr7")


@check("X0223")
def debugregs_flags(state: State) -> Iterator[Hit]:
    """Unknown flags."""
    flags = state.number("debugregs.flags")
    if flags:
        yield Hit("debugregs.flags", f"flags is {flags:#x}")


@check("X0224")
def cr8(state: State) -> Iterator[Hit]:
    """CR8's reserved bits."""
    value = state.number("sregs.cr8") or 0
    if value & ~reg.CR8.known_mask:
        yield Hit("sregs.cr8", f"CR8 is {value:#x}")


@check("X0225")
def interrupt_bitmap(state: State) -> Iterator[Hit]:
    """More than one bit of the bitmap."""
    words = [state.number(f"sregs.interrupt_bitmap[{n}]") or 0 for n in range(4)]
    vectors = [64 * n + bit for n, word in enumerate(words) for bit in range(64) if word >> bit & 1]
    if len(vectors) > 1:
        yield Hit(f"sregs.interrupt_bitmap[{vectors[1] // 64}]", f"vectors {', '.join(map(str, vectors))}")


@check("X0226")
def two_efers(state: State) -> Iterator[Hit]:
    """EFER twice."""
    values = state.numbers("sregs.efer", "msr.IA32_EFER")
    if values is not None and values[0] != values[1]:
        yield Hit("msr.IA32_EFER", f"{values[1]:#x}, in SREGS {values[0]:#x}")


@check("X0227")
def two_bases(state: State) -> Iterator[Hit]:
    """Segment bases twice."""
    for segment, msr in (("fs", "msr.IA32_FS_BASE"), ("gs", "msr.IA32_GS_BASE")):
        values = state.numbers(f"sregs.{segment}.base", msr)
        if values is not None and values[0] != values[1]:
            yield Hit(msr, f"{values[1]:#x}, in SREGS {values[0]:#x}")
