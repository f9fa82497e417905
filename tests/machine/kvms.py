"""KVMs and guests of plain x86 CPUs, made of the few leaves that they need."""

from __future__ import annotations

from collections.abc import Iterable

from inspector.capture.host import Cpuid, CpuidValues
from inspector.machine.x86.host import Host
from inspector.machine.x86.kvm.guest_cpuid import Entry
from inspector.machine.x86.kvm.module import SVM, VMX, Kvm, Processor
from inspector.machine.x86.kvm.msrs.access import read, set_msr
from inspector.machine.x86.kvm.msrs.table import table_of
from inspector.machine.x86.kvm.whole import VmConfig, WholeVcpu
from layouts.x86.features import FEATURES
from layouts.x86.kernels import profile_for

AMD_LEAF_0 = (0xD, 0x68747541, 0x444D4163, 0x69746E65)
INTEL_LEAF_0 = (0xD, 0x756E6547, 0x6C65746E, 0x49656E69)
#: The bits of a plain 64-bit CPU: MSR, APIC, SSE2; LM, NX, SYSCALL, RDTSCP; SVM.
LEAF_1, LEAF_80000001 = (0x00A00F11, 0, 0x00000001, 0x178BFBFF), (0, 0, 4, 0x28100800)
PERF_CAPABILITIES = 0x345
#: PERF_CAPABILITIES of Ice Lake: format 4 of PEBS with its baseline, and writes of the whole width.
ADAPTIVE = 0x6000 | 0x400
#: An Ice Lake server with DS and PDCM beside what any 64-bit CPU has.
LEAF_1_WITH_DS = (0x000606A6, 0, 0x00008001, 0x178BFBFF | 1 << 21)
COUNTERS = (2 | 4 << 8 | 48 << 16 | 7 << 24, 0, 0, 3 | 48 << 5)


def kvm_of(release: str, vendor: str = SVM, *, emulator: str = "tcg", **parameters: str) -> Kvm:
    leaves: dict[tuple[int, int], CpuidValues] = {
        (0, 0): AMD_LEAF_0 if vendor == SVM else INTEL_LEAF_0,
        (1, 0): LEAF_1,
        (0x80000000, 0): (0x80000008, *AMD_LEAF_0[1:]),
        (0x80000001, 0): LEAF_80000001 if vendor == SVM else (0, 0, 0, LEAF_80000001[3]),
        (0x80000008, 0): (0x3028, 0, 0, 0),
    }
    host = Host(Cpuid(leaves), profile_for(release), emulated=bool(emulator))
    processor = Processor(emulator=emulator, microcode=0x1000065, tsc_khz=2_000_000, bugs=frozenset())
    given = {"enable_pmu": "N", **parameters}
    return Kvm(host, release=release, vendor=vendor, parameters=given, processor=processor)


def offers(kvm: Kvm, *features: str, lacks: Iterable[str] = ()) -> Kvm:
    """The same KVM with features more for guests, and without others (kvm_cpu_caps)."""
    kvm._had.update({**dict.fromkeys(lacks, False), **dict.fromkeys(features, True)})
    return kvm


def vcpu_with(release: str, vendor: str = SVM, *features: str, irqchip: int = 1, **changed: CpuidValues) -> WholeVcpu:
    """A guest of a plain CPU that has some features more; ``leaf_1=(...)`` are leaves of its table that are others."""
    kvm = kvm_of(release, vendor)
    offers(kvm, *features)
    kvm.boot_has = lambda feature: feature in features or type(kvm).boot_has(kvm, feature)  # type: ignore[method-assign]
    kvm.parameters = {**kvm.parameters, "lbrv": "1"}
    vcpu = WholeVcpu(kvm, VmConfig(irqchip, memory=bytearray(1 << 21)))
    leaves = {leaf: values for (leaf, _), values in kvm.raw.leaves.items()}
    leaves |= {int(name.removeprefix("leaf_"), 16): values for name, values in changed.items()}
    vcpu.set_cpuid2(tuple(Entry(leaf, 0, 0, *values) for leaf, values in leaves.items()))
    return vcpu


