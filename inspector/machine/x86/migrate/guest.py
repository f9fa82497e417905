"""The vCPU that moves: what was captured of it, and what its state says of the features that it uses."""

from __future__ import annotations

from collections.abc import Mapping

from inspector.capture.host import Cpuid, CpuidValues
from inspector.decode.header import held_xstate_bv
from inspector.machine.x86.kvm.guest_cpuid import Entry
from inspector.machine.x86.kvm.restore import Saved
from layouts.light import TYPE_CHECKING, NamedTuple, lru_cache
from layouts.x86.kvm_cpuid import ANY_INDEXED_LEAVES
from layouts.x86.xsave import HEADER_AT

if TYPE_CHECKING:
    from inspector.machine.x86.models.realize import Realization

NOTHING = Saved((), b"", b"", None, b"", b"", (), b"", 0, b"", None, None)
#: Offsets in struct kvm_sregs of the registers that say what the guest turned on; kvm_sregs2 begins as it does.
_SREGS = {"cr0": 224, "cr3": 240, "cr4": 248, "efer": 264, "apic_base": 272}
#: The registers that say what a guest uses, by structure: their offset there.
REGISTERS_AT = {
    "sregs": _SREGS,
    "sregs2": _SREGS,
    "xcrs": {"xcr0": 16},
    "xsave": {"xstate_bv": HEADER_AT["xstate_bv"].offset},
}


@lru_cache(maxsize=16)
def _table(entries: tuple[Entry, ...]) -> Mapping[tuple[int, int], CpuidValues]:
    """By leaf and sub-leaf the first entry; a verdict asks for the same tables again and again."""
    return {(entry.leaf, entry.subleaf): entry.values for entry in reversed(entries)}


class Guest(NamedTuple):
    """A vCPU that is to arrive elsewhere.

    ``saved`` is what was captured, as the structures that a VMM sets; ``captured`` are the steps of a restore whose
    structure is there. ``facts`` are registers by name (``cr4``, ``efer``, ``xcr0``, ``xstate_bv``), as far as they are
    known. ``kernel`` is the release of the host that it was captured on, empty where nobody said. ``made`` is how
    QEMU's line made its features, where that is known. ``irqchip`` is one of IRQCHIP_*. ``of_qemu``: it is a stream of
    QEMU, whose MSRs are QEMU's own list and are set only where the destination lists them.
    """

    name: str
    saved: Saved
    captured: frozenset[str]
    facts: Mapping[str, int]
    kernel: str = ""
    made: Realization | None = None
    irqchip: int = 1
    of_qemu: bool = False

    @property
    def table(self) -> Mapping[tuple[int, int], CpuidValues]:
        """Its CPUID by leaf and sub-leaf; empty where it was not captured."""
        return _table(self.saved.cpuid)

    @property
    def cpuid(self) -> Cpuid:
        """Its CPUID."""
        return Cpuid(self.table)

    @property
    def msrs(self) -> Mapping[int, int]:
        """Its MSRs by index."""
        return dict(self.saved.msrs)

    def with_table(self, table: Mapping[tuple[int, int], CpuidValues]) -> Guest:
        """The same vCPU with another CPUID: what is in both keeps its flags and place."""
        before = {(entry.leaf, entry.subleaf): entry.flags for entry in reversed(self.saved.cpuid)}
        entries = [Entry(*key, before[key], *table[key]) for key in reversed(before) if key in table]
        entries += [entry_of(key, row) for key, row in table.items() if key not in before]
        return self._replace(saved=self.saved._replace(cpuid=tuple(entries)))


def entry_of(key: tuple[int, int], row: CpuidValues) -> Entry:
    """A row of CPUID by leaf and sub-leaf, as a VMM gives it to KVM_SET_CPUID2."""
    return Entry(*key, int(key[0] in ANY_INDEXED_LEAVES), *row)


def facts_of(saved: Saved) -> dict[str, int]:
    """The registers that say what a guest uses, of the structures that are there."""
    found = {}
    for name, at in _SREGS.items():
        if len(saved.sregs) >= at + 8:
            found[name] = int.from_bytes(saved.sregs[at : at + 8], "little")
    at = REGISTERS_AT["xcrs"]["xcr0"]
    if len(saved.xcrs) >= at + 8:
        found["xcr0"] = int.from_bytes(saved.xcrs[at : at + 8], "little")
    in_use = held_xstate_bv(saved.xsave)
    if in_use is not None:
        found["xstate_bv"] = in_use
    return found


def steps_of(saved: Saved) -> frozenset[str]:
    """The steps of a restore for which something was captured."""
    parts = {
        "regs": saved.regs,
        "sregs": saved.sregs,
        "sregs2": saved.sregs2 or saved.sregs,
        "xsave": saved.xsave,
        "xcrs": saved.xcrs,
        "msrs": saved.msrs,
        "events": saved.events,
        "debugregs": saved.debugregs,
        "lapic": saved.lapic,
        "nested": saved.nested,
        "tsc_khz": saved.tsc_khz,
        "mp": saved.regs,
    }
    return frozenset(name for name, part in parts.items() if part)
