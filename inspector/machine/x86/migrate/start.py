"""What a VMM does before the first call: the CPUID that the guest will have there, and what is compared.

Source: QEMU target/i386/cpu.c, x86_cpu_filter_features; libvirt src/qemu/qemu_process.c, qemuProcessVerifyGuestCPU;
Cloud Hypervisor arch/src/x86_64/mod.rs, check_cpuid_compatibility.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from inspector.capture.host import CpuidValues
from inspector.machine.x86.kvm.guest_cpuid import Entry
from inspector.machine.x86.kvm.leaves import as_shown, is_hypervisors, leaf_in
from inspector.machine.x86.migrate.bits import Difference, violates
from inspector.machine.x86.migrate.destination import Destination
from inspector.machine.x86.migrate.guest import Guest
from inspector.machine.x86.migrate.places import XSTATE_LEAF, Place, rule_of
from layouts.light import TYPE_CHECKING, NamedTuple
from layouts.x86.cpuid import HYPERV_INTERFACE, HYPERVISOR_LEAF
from layouts.x86.features import REGISTERS
from layouts.x86.models.features import Bit, Word, features
from layouts.x86.models.features import words as qemu_words
from layouts.x86.models.libvirt import libvirt_feature
from layouts.x86.models.qemu import numbers_of
from layouts.x86.msr_origins import SET_BY_LINE
from layouts.x86.vmms import CLOUD_HYPERVISOR_COMPARES, Vmm

if TYPE_CHECKING:
    from inspector.machine.x86.models.realize import Realization

Table = Mapping[tuple[int, int], CpuidValues]
_ZERO = (0, 0, 0, 0)


class Compared(NamedTuple):
    """A comparison that a VMM makes: what, whether it held, whether it ends the migration, its message, its source."""

    what: str
    held: bool
    refuses: bool
    message: str
    source: str


def of_line(guest: Guest, made: Realization) -> Iterator[tuple[Place, int, int]]:
    """The feature bits that a line decides, also those of MSRs: where, what the guest has, and what it gets there."""
    shown = as_shown(guest.table)
    for feature, bits in features().items():
        theirs = int(feature in made.features)
        for word, number in bits:
            if word.is_msr and word.at in SET_BY_LINE and word.at in guest.msrs:
                yield Place("msr", word.at, 0, "", number, number), guest.msrs[word.at] >> number & 1, theirs
            elif _is_of_line(word, shown):
                mine = shown.get(word.leaf, _ZERO)[word.register_number] >> number & 1
                yield Place("cpuid", *word.leaf, word.register, number, number), mine, theirs


def changed(guest: Guest, made: Realization) -> tuple[Difference, ...]:
    """The bits in which the guest of a line differs from the one that moves, where its CPUID is known."""
    found = []
    for place, mine, theirs in of_line(guest, made) if guest.table else ():
        if mine != theirs:
            rule = rule_of(place, by_line=True)
            found.append(Difference(place, rule, mine, theirs, violates(rule, mine, theirs)))
    return tuple(found)


def _is_of_line(word: Word, shown: Table) -> bool:
    """QEMU's line decides the register of CPUID; of KVM's own leaf where the guest is known to have it."""
    return not word.is_msr and (word.leaf in shown or not is_hypervisors(word.at))


def arriving(guest: Guest, vmm: Vmm, bits: Iterable[Difference], made: Realization | None) -> tuple[Entry, ...]:
    """The CPUID that the guest has on the destination: its own list where it is sent, else as QEMU makes it anew."""
    if vmm.sends_cpuid:
        return guest.saved.cpuid
    table = guest.table
    rows = {key: list(row) for key, row in table.items()}
    if made is not None:
        _take_features(rows, table, made)
    for bit in bits:
        place = bit.place
        if made is None and bit.blocks and bit.rule == "and" and place.kind == "cpuid":
            rows[leaf_in(table, place.at), place.subleaf][REGISTERS.index(place.register)] &= ~place.mask
        if bit.blocks and place.kind in ("xcr0", "xss"):
            _drop_component(rows, place)
    return guest.with_table({key: (row[0], row[1], row[2], row[3]) for key, row in rows.items()}).saved.cpuid


def _drop_component(rows: dict[tuple[int, int], list[int]], place: Place) -> None:
    """A component that the destination's KVM does not have."""
    subleaf, (low, high) = (0, (0, 3)) if place.kind == "xcr0" else (1, (2, 3))
    row = rows.get((XSTATE_LEAF, subleaf))
    if row is not None:
        row[low if place.low < 32 else high] &= ~(1 << place.low % 32)
    rows.pop((XSTATE_LEAF, place.low), None)