def vcpu_with_counters(
    release: str,
    vendor: str = VMX,
    *,
    leaf_a: CpuidValues = COUNTERS,
    ebx_7: int = 0,
    host_7: int = 0,
    cap: int = 0,
    leaf_1: CpuidValues | None = None,
) -> WholeVcpu:
    """A guest of a CPU with counters, whose leaf 0xA and EBX of leaf 7 may be others."""
    vmx, name = vendor == VMX, INTEL_LEAF_0 if vendor == VMX else AMD_LEAF_0
    leaves: dict[tuple[int, int], CpuidValues] = {
        (0, 0): name,
        (1, 0): LEAF_1_WITH_DS,
        (7, 0): (0, host_7, 0, 0),
        (0xA, 0): COUNTERS if vmx else (0, 0, 0, 0),
        (0x80000000, 0): (0x80000022, *name[1:]),
        # PERFCTR_CORE is bit 23 of ECX.
        (0x80000001, 0): (0, 0, 0 if vmx else 4 | 1 << 23, LEAF_80000001[3]),
        (0x80000008, 0): (0x3028, 0, 0, 0),
        (0x80000022, 0): (0, 0, 0, 0) if vmx else (1, 6, 0, 0),
    }
    processor = Processor(msrs={PERF_CAPABILITIES: ADAPTIVE}, bugs=frozenset())
    host = Host(Cpuid(leaves), profile_for(release))
    vcpu = WholeVcpu(
        Kvm(host, release=release, vendor=vendor, parameters={"enable_pmu": "Y"}, processor=processor),
        VmConfig(memory=bytearray(1 << 16)),
    )
    of_guest = leaves | {(0xA, 0): leaf_a, (7, 0): (0, ebx_7, 0, 0)} | ({(1, 0): leaf_1} if leaf_1 else {})
    vcpu.set_cpuid2(tuple(Entry(leaf, subleaf, 0, *values) for (leaf, subleaf), values in of_guest.items()))
    vcpu.msrs[PERF_CAPABILITIES] = cap
    return vcpu


def give(vcpu: WholeVcpu, *features: str) -> WholeVcpu:
    """The same guest with features more in its table, which KVM has as well."""
    leaves = {(entry.leaf, entry.subleaf): list(entry[3:7]) for entry in vcpu.guest.entries}
    for feature in features:
        leaf, subleaf, register, bit = FEATURES[feature]
        leaves.setdefault((leaf, subleaf), [0, 0, 0, 0])[register] |= 1 << bit
    offers(vcpu.kvm, *features)
    vcpu.guest.replace(tuple(Entry(*leaf, 1, *values) for leaf, values in leaves.items()))
    return vcpu


def named(kvm: Kvm, *features: str) -> Kvm:
    """The same KVM on a CPU whose CPUID has features more, and whose Linux uses them; silicon."""
    for feature in features:
        leaf, subleaf, register, bit = FEATURES[feature]
        values = list(kvm.raw.leaves.get((leaf, subleaf), (0, 0, 0, 0)))
        values[register] |= 1 << bit
        kvm.raw.leaves[leaf, subleaf] = (values[0], values[1], values[2], values[3])
    before = kvm.boot_has
    kvm.boot_has = lambda feature: feature in features or before(feature)  # type: ignore[method-assign]
    kvm.processor = kvm.processor._replace(emulator="")
    return kvm


def unlisted(vcpu: WholeVcpu) -> WholeVcpu:
    """The same guest, where no MSR that it lacks reads as 0 for being listed (kvm_is_advertised_msr)."""
    table_of(vcpu.kvm).is_zero = lambda _index: False  # type: ignore[method-assign,assignment]
    return vcpu


def kept(vcpu: WholeVcpu, index: int, value: int) -> int | None:
    """What the MSR reads as once it is set, or None where the value is refused and nothing changes."""
    before = read(vcpu, index)
    if set_msr(vcpu, index, value).accepted:
        found = read(vcpu, index)
        assert isinstance(found, int)
        return found
    assert read(vcpu, index) == before
    return None


def commands(vcpu: WholeVcpu, index: int, *values: int) -> list[bool]:
    """Which values are taken, one after the other."""
    return [set_msr(vcpu, index, value).accepted for value in values]
