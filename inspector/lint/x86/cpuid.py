"""X04xx: the guest's CPUID against itself, and against the state that it rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from inspector.lint.registry import Hit, check, group_check
from inspector.lint.state import State
from inspector.lint.x86.xsave import names_of, offered
from layouts.lint.x86.cpuid import NEEDS, NEEDS_XCR0
from layouts.x86.cpuid import HYPERVISOR_LEAF
from layouts.x86.xsave import EXTENDED_OFFSET

_EXTENDED = 0x8000_0000
_SIGNIFICANT_INDEX = 1
_MOST_ENTRIES = 256
_PHYSICAL_BITS = range(32, 53)
_LINEAR_BITS = (0, 48, 57)
#: Leaves that tell of one CPU's place among others, or of its own registers; a mask of what may differ, by register.
_OWN = {
    (0x1, 0): (0, 0xFF00_0000, 1 << 27, 1 << 9),
    (0xD, 0): (0, ~0, 0, 0),
    (0xD, 1): (0, ~0, 0, 0),
    (0x8000_001E, 0): (~0, ~0, ~0, ~0),
}
_TOPOLOGY = (0xB, 0x1F, 0x8000_0026)


def _path(leaf: int, subleaf: int, register: str) -> str:
    return f"cpuid.{leaf:x}.{subleaf:x}.{register}"


@check("X0401")
def osxsave(state: State) -> Iterator[Hit]:
    """Leaf 1 ECX[27] against CR4."""
    bit = state.bit("sregs.cr4.OSXSAVE")
    said = state.feature("1.0.ecx.osxsave")
    if bit is not None and said is not None and bool(bit) != said:
        yield Hit("cpuid.1.0.ecx.osxsave", f"CPUID says {int(said)}, CR4.OSXSAVE is {bit}")


@check("X0402")
def apic(state: State) -> Iterator[Hit]:
    """Leaf 1 EDX[9] against IA32_APIC_BASE."""
    bit = state.bit("sregs.apic_base.EN")
    said = state.feature("1.0.edx.apic")
    if bit is not None and said is not None and bool(bit) != said:
        yield Hit("cpuid.1.0.edx.apic", f"CPUID says {int(said)}, IA32_APIC_BASE.EN is {bit}")


def _components(state: State) -> dict[int, tuple[int, int, int]]:
    """User components of leaf 0xD that sub-leaf 0 offers: number -> first byte, last byte + 1, size."""
    mask = offered(state) or 0
    table = state.cpuid.xsave_table()
    found = {number: table.get(number, (0, 0, 0, 0)) for number in range(2, 63) if mask >> number & 1}
    return {number: (ebx, ebx + eax, eax) for number, (eax, ebx, _, _) in found.items()}


@check("X0403")
def size_now(state: State) -> Iterator[Hit]:
    """Leaf 0xD EBX against XCR0."""
    xcr0 = state.number("xcr.xcr0")
    if xcr0 is None or not offered(state) or not state.bit("sregs.cr4.OSXSAVE"):
        return
    needed = max((end for number, (_, end, _) in _components(state).items() if xcr0 >> number & 1), default=0)
    needed, said = max(needed, EXTENDED_OFFSET), state.leaf(0xD)[1]
    if said != needed:
        yield Hit("cpuid.d.0.ebx", f"CPUID says {said} bytes, XCR0 {xcr0:#x} needs {needed}")


@check("X0404")
def component_without_place(state: State) -> Iterator[Hit]:
    """Sub-leaves of leaf 0xD that are missing."""
    for number, (_, _, size) in _components(state).items():
        if not size:
            name = names_of(1 << number)
            yield Hit("cpuid.d.0.eax", f"{name} is offered, and sub-leaf {number} says 0 bytes")


@check("X0405")
def components_overlap(state: State) -> Iterator[Hit]:
    """Places of leaf 0xD."""
    last, before = EXTENDED_OFFSET, "the header"
    for number, (start, end, size) in sorted(_components(state).items(), key=lambda item: item[1]):
        if size and start < last:
            evidence = f"{names_of(1 << number)} begins at byte {start}, {before} ends at {last}"
            yield Hit(_path(0xD, number, "ebx"), evidence)
        last, before = max(last, end), names_of(1 << number)


@check("X0406")
def largest_size(state: State) -> Iterator[Hit]:
    """Leaf 0xD ECX."""
    end = max((end for _, end, _ in _components(state).values()), default=0)
    said = state.leaf(0xD)[2]
    if said < end:
        yield Hit("cpuid.d.0.ecx", f"CPUID says {said} bytes, a component ends at {end}")


@check("X0407")
def beyond_highest(state: State) -> Iterator[Hit]:
    """Leaves that the highest leaf leaves out."""
    for base in (0, _EXTENDED):
        highest = state.leaf(base)[0]
        beyond = [leaf for leaf, _ in state.cpuid if leaf >> 16 == base >> 16 and leaf > highest]
        if highest and any(any(state.leaf(leaf)) for leaf in beyond):
            yield Hit(_path(base, 0, "eax"), f"the highest is {highest:#x}, the table has {max(beyond):#x}")


@check("X0408")
def twice(state: State) -> Iterator[Hit]:
    """Entries that repeat."""
    counts = Counter((function, index) for function, index, *_ in state.cpuid_entries)
    for (leaf, subleaf), count in counts.items():
        if count > 1:
            yield Hit(_path(leaf, subleaf, "eax"), f"{count} entries for leaf {leaf:#x}, sub-leaf {subleaf}")


@check("X0409")
def subleaves_not_marked(state: State) -> Iterator[Hit]:
    """KVM_CPUID_FLAG_SIGNIFCANT_INDEX."""
    first: dict[int, int] = {}
    counts = Counter(function for function, *_ in state.cpuid_entries)
    for function, _, flags, *_ in state.cpuid_entries:
        first.setdefault(function, flags)
    for leaf, flags in first.items():
        subleaves = (
            {index for function, index, *_ in state.cpuid_entries if function == leaf} if counts[leaf] > 1 else set()
        )
        if len(subleaves) > 1 and not flags & _SIGNIFICANT_INDEX:
            yield Hit(
                _path(leaf, min(subleaves), "flags"), f"leaf {leaf:#x} has {len(subleaves)} sub-leaves, flags {flags}"
            )


@check("X0410")
def needs(state: State) -> Iterator[Hit]:
    """Features that need others."""
    for feature, others in NEEDS.items() if state.cpuid else ():
        lacking = [other for other in others if not state.feature(other)]
        if lacking and state.feature(feature):
            yield Hit(f"cpuid.{feature}", f"{feature} without {', '.join(lacking)}")


@check("X0411")
def needs_state(state: State) -> Iterator[Hit]:
    """Features that need components."""
    mask = offered(state)
    for feature, wanted in NEEDS_XCR0.items() if mask is not None else ():
        lacking = wanted & ~(mask or 0)
        if lacking and state.feature(feature):
            yield Hit(f"cpuid.{feature}", f"{feature} without {names_of(lacking)} in leaf 0xD")


@check("X0412")
def vendors(state: State) -> Iterator[Hit]:
    """Leaf 0 against leaf 0x80000000."""
    basic, extended = state.leaf(0)[1:], state.leaf(_EXTENDED)[1:]
    if any(basic) and any(extended) and basic != extended:
        again = b"".join(extended[at].to_bytes(4, "little") for at in (0, 2, 1)).decode("latin-1")
        yield Hit("cpuid.80000000.0.ebx", f"leaf 0 says {state.cpuid.vendor()}, leaf 0x80000000 {again!r}")


@check("X0413")
def linear_width(state: State) -> Iterator[Hit]:
    """Linear addresses."""
    bits = state.leaf(0x8000_0008)[0] >> 8 & 0xFF
    if bits not in _LINEAR_BITS:
        yield Hit("cpuid.80000008.0.eax", f"{bits} bits of linear address")


@check("X0414")
def linear_width_and_la57(state: State) -> Iterator[Hit]:
    """Linear addresses against LA57."""
    bits, la57 = state.leaf(0x8000_0008)[0] >> 8 & 0xFF, state.feature("7.0.ecx.la57")
    if (bits == 57 and la57 is False) or (bits == 48 and la57):
        yield Hit("cpuid.80000008.0.eax", f"{bits} bits of linear address, LA57 is {int(la57 or 0)}")


@check("X0415")
def physical_width(state: State) -> Iterator[Hit]:
    """Physical addresses."""
    bits = state.physical_bits
    if bits is not None and bits not in _PHYSICAL_BITS:
        yield Hit("cpuid.80000008.0.eax", f"{bits} bits of physical address")


def _has_hypervisor_leaf(state: State) -> bool:
    return any(leaf >> 28 == HYPERVISOR_LEAF >> 28 for leaf, _ in state.cpuid)


@check("X0416")
def hypervisor_hidden(state: State) -> Iterator[Hit]:
    """Leaves from 0x40000000 on."""
    if _has_hypervisor_leaf(state) and state.is_restorable and not state.feature("1.0.ecx.guest_status"):
        yield Hit("cpuid.1.0.ecx.guest_status", "leaf 0x40000000 is in the table")


@check("X0417")
def hypervisor_without_leaf(state: State) -> Iterator[Hit]:
    """Bit 31 of leaf 1."""
    if state.is_restorable and state.feature("1.0.ecx.guest_status") and not _has_hypervisor_leaf(state):
        yield Hit("cpuid.1.0.ecx.guest_status", "leaf 0x40000000 is not in the table")


@check("X0418")
def too_many(state: State) -> Iterator[Hit]:
    """Nent."""
    count = state.number("cpuid.nent") or 0
    if count > _MOST_ENTRIES:
        yield Hit("cpuid.nent", f"{count} entries")


@check("X0419")
def no_table(state: State) -> Iterator[Hit]:
    """No CPUID beside registers."""
    if state.has("kvm-sregs", "kvm-regs") and not state.cpuid:
        yield Hit("sregs.cr4", "the capture has SREGS and no CPUID")


def _own(state: State) -> dict[tuple[int, int], tuple[int, ...]]:
    """The table without what is each vCPU's own."""
    return {
        key: tuple(value & ~mask for value, mask in zip(values, _OWN.get(key, (0, 0, 0, 0)), strict=True))
        for key, values in state.cpuid.leaves.items()
        if key[0] not in _TOPOLOGY
    }


