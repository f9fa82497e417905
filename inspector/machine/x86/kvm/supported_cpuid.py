"""KVM_GET_SUPPORTED_CPUID and KVM_GET_EMULATED_CPUID.

Source: Linux arch/x86/kvm/cpuid.c, kvm_dev_ioctl_get_cpuid, __do_cpuid_func, cpuid_func_emulated.
"""

from __future__ import annotations

from collections.abc import Iterator

from inspector.capture.host import Cpuid, CpuidValues
from inspector.machine.x86.kvm.guest_cpuid import INDEXED, Entry
from layouts.light import TYPE_CHECKING
from layouts.x86.features import FEATURES
from layouts.x86.kvm_cpuid import INDEXED_LEAVES, KVM_FEATURES_EAX

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.module import Kvm

_CENTAUR, _KVM = 0xC0000000, 0x40000000
_ZERO: CpuidValues = (0, 0, 0, 0)
_M32 = 0xFFFFFFFF
_SGX_MISC_EXINFO = 1
#: KVM_MAX_CPUID_ENTRIES: a table with more is E2BIG.
_MOST_SUBLEAVES = 256
#: SECS.ATTRIBUTES that KVM shows: DEBUG, MODE64BIT, PROVISIONKEY, EINITTOKENKEY, KSS; from 6.12 AEX_NOTIFY (bit 10).
_SGX_ATTRIBUTES = 0xB6
_SGX_AEX_NOTIFY = 1 << 10


def supported_cpuid(kvm: Kvm, guest_perm: int = 0) -> tuple[Entry, ...]:
    """The entries of KVM_GET_SUPPORTED_CPUID, in the kernel's order."""
    return Supported(kvm, guest_perm).table()


def supported_table(kvm: Kvm, guest_perm: int = 0) -> Cpuid:
    """The same by leaf and sub-leaf."""
    return Cpuid({(entry.leaf, entry.subleaf): entry.values for entry in supported_cpuid(kvm, guest_perm)})


def emulated_cpuid(kvm: Kvm) -> tuple[Entry, ...]:
    """The entries of KVM_GET_EMULATED_CPUID (cpuid_func_emulated)."""
    rdpid = 1 << FEATURES["RDPID"].bit if kvm.has("RDTSCP") else 0
    return (
        Entry(0, 0, 0, 7, 0, 0, 0),
        Entry(1, 0, 0, 0, 0, 1 << FEATURES["MOVBE"].bit, 0),
        Entry(7, 0, INDEXED, 0, 0, rdpid, 0),
    )