def _take_features(rows: dict[tuple[int, int], list[int]], table: Table, made: Realization) -> None:
    """The feature words and the XSAVE leaf as QEMU's line gives them; caches and topology stay."""
    from inspector.machine.x86.models.cpuid import guest_cpuid

    theirs, shown = guest_cpuid(made).leaves, as_shown(table)
    for word, names in qemu_words().items():
        if not _is_of_line(word, shown):
            continue
        mask = sum(1 << number for number in names if number not in _runtime(word.at, word.register))
        leaf, subleaf = word.leaf
        row = rows.setdefault((leaf_in(table, leaf), subleaf), [*_ZERO])
        other = theirs.get(word.leaf, _ZERO)
        at = word.register_number
        row[at] = row[at] & ~mask | other[at] & mask
    for key in [key for key in rows if key[0] == XSTATE_LEAF]:
        del rows[key]
    rows.update({key: list(row) for key, row in theirs.items() if key[0] == XSTATE_LEAF})


def _runtime(leaf: int, register: str) -> frozenset[int]:
    """Bits that KVM keeps up to date by itself: APIC, HT."""
    return frozenset((9, 28)) if (leaf, register) == (1, "edx") else frozenset()


# What is compared


def compared(
    guest: Guest, destination: Destination, vmm: Vmm, bits: Iterable[Difference], made: Realization | None
) -> tuple[Compared, ...]:
    """What the VMM compares before it restores anything, and what it says."""
    if not guest.table and made is None:
        return ()
    machines = machine_types(guest, made) if made is not None and not vmm.sends_cpuid else None
    if machines is not None:
        return (machines,)
    if vmm.compares == "registers":
        return tuple(_registers(guest, destination))
    if vmm.sends_cpuid:
        return ()
    missing = [bit for bit in bits if bit.source and not bit.target and bit.known and _qemu_name(bit)]
    given = made.features if made is not None else frozenset()
    extra = [bit for bit in bits if not bit.source and _qemu_name(bit) in given]
    found = list(_warnings(missing, made))
    if vmm.compares == "names":
        found.append(_by_names(missing, extra))
    return tuple(found)


def machine_types(guest: Guest, made: Realization) -> Compared | None:
    """QEMU's stream begins with the machine type (configuration_post_load, migration/savevm.c); None where it fits."""
    if guest.made is None or guest.made.request.machine.name == made.request.machine.name:
        return None
    mine, theirs = guest.made.request.machine.name, made.request.machine.name
    text = f"Machine type received is '{mine}' and local is '{theirs}'"
    return Compared(
        "the machine types are the same",
        held=False,
        refuses=True,
        message=text,
        source="QEMU migration/savevm.c, configuration_post_load",
    )


def _qemu_name(bit: Difference) -> str:
    return bit.name if bit.name in features() and bit.rule != "ignore" and bit.place.kind in ("cpuid", "msr") else ""


def _warnings(missing: Iterable[Difference], made: Realization | None) -> Iterator[Compared]:
    """QEMU names what the host does not have, and starts all the same, unless with enforce."""
    source = "QEMU target/i386/cpu.c, x86_cpu_filter_features"
    if made is not None:
        enforce = made.request.enforce
        for entry in (*made.missing, *made.dropped):
            yield Compared(
                f"the destination has {entry.feature}",
                held=False,
                refuses=enforce,
                message=f"warning: {entry.warning}",
                source=source,
            )
        return
    version = numbers_of("11.1")
    from inspector.machine.x86.models.realize import place_in_warning

    for bit in missing:
        for place in features()[bit.name]:
            if _is_at(place, bit.place):
                where = place_in_warning(place, version)
                text = f"warning: host doesn't support requested feature: {where}.{bit.name} [bit {place.number}]"
                yield Compared(
                    f"the destination has {bit.name}", held=False, refuses=False, message=text, source=source
                )