@group_check("X0420")
def tables_differ(states: list[State]) -> Iterator[Hit]:
    """CPUID over vCPUs."""
    known = [state for state in states if state.cpuid]
    first = _own(known[0]) if known else {}
    for state in known[1:]:
        other = _own(state)
        differing = sorted(key for key in first.keys() | other.keys() if first.get(key) != other.get(key))
        if differing:
            leaves = ", ".join(f"{leaf:x}.{subleaf}" for leaf, subleaf in differing[:4])
            where = f"vCPU {known[0].vcpu.index} and {state.vcpu.index} differ in {len(differing)} sub-leaves: {leaves}"
            yield Hit(_path(*differing[0], "eax"), where)


def apic_id(state: State) -> int | None:
    """The vCPU's APIC id by its CPUID; None without CPUID."""
    if not state.cpuid:
        return None
    return state.leaf(0xB)[3] if any(state.leaf(0xB)) else state.leaf(1)[1] >> 24


@group_check("X0421")
def same_id(states: list[State]) -> Iterator[Hit]:
    """APIC ids over vCPUs."""
    seen: dict[int, int] = {}
    for state in states:
        number = apic_id(state)
        if number is None:
            continue
        first = seen.setdefault(number, state.vcpu.index)
        if first != state.vcpu.index:
            yield Hit("cpuid.1.0.ebx.local_apic_id", f"vCPU {first} and {state.vcpu.index} have APIC id {number}")


