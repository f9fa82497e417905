"""A guest's CPUID as KVM keeps it, and what KVM makes of it.

Source: Linux arch/x86/kvm/cpuid.c, kvm_find_cpuid_entry2, kvm_vcpu_after_set_cpuid, cpuid_query_maxphyaddr.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from inspector.capture.host import CpuidValues
from layouts.light import TYPE_CHECKING, NamedTuple
from layouts.x86.features import FEATURES

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.module import Kvm

#: KVM_CPUID_FLAG_SIGNIFCANT_INDEX.
INDEXED = 1
DEFAULT_MAXPHYADDR = 36
_AMD = ("AuthenticAMD", "AMDisbetter!", "HygonGenuine")
_INTEL = "GenuineIntel"


class Entry(NamedTuple):
    """struct kvm_cpuid_entry2, less its padding."""

    leaf: int
    subleaf: int
    flags: int
    eax: int
    ebx: int
    ecx: int
    edx: int

    @property
    def values(self) -> CpuidValues:
        """The four registers."""
        return self[3:]


class GuestCpuid:
    """The entries that a vCPU has. All that rules take from a guest's CPUID is asked here.

    ``asked`` collects what was asked and what was answered, while it is a dict: a rule whose questions have the
    same answers for another table has the same outcome.
    """

    def __init__(self, kvm: Kvm, entries: Iterable[Entry] = (), *, is_set: bool = True) -> None:
        self.kvm = kvm
        self._is_set = is_set
        self.asked: dict[tuple[object, ...], object] | None = None
        self.replace(tuple(entries))

    def replace(self, entries: tuple[Entry, ...]) -> None:
        """Other entries in the place of those that were."""
        self.entries = entries
        self._remembered: dict[str, int] = {}
        self._features: dict[str, bool] = {}
        # Made when somebody looks: most tables of a sweep are refused or compared, and asked for nothing.
        self._by_function: dict[int, list[Entry]] | None = None

    @property
    def is_set(self) -> bool:
        """KVM_SET_CPUID2 was accepted once."""
        self._ask(("set",), self._is_set)
        return self._is_set

    def find(self, function: int, index: int | None = None) -> Entry | None:
        """kvm_find_cpuid_entry, with an index kvm_find_cpuid_entry_index; the first that fits."""
        if index is None and not self.kvm.since(6, 0):
            # Every look-up had an index.
            index = 0
        by_function = self._by_function
        if by_function is None:
            by_function = self._by_function = self._index()
        for entry in by_function.get(function, ()):
            if not entry.flags & INDEXED or index is None or entry.subleaf == index:
                return entry
        return None

    def _index(self) -> dict[int, list[Entry]]:
        """The entries of each leaf, in the table's order."""
        found: dict[int, list[Entry]] = {}
        for entry in self.entries:
            leaf = entry[0]
            if leaf in found:
                found[leaf].append(entry)
            else:
                found[leaf] = [entry]
        return found

    def remembered(self, name: str, make: Callable[[], int]) -> int:
        """What KVM works out of the table once, when it is set."""
        if self.asked is not None:
            return make()
        found = self._remembered.get(name)
        if found is None:
            found = self._remembered[name] = make()
        return found

    def _ask(self, key: tuple[object, ...], answer: object) -> object:
        if self.asked is not None:
            self.asked[key] = answer
        return answer

    def leaf(self, function: int, index: int | None = None) -> CpuidValues | None:
        """The registers of an entry, as rules read them."""
        entry = self.find(function, index)
        answer = None if entry is None else entry.values
        self._ask(("leaf", function, index), answer)
        return answer

    def in_table(self, feature: str) -> bool:
        """guest_cpuid_has: the bit in the guest's entries, whatever KVM has."""
        answer = self._features.get(feature)
        if answer is None:
            leaf, subleaf, register, bit = FEATURES[feature]
            entry = self.find(leaf, subleaf)
            answer = self._features[feature] = bool(entry and entry[3 + register] >> bit & 1)
        if self.asked is not None:
            self.asked["table", feature] = answer
        return answer

    def has(self, feature: str) -> bool:
        """guest_cpu_cap_has: in the guest's entries, and KVM has or emulates it (from 6.14); before: in_table."""
        answer = self.in_table(feature)
        if answer and self.kvm.since(6, 14):
            return self.kvm.has(feature) or feature in EMULATED
        return answer

    def governed(self, feature: str) -> bool:
        """In the guest's entries, and KVM has it: from 6.14 on all features, before those that KVM governed."""
        return self.has(feature) and self.kvm.has(feature)

    @property
    def maxphyaddr(self) -> int:
        """cpuid_maxphyaddr: the guest's physical address width in bits."""
        answer = self.remembered("maxphyaddr", self._maxphyaddr)
        self._ask(("maxphyaddr",), answer)
        return answer

    def _maxphyaddr(self) -> int:
        highest = self.find(0x80000000)
        found = self.find(0x80000008) if highest and highest.eax >= 0x80000008 else None
        return found.eax & 0xFF if found else DEFAULT_MAXPHYADDR

    @property
    def vendor(self) -> str:
        """The vendor's name of leaf 0, empty without that leaf."""
        entry = self.find(0)
        answer = (
            ""
            if entry is None
            else b"".join(value.to_bytes(4, "little") for value in (entry.ebx, entry.edx, entry.ecx)).decode("latin-1")
        )
        self._ask(("vendor",), answer)
        return answer

    @property
    def is_amd(self) -> bool:
        """is_amd_compatible: AMD or Hygon (guest_cpuid_is_amd_or_hygon)."""
        return self.vendor in _AMD

    @property
    def is_intel(self) -> bool:
        """guest_cpuid_is_intel: by name; from 6.10 on rules ask for what is not AMD instead."""
        return self.vendor == _INTEL

    def answer(self, key: tuple[object, ...]) -> object:
        """What this table answers to a question that ``asked`` of another one holds."""
        match key:
            case ("leaf", int() as function, index):
                entry = self.find(function, index if isinstance(index, int) else None)
                return None if entry is None else entry.values
            case ("table", str() as feature):
                return self.in_table(feature)
            case ("maxphyaddr",):
                return self.maxphyaddr
            case ("vendor",):
                return self.vendor
            case ("set",):
                return self._is_set
        raise KeyError(key)


#: What KVM emulates for guests whatever the host has (cpuid_func_emulated with partial ones).
EMULATED = frozenset(("MWAIT", "MOVBE", "RDPID"))