def _is_at(bit: Bit, place: Place) -> bool:
    at = ("msr", bit.word.at, 0, "") if bit.word.is_msr else ("cpuid", *bit.word.leaf, bit.word.register)
    return (*at, bit.in_register) == (*place[:4], place.low)


def _by_names(missing: Iterable[Difference], extra: Iterable[Difference]) -> Compared:
    """libvirt: a migrated domain has check='full', so that every feature must be as on the source."""
    lacks = [name for bit in missing if (name := libvirt_feature(bit.name))]
    more = [name for bit in extra if (name := libvirt_feature(bit.name))]
    parts = [
        f"{kind} features: {','.join(dict.fromkeys(names))}"
        for kind, names in (("extra", more), ("missing", lacks))
        if names
    ]
    text = f"guest CPU doesn't match specification: {', '.join(parts)}" if parts else ""
    source = "libvirt src/cpu/cpu_x86.c, virCPUx86UpdateLive; src/qemu/qemu_process.c, qemuProcessVerifyGuestCPU"
    return Compared("the guest CPU is the domain's (check='full')", not parts, bool(parts), text, source)


def _registers(guest: Guest, destination: Destination) -> Iterator[Compared]:
    """Cloud Hypervisor: registers of CPUID, the source's against those that it would make here."""
    source = "Cloud Hypervisor arch/src/x86_64/mod.rs, check_cpuid_compatibility"
    # Those of Hyper-V it makes by the machine's configuration, which moves: they are the same (vmm/src/lib.rs,
    # vm_check_cpuid_compatibility).
    has_hyper_v = guest.table.get((HYPERVISOR_LEAF + 1, 0), _ZERO)[0] == HYPERV_INTERFACE
    for (leaf, subleaf, register), rule in CLOUD_HYPERVISOR_COMPARES.items():
        if has_hyper_v and is_hypervisors(leaf):
            continue
        row = guest.table.get((leaf, subleaf), _ZERO)
        mine = row[REGISTERS.index(register)]
        theirs = destination.word(leaf, subleaf, register) | _OF_CLOUD_HYPERVISOR.get((leaf, register), 0)
        theirs |= mine & ~destination.known(leaf, subleaf, register)
        theirs |= mine & _RUNTIME.get((leaf, register), 0)
        if violates(rule, mine, theirs):  # type: ignore[arg-type]
            text = (
                f"Detected incompatible CPUID entry: leaf={leaf:#04x} (subleaf={subleaf:#04x}), "
                f"register='{register.upper()}', compatible_check='{_CHECKS[rule]}', "
                f"source VM feature='{mine:#04x}', destination VM feature='{theirs:#04x}'."
            )
            yield Compared(
                f"CPUID.{leaf:X}.{subleaf:X}.{register.upper()}", held=False, refuses=True, message=text, source=source
            )


#: Its names of how registers are compared (CpuidCompatibleCheck).
_CHECKS = {"and": "BitwiseSubset", "at_most": "NumNotGreater", "equal": "Equal"}
#: What Cloud Hypervisor adds to KVM's table: HYPERVISOR, TSC_DEADLINE, MTRR, MSI_EXT_DEST_ID.
_OF_CLOUD_HYPERVISOR = {(1, "ecx"): 1 << 31 | 1 << 24, (1, "edx"): 1 << 12, (0x40000001, "eax"): 1 << 15}
#: Bits of a captured table that follow the vCPU's state; the one that is compared has them as KVM tells them.
_RUNTIME = {(1, "ecx"): 1 << 27 | 1 << 3, (1, "edx"): 1 << 9 | 1 << 28, (7, "ecx"): 1 << 4, (0x80000001, "edx"): 1 << 9}
