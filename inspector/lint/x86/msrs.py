"""X03xx: MSRs that are missing, and values that no CPU holds."""

from __future__ import annotations

from collections.abc import Iterator

from inspector.lint.registry import Check, Hit, check
from inspector.lint.state import State
from inspector.lint.x86.control import is_canonical
from layouts.lint.x86.msrs import LIVE, Live
from layouts.x86 import msr_registers as msr
from layouts.x86.cpuid import HYPERV_INTERFACE
from layouts.x86.kvm_counted import COUNTED, KVM_MSRS, msrs_unpack
from layouts.x86.msrs import msr_name

_HIGH_HALF = ~0xFFFF_FFFF
#: Memory types (Intel SDM vol. 3, memory type encodings); PAT has UC- as well.
_MTRR_TYPES = frozenset((0, 1, 4, 5, 6))
_PAT_TYPES = _MTRR_TYPES | {7}
#: IA32_MTRR_DEF_TYPE: type, fixed ranges on, MTRRs on.
_DEF_TYPE_BITS = 0xCFF
_PHYSBASE_BITS = 0xFFF
#: Bits 9:6 of IA32_U_CET and IA32_S_CET are reserved (Intel SDM vol. 1, CET MSRs).
_CET_RESERVED = 0x3C0
_ADDRESSES = ("IA32_LSTAR", "IA32_CSTAR", "IA32_FS_BASE", "IA32_GS_BASE", "IA32_KERNEL_GS_BASE")
_COMMANDS = ("IA32_PRED_CMD", "IA32_FLUSH_CMD")
_COUNTERS = ("IA32_PMC0", "IA32_PERFEVTSEL0", "IA32_FIXED_CTR0", "IA32_PERF_GLOBAL_CTRL", "MSR_F15H_PERF_0")
_PERFORMANCE = ("80000001.0.ecx.perfctr_core", "80000022.0.eax.perfmon_v2")
#: Paravirtual MSRs of KVM with their enable bit, and the bit of KVM's leaf that offers them.
_PARAVIRTUAL = {
    "MSR_KVM_SYSTEM_TIME_NEW": "kvm_clocksource2",
    "MSR_KVM_ASYNC_PF_EN": "kvm_async_pf",
    "MSR_KVM_STEAL_TIME": "kvm_steal_time",
    "MSR_KVM_PV_EOI_EN": "kvm_pv_eoi",
}


def _missing(live: Live) -> Check:
    def find(state: State) -> Iterator[Hit]:
        if not state.is_restorable:
            return
        because = [feature for feature in live.features if state.feature(feature)]
        if (because or not live.features) and not any(state.field(f"msr.{name}") for name in live.msrs):
            reason = f"CPUID has {', '.join(because)}" if because else "every guest has it"
            yield Hit(f"msr.{live.msrs[0]}", f"{reason}; {live.msrs[0]} is not in the list")

    return find


for _code, _live in LIVE.items():
    check(_code)(_missing(_live))


@check("X0340")
def pat(state: State) -> Iterator[Hit]:
    """Memory types of IA32_PAT."""
    value = state.number("msr.IA32_PAT")
    if value is not None:
        bad = [entry for entry in value.to_bytes(8, "little") if entry not in _PAT_TYPES]
        if bad:
            yield Hit("msr.IA32_PAT", f"IA32_PAT {value:#x} has type {bad[0]:#x}")