@check("X0422")
def two_ids(state: State) -> Iterator[Hit]:
    """Leaf 1 against leaf 0xB."""
    old, new = state.leaf(1)[1] >> 24, state.leaf(0xB)[3]
    if state.is_restorable and any(state.leaf(0xB)[:3]) and old != new & 0xFF:
        yield Hit("cpuid.b.0.edx", f"leaf 1 says {old}, leaf 0xB {new}")


@check("X0423")
def xsave_and_leaf(state: State) -> Iterator[Hit]:
    """Leaf 1 ECX[26] against leaf 0xD."""
    said = state.feature("1.0.ecx.xsave")
    if said is not None and (1, 0) in state.cpuid.leaves and said != bool(offered(state)):
        yield Hit("cpuid.1.0.ecx.xsave", f"XSAVE is {int(said)}, leaf 0xD offers {offered(state) or 0:#x}")


@check("X0424")
def leaf_7(state: State) -> Iterator[Hit]:
    """Leaf 7 EAX."""
    highest = state.leaf(7)[0]
    beyond = [
        subleaf for leaf, subleaf in state.cpuid if leaf == 7 and subleaf > highest and any(state.leaf(7, subleaf))
    ]
    if beyond:
        yield Hit("cpuid.7.0.eax", f"the last is {highest}, the table has {max(beyond)}")