class Supported:
    """The making of a table: one function a leaf, named by it.

    ``guest_perm``: the dynamic components that the process may give to guests.
    """

    def __init__(self, kvm: Kvm, guest_perm: int = 0) -> None:
        self.kvm = kvm
        self.guest_perm = guest_perm
        self.caps = kvm.caps.words

    def table(self) -> tuple[Entry, ...]:
        """kvm_dev_ioctl_get_cpuid."""
        found: list[Entry] = []
        for base in (0, 0x80000000, _CENTAUR, _KVM):
            if base == _CENTAUR and self.kvm.host.cpuid.vendor() not in ("CentaurHauls", "  Shanghai  "):
                continue
            first = self.leaf(base)
            found += first
            for leaf in range(base + 1, first[-1].eax + 1):
                found += self.leaf(leaf)
        return tuple(found)

    def leaf(self, leaf: int) -> list[Entry]:
        """The entries of one leaf."""
        return list(self._entries(leaf))

    def _entries(self, leaf: int) -> Iterator[Entry]:
        """__do_cpuid_func."""
        maker = getattr(self, f"_leaf_{leaf:x}", None)
        indexed = any(leaf in leaves for since, leaves in INDEXED_LEAVES.items() if self.kvm.since(*since))
        for subleaf, values in enumerate(maker() if maker else [_ZERO]):
            if values is not None:
                yield Entry(leaf, subleaf, INDEXED if indexed else 0, *values)

    def _host(self, leaf: int, subleaf: int = 0) -> CpuidValues:
        """do_host_cpuid: the CPUID instruction; nothing above the last extended leaf."""
        return self.kvm.raw.get(leaf, subleaf) or _ZERO

    def _cap(self, leaf: int, subleaf: int, register: int) -> int:
        """cpuid_entry_override."""
        return self.caps[leaf, subleaf, register]

    def _leaf_0(self) -> list[CpuidValues]:
        eax, *others = self._host(0)
        return [(min(eax, 0x24 if self.kvm.since(6, 12) else 0x1F), others[0], others[1], others[2])]

    def _leaf_1(self) -> list[CpuidValues]:
        eax, ebx, _, _ = self._host(1)
        return [(eax, ebx, self._cap(1, 0, 2), self._cap(1, 0, 3))]

    def _leaf_2(self) -> list[CpuidValues]:
        return [self._host(2)]

    def _caches(self, leaf: int) -> list[CpuidValues]:
        found = [self._host(leaf)]
        while found[-1][0] & 0x1F:
            found.append(self._host(leaf, len(found)))
        return found

    def _leaf_4(self) -> list[CpuidValues]:
        return self._caches(4)

    def _leaf_8000001d(self) -> list[CpuidValues]:
        return self._caches(0x8000001D)

    def _leaf_6(self) -> list[CpuidValues]:
        return [(4, 0, 0, 0)]

    def _leaf_7(self) -> list[CpuidValues]:
        most = 2 if self.kvm.since(6, 10) or (self.kvm.since(6, 0) and not self.kvm.since(6, 2)) else 1
        highest = min(self._host(7)[0], most)
        found: list[CpuidValues] = [(highest, self._cap(7, 0, 1), self._cap(7, 0, 2), self._cap(7, 0, 3))]
        if highest >= 1:
            edx = self._cap(7, 1, 3) if self.kvm.since(6, 2) else 0
            ecx = self._cap(7, 1, 2) if self.kvm.since(6, 17) else 0
            found.append((self._cap(7, 1, 0), 0, ecx, edx))
        if highest >= 2:
            found.append((0, 0, 0, self._cap(7, 2, 3)))
        return found

    def _leaf_a(self) -> list[CpuidValues]:
        """The PMU; what perf gives of it is what CPUID says, at most version 2."""
        eax, ebx, _, edx = self._host(0xA)
        off = self.kvm.since(5, 18) and not self.kvm.is_on("enable_pmu")
        version = min(eax & 0xFF, 2)
        if off or not version:
            return [_ZERO]
        anythread_deprecated = 1 << 15
        return [(eax & ~0xFF | version, ebx, 0, edx & 0x1FFF | anythread_deprecated)]

    def _leaf_b(self) -> list[CpuidValues]:
        return [(0, 0, 0, self._host(0xB)[3])]

    def _leaf_1f(self) -> list[CpuidValues]:
        return [(0, 0, 0, self._host(0x1F)[3])]

    def _leaf_d(self) -> list[CpuidValues | None]:
        host, xss = self.kvm.host, self.kvm.xss
        mask = host.permitted_xcr0(self.guest_perm)
        eax, _, _, edx = self._host(0xD)
        size = host.standard_size_bytes(mask)
        found: list[CpuidValues | None] = [(eax & mask & _M32, size, size, edx & mask >> 32)]
        if not self.kvm.xcr0:
            return [(0, size, size, 0)]
        _, _, ecx, edx = self._host(0xD, 1)
        features = self._cap(0xD, 1, 0)
        compacted = host.compacted_size_bytes(mask | xss) if features & 0xA else 0
        found.append((features, compacted, ecx & xss & _M32, edx & xss >> 32))
        for component in range(2, 64):
            if not (mask | xss) >> component & 1:
                found.append(None)
                continue
            eax, ebx, ecx, _ = self._host(0xD, component)
            is_supervisor = not mask >> component & 1
            if not eax or ecx & 1 != is_supervisor:
                found.append(None)
                continue
            if self.kvm.since(5, 17) and not self.kvm.has("XFD"):
                ecx &= ~4
            found.append((eax, ebx, ecx, 0))
        return found

    def _leaf_12(self) -> list[CpuidValues]:
        if not (self.kvm.has("SGX") and self.kvm.since(5, 13)):
            return [_ZERO]
        _, ebx, ecx, edx = self._host(0x12)
        attributes = _SGX_ATTRIBUTES | (_SGX_AEX_NOTIFY if self.kvm.since(6, 2) else 0)
        one = self._host(0x12, 1)
        return [
            (self._cap(0x12, 0, 0), ebx & _SGX_MISC_EXINFO, ecx, edx),
            (one[0] & attributes, 0, one[2], one[3]),
        ]

    def _as_many(self, leaf: int) -> list[CpuidValues]:
        return [self._host(leaf, subleaf) for subleaf in range(min(self._host(leaf)[0], _MOST_SUBLEAVES) + 1)]

    def _leaf_14(self) -> list[CpuidValues]:
        return self._as_many(0x14) if self.kvm.has("INTEL_PT") else [_ZERO]

    def _leaf_1d(self) -> list[CpuidValues]:
        return self._as_many(0x1D) if self.kvm.has("AMX_TILE") and self.kvm.since(5, 17) else [_ZERO]

    def _leaf_1e(self) -> list[CpuidValues]:
        if not (self.kvm.has("AMX_TILE") and self.kvm.since(5, 17)):
            return [_ZERO]
        eax, ebx, ecx, edx = self._host(0x1E)
        if not self.kvm.since(7, 0):
            return [(eax, ebx, ecx, edx)]
        highest = min(eax, 1)
        found: list[CpuidValues] = [(highest, ebx, ecx, edx)]
        return [*found, (self._cap(0x1E, 1, 0), 0, 0, 0)] if highest else found

    def _leaf_24(self) -> list[CpuidValues]:
        if not (self.kvm.has("AVX10") and self.kvm.since(6, 12)):
            return [_ZERO]
        eax, ebx, _, _ = self._host(0x24)
        newer = self.kvm.since(7, 0)
        version = min(ebx & 0xFF, 2 if newer else 1)
        highest = min(eax, 1) if newer else 0
        found: list[CpuidValues] = [(highest, self._cap(0x24, 0, 1) | version, 0, 0)]
        return [*found, (0, 0, self._cap(0x24, 1, 2), 0)] if highest else found

    def _leaf_40000000(self) -> list[CpuidValues]:
        ebx, ecx, edx = (int.from_bytes(part, "little") for part in (b"KVMK", b"VMKV", b"M\0\0\0"))
        return [(0x40000001, ebx, ecx, edx)]

    def _leaf_40000001(self) -> list[CpuidValues]:
        return [(KVM_FEATURES_EAX, 0, 0, 0)]

    def _leaf_80000000(self) -> list[CpuidValues]:
        eax, *others = self._host(0x80000000)
        eax = min(eax, 0x80000022 if self.kvm.since(6, 2) else 0x80000021)
        tells = self.kvm.boot_has("LFENCE_RDTSC") or not self.kvm.has_bug("NULL_SEG")
        if self.kvm.since(6, 0) and eax >= 0x8000001D and tells:
            eax = max(eax, 0x80000021)
        return [(eax, others[0], others[1], others[2])]

    def _leaf_80000001(self) -> list[CpuidValues]:
        eax, ebx, _, _ = self._host(0x80000001)
        return [(eax, ebx & ~0x0FFF0000, self._cap(0x80000001, 0, 2), self._cap(0x80000001, 0, 3))]

    def _leaf_80000005(self) -> list[CpuidValues]:
        return [self._host(0x80000005) if self.kvm.since(6, 2) else _ZERO]

    def _leaf_80000006(self) -> list[CpuidValues]:
        eax, ebx, ecx, edx = self._host(0x80000006)
        return [(eax, ebx, ecx, edx & ~0x30000)]

    def _leaf_80000007(self) -> list[CpuidValues]:
        return [(0, 0, 0, self._host(0x80000007)[3] & 1 << 8)]

    def _leaf_80000008(self) -> list[CpuidValues]:
        eax, _, ecx, _ = self._host(0x80000008)
        physical, virtual, guest = eax & 0xFF, max(eax >> 8 & 0xFF, 48), eax >> 16 & 0xFF
        if self.kvm.since(6, 10):
            shown = min(physical, 48) if self.kvm.tdp and not self.kvm.has_5_level_tdp else physical
            width = physical | (shown << 16 if self.kvm.tdp else 0)
        else:
            is_shown = guest and self.kvm.tdp and (self.kvm.since(6, 2) or not self.kvm.since(6, 0))
            width = guest if is_shown else physical
        return [(width | virtual << 8, self._cap(0x80000008, 0, 1), ecx & ~0xFFFF0F00, 0)]

    def _leaf_8000000a(self) -> list[CpuidValues]:
        return [(1, 8, 0, self._cap(0x8000000A, 0, 3)) if self.kvm.has("SVM") else _ZERO]

    def _leaf_80000019(self) -> list[CpuidValues]:
        eax, ebx, _, _ = self._host(0x80000019)
        return [(eax, ebx, 0, 0)]

    def _leaf_8000001a(self) -> list[CpuidValues]:
        return [(self._host(0x8000001A)[0] & 7, 0, 0, 0)]

    def _leaf_8000001f(self) -> list[CpuidValues]:
        eax, ebx, ecx, edx = self._host(0x8000001F)
        if not self.kvm.since(6, 0):
            return [(eax, ebx, ecx, edx) if self.kvm.boot_has("SEV") else _ZERO]
        if not self.kvm.has("SEV"):
            return [_ZERO]
        return [(self._cap(0x8000001F, 0, 0), ebx & 0x3F, ecx, edx)]

    def _leaf_80000021(self) -> list[CpuidValues]:
        ebx = self._host(0x80000021)[1] & 0x00FF0000 if self.kvm.since(7, 0) and self.kvm.has("ERAPS") else 0
        ecx = self._cap(0x80000021, 0, 2)
        return [(self._cap(0x80000021, 0, 0), ebx, ecx, 0)]

    def _leaf_80000022(self) -> list[CpuidValues]:
        if not (self.kvm.is_on("enable_pmu") and self.kvm.has("PERFMON_V2")):
            return [_ZERO]
        return [(self._cap(0x80000022, 0, 0), self._host(0x80000022)[1] & 0xF, 0, 0)]

    def _leaf_c0000000(self) -> list[CpuidValues]:
        eax, *others = self._host(_CENTAUR)
        return [(min(eax, _CENTAUR + 4), others[0], others[1], others[2])]

    def _leaf_c0000001(self) -> list[CpuidValues]:
        eax, ebx, ecx, _ = self._host(_CENTAUR + 1)
        return [(eax, ebx, ecx, self._cap(_CENTAUR + 1, 0, 3))]