@check("X0341")
def mtrr_types(state: State) -> Iterator[Hit]:
    """Memory types of MTRRs."""
    default = state.number("msr.IA32_MTRR_DEF_TYPE")
    if default is not None and (default & 0xFF not in _MTRR_TYPES or default & ~_DEF_TYPE_BITS):
        yield Hit("msr.IA32_MTRR_DEF_TYPE", f"{default:#x}")
    names = [
        "FIX64K_00000",
        "FIX16K_80000",
        "FIX16K_A0000",
        *(f"FIX4K_{base:X}" for base in range(0xC0000, 0x100000, 0x8000)),
    ]
    for path in (f"msr.IA32_MTRR_{name}" for name in names):
        value = state.number(path) or 0
        if any(entry not in _MTRR_TYPES for entry in value.to_bytes(8, "little")):
            yield Hit(path, f"{value:#x}")
    for number in range(8):
        path = f"msr.IA32_MTRR_PHYSBASE{number}"
        base = state.number(path) or 0
        if base & _PHYSBASE_BITS not in _MTRR_TYPES:
            yield Hit(path, f"{base:#x}")


@check("X0342")
def mtrr_addresses(state: State) -> Iterator[Hit]:
    """Variable MTRRs against MAXPHYADDR."""
    width = state.physical_bits
    for number in range(8 if width else 0):
        for kind in ("PHYSBASE", "PHYSMASK"):
            path = f"msr.IA32_MTRR_{kind}{number}"
            value = state.number(path) or 0
            if value >> (width or 0):
                yield Hit(path, f"{value:#x}, the guest has {width} bits of physical address")


@check("X0343")
def xss(state: State) -> Iterator[Hit]:
    """IA32_XSS against CPUID."""
    value = state.number("msr.IA32_XSS")
    if value and state.cpuid:
        _, _, ecx, edx = state.leaf(0xD, 1)
        allowed = (ecx | edx << 32) if state.feature("d.1.eax.xsaves") else 0
        if value & ~allowed:
            yield Hit("msr.IA32_XSS", f"IA32_XSS is {value:#x}, CPUID offers {allowed:#x}")


def _xfd(state: State, name: str) -> Iterator[Hit]:
    value = state.number(f"msr.{name}")
    if value and state.cpuid:
        table = state.cpuid.xsave_table()
        eax, _, _, edx = state.leaf(0xD)
        faulting = sum(1 << number for number, values in table.items() if number > 1 and values[2] & 4)
        allowed = faulting & (eax | edx << 32)
        if value & ~allowed:
            yield Hit(f"msr.{name}", f"{name} is {value:#x}, CPUID offers {allowed:#x}")


@check("X0344")
def xfd(state: State) -> Iterator[Hit]:
    """IA32_XFD against CPUID."""
    return _xfd(state, "IA32_XFD")


@check("X0345")
def xfd_err(state: State) -> Iterator[Hit]:
    """IA32_XFD_ERR against CPUID."""
    return _xfd(state, "IA32_XFD_ERR")


@check("X0346")
def addresses(state: State) -> Iterator[Hit]:
    """MSRs that are canonical."""
    for name in _ADDRESSES:
        value = state.number(f"msr.{name}")
        if value is not None and not is_canonical(value, state):
            yield Hit(f"msr.{name}", f"{value:#x}")


@check("X0347")
def cet(state: State) -> Iterator[Hit]:
    """CET MSRs."""
    for name in ("IA32_U_CET", "IA32_S_CET"):
        path = f"msr.{name}"
        value = state.number(path) or 0
        if value & _CET_RESERVED or (state.bit(f"{path}.SUPPRESS") and state.bit(f"{path}.TRACKER")):
            yield Hit(path, f"{value:#x}")
    for number in range(4):
        path = f"msr.IA32_PL{number}_SSP"
        if (state.number(path) or 0) & 3:
            yield Hit(path, f"{state.hex(path)} is no multiple of 4")


@check("X0348")
def spec_ctrl(state: State) -> Iterator[Hit]:
    """IA32_SPEC_CTRL's reserved bits."""
    unknown = (state.number("msr.IA32_SPEC_CTRL") or 0) & ~msr.SPEC_CTRL.known_mask
    if unknown:
        yield Hit("msr.IA32_SPEC_CTRL", f"it has {unknown:#x}")


def _entries(state: State) -> list[tuple[int, ...]]:
    return [entry for area in state.areas(KVM_MSRS.name) for entry in msrs_unpack(area.data)]


@check("X0349")
def repeated(state: State) -> Iterator[Hit]:
    """Two values of one MSR."""
    seen: dict[int, int] = {}
    for index, _, value in _entries(state):
        if seen.setdefault(index, value) != value:
            yield Hit(f"msr.{msr_name(index)}", f"{seen[index]:#x} and then {value:#x}")


@check("X0350")
def counted(state: State) -> Iterator[Hit]:
    """Nmsrs against the bytes."""
    for area in state.areas(KVM_MSRS.name):
        count, held = state.number(f"{area.prefix}.nmsrs") or 0, COUNTED[area.layout].held(area.data)
        if count > held:
            yield Hit(f"{area.prefix}.nmsrs", f"{count} entries in {len(area.data)} bytes, which hold {held}")


@check("X0351")
def counters_without_pmu(state: State) -> Iterator[Hit]:
    """Performance counters against CPUID."""
    if not state.is_restorable or state.leaf(0xA)[0] & 0xFF or any(state.feature(one) for one in _PERFORMANCE):
        return
    found = [name for name in _COUNTERS if state.number(f"msr.{name}") is not None]
    if found:
        yield Hit(f"msr.{found[0]}", f"{', '.join(found)} in the list, CPUID leaf 0xA has version 0")


@check("X0352")
def paravirtual(state: State) -> Iterator[Hit]:
    """KVM's MSRs against KVM's leaf."""
    for name, feature in _PARAVIRTUAL.items() if state.cpuid else ():
        value = state.number(f"msr.{name}") or 0
        if value & 1 and not state.feature(f"40000001.0.eax.{feature}"):
            yield Hit(f"msr.{name}", f"{name} is {value:#x}, CPUID has no {feature}")


@check("X0353")
def hyperv(state: State) -> Iterator[Hit]:
    """Hyper-V's MSRs against Hyper-V's leaf."""
    if state.cpuid and state.leaf(0x4000_0001)[0] != HYPERV_INTERFACE:
        for name in ("HV_X64_MSR_GUEST_OS_ID", "HV_X64_MSR_HYPERCALL"):
            if state.number(f"msr.{name}"):
                yield Hit(f"msr.{name}", f"{name} is {state.number(f'msr.{name}'):#x}")


@check("X0354")
def vmx_not_allowed(state: State) -> Iterator[Hit]:
    """CR4.VMXE against IA32_FEATURE_CONTROL."""
    path = "msr.IA32_FEATURE_CONTROL"
    value = state.number(path)
    if (
        state.bit("sregs.cr4.VMXE")
        and value is not None
        and not (state.bit(f"{path}.LOCK") and state.bit(f"{path}.VMX"))
    ):
        yield Hit(path, f"IA32_FEATURE_CONTROL is {value:#x}, CR4.VMXE is 1")


@check("X0355")
def async_pf_without_apic(state: State) -> Iterator[Hit]:
    """MSR_KVM_ASYNC_PF_INT without a LAPIC in the kernel: the capture of one has its registers."""
    saved = state.has("kvm-mp-state", "kvm-vcpu-events") and state.is_restorable
    if saved and not state.has("kvm-lapic") and state.number("msr.MSR_KVM_ASYNC_PF_INT") is not None:
        yield Hit("msr.MSR_KVM_ASYNC_PF_INT", "the capture has no local APIC")


@check("X0356")
def tsc_aux(state: State) -> Iterator[Hit]:
    """IA32_TSC_AUX's upper half."""
    value = state.number("msr.IA32_TSC_AUX") or 0
    if value & _HIGH_HALF:
        yield Hit("msr.IA32_TSC_AUX", f"{value:#x}")


@check("X0357")
def commands(state: State) -> Iterator[Hit]:
    """MSRs that hold nothing."""
    return (Hit(f"msr.{name}", f"{name} is in the list") for name in _COMMANDS if state.field(f"msr.{name}"))
