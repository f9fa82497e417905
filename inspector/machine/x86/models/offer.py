"""What an accelerator gives to guests on a host, bit by bit: there, not there, or not known.

Under KVM it is KVM_GET_SUPPORTED_CPUID with what QEMU adds to it; under TCG what the emulator has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from inspector.capture.host import Cpuid
from inspector.machine.x86.kvm.leaves import as_shown
from layouts.light import NamedTuple, cache
from layouts.x86.models.features import AMD_ALIASES, VMX_CONTROLS, Word, features, words
from layouts.x86.models.qemu import NEWEST, numbers_of, qemu_models

KVM, TCG = "kvm", "tcg"
#: The vendor to whose guests QEMU does what AMD needs; Hygon's are not among them (IS_AMD_CPU, target/i386/cpu.h).
AMD = "AuthenticAMD"
_ALL = 0xFFFFFFFF
_ARCH_CAPABILITIES = 0x10A
#: The emulator takes the lower half of ARCH_CAPABILITIES: 10.0 and 11.1 do, 5.2 does not; none between was asked.
_TCG_ARCH_CAPABILITIES_SINCE, _TCG_ARCH_CAPABILITIES_BITS = (10, 0), 32
#: What QEMU adds to KVM's answer (kvm_arch_get_supported_cpuid, target/i386/kvm/kvm.c), and takes from it:
#: WAITPKG needs -overcommit cpu-pm=on (kvm_arch_init).
_ADDED = ("mtrr", "pat", "mce", "mca", "ht", "hypervisor", "tsc-deadline", "arat", "topoext", "kvm-hint-dedicated")
#: To a guest of AMD alone (x86_cpu_get_supported_feature_word).
_ADDED_ON_AMD = ("overflow-recov", "succor")
_NEEDS_CPU_PM = ("waitpkg",)
#: What KVM gives of its own leaf since 5.10 (__do_cpuid_func, KVM_CPUID_FEATURES), where the table does not tell.
_PARAVIRTUAL = (
    "kvmclock",
    "kvm-nopiodelay",
    "kvm-asyncpf",
    "kvm-steal-time",
    "kvm-pv-eoi",
    "kvm-pv-unhalt",
    "kvm-pv-tlb-flush",
    "kvm-pv-ipi",
    "kvm-poll-control",
    "kvm-pv-sched-yield",
    "kvm-asyncpf-int",
    "kvmclock-stable-bit",
)
#: No new instructions, only faster ones: QEMU takes them from the CPU itself (host_cpuid).
_FROM_THE_CPU = ("erms", "fsrm", "fzrm", "fsrs", "fsrc", "mcdt-no")
#: A CPU that has all of these may promise FB_CLEAR.
_NEEDS_NO_FB_CLEAR = ("mds-no", "taa-no", "sbdr-ssdp-no", "fbsdp-no", "psdp-no")


class Offer(NamedTuple):
    """What a guest may have. ``known`` are the bits of each word of which it is known; words not in it are unknown.

    ``signature`` is vendor, family, model, stepping; ``phys_bits`` 0 where nobody said. ``cpuid`` is the supported
    table where there is one. ``kernel`` is the release that answered, or empty.
    """

    name: str
    accelerator: str
    values: Mapping[Word, int]
    known: Mapping[Word, int]
    signature: tuple[str, int, int, int] | None = None
    phys_bits: int = 0
    model_id: str = ""
    cpuid: Cpuid | None = None
    kernel: str = ""

    @property
    def vendor(self) -> str:
        """As in CPUID leaf 0; empty where it is not known."""
        return self.signature[0] if self.signature else ""

    @property
    def label(self) -> str:
        """The name, and the kernel where one answered."""
        return f"{self.name}, kernel {self.kernel}" if self.kernel else self.name

    def has(self, feature: str) -> bool | None:
        """Whether a guest may have a feature; None where that is not known."""
        bits = features()[feature]
        if any(not self.known.get(bit.word, 0) >> bit.number & 1 for bit in bits):
            return None
        return all(self.values.get(bit.word, 0) >> bit.number & 1 for bit in bits)

    @property
    def features(self) -> frozenset[str]:
        """Every feature that is known to be there."""
        return frozenset(name for name in features() if self.has(name))

    @property
    def is_partial(self) -> bool:
        """Whether some feature bit of CPUID is not known."""
        return any(self.has(name) is None for name, bits in features().items() if not bits[0].word.is_msr)


def offer_of_features(
    name: str,
    there: Iterable[str],
    not_there: Iterable[str] = (),
    *,
    accelerator: str = KVM,
    signature: tuple[str, int, int, int] | None = None,
    phys_bits: int = 0,
    kernel: str = "",
) -> Offer:
    """By names of features. What is named nowhere is not known."""
    values: dict[Word, int] = {}
    known: dict[Word, int] = {}
    has = set(there)
    for feature in has | set(not_there):
        for bit in features()[feature]:
            known[bit.word] = known.get(bit.word, 0) | 1 << bit.number
            if feature in has:
                values[bit.word] = values.get(bit.word, 0) | 1 << bit.number
    return Offer(name, accelerator, values, known, signature, phys_bits, kernel=kernel)


@cache
def tcg_offer(version: str = NEWEST) -> Offer:
    """QEMU's emulator: what max has, and ARCH_CAPABILITIES (tcg_features, target/i386/cpu.c)."""
    found = qemu_models(version)
    every = frozenset(features()) - found.lacks
    there = set(found.tcg)
    if numbers_of(found.version) >= _TCG_ARCH_CAPABILITIES_SINCE:
        word = Word.of_msr(_ARCH_CAPABILITIES)
        bits = {bit for bit, _ in words()[word].items() if bit < _TCG_ARCH_CAPABILITIES_BITS}
        there |= {words()[word][bit] for bit in bits} & every
    offer = offer_of_features("tcg", there, every - there, accelerator=TCG)
    return offer._replace(model_id="QEMU TCG CPU version 2.5+")


def offer_of_cpuid(
    name: str,
    supported: Cpuid,
    *,
    msrs: Mapping[int, int] | None = None,
    host: Cpuid | None = None,
    kernel: str = "",
) -> Offer:
    """By a table of KVM_GET_SUPPORTED_CPUID; ``msrs`` are the feature MSRs that are known, ``host`` is the CPU's table.

    What QEMU does with the answer is done to it (kvm_arch_get_supported_cpuid and
    kvm_arch_get_supported_msr_feature). A leaf that is not in the table has no bits; without ``host`` it is not known
    what QEMU takes from the CPU itself.
    """
    values: dict[Word, int] = {}
    known: dict[Word, int] = {}
    # A guest's table stands in for its host's.
    supported = Cpuid(as_shown(supported.leaves))
    for word in words():
        if not word.is_msr:
            row = supported.get(*word.leaf)
            values[word], known[word] = (row[word.register_number] if row else 0), _ALL
        elif word.at in (msrs or {}):
            values[word], known[word] = _msr_features(word.at, (msrs or {})[word.at]), (1 << 64) - 1
    _add(values, supported, host)
    for bit in (bit for name in _FROM_THE_CPU for bit in features()[name] if host is None):
        known[bit.word] &= ~(1 << bit.number) | values[bit.word]
    row = supported.get(0x80000008)
    bits = row[0] & 0xFF if row else 0
    return Offer(name, KVM, values, known, supported.signature(), bits, brand(supported), supported, kernel)


def _msr_features(index: int, value: int) -> int:
    """Bits that a guest may choose: of VMX controls those that may be 1 and need not."""
    if index in VMX_CONTROLS:
        return (value >> 32) & ~value & _ALL
    if index == _ARCH_CAPABILITIES and all(value >> features()[name][0].number & 1 for name in _NEEDS_NO_FB_CLEAR):
        return value | 1 << features()["fb-clear"][0].number
    return value


def _add(values: dict[Word, int], supported: Cpuid, host: Cpuid | None) -> None:
    names: tuple[str, ...] = _ADDED if supported.get(0x40000001) else _ADDED + _PARAVIRTUAL
    names += _ADDED_ON_AMD if supported.vendor() == AMD else ()
    for bit in (bit for name in names for bit in features()[name]):
        values[bit.word] |= 1 << bit.number
    for bit in (bit for name in _NEEDS_CPU_PM for bit in features()[name]):
        values[bit.word] &= ~(1 << bit.number)
    basic, extended = Word.of_cpuid(1, None, "edx"), Word.of_cpuid(0x80000001, None, "edx")
    values[extended] |= values[basic] & AMD_ALIASES
    for bit in (bit for name in _FROM_THE_CPU for bit in features()[name]):
        if host is not None and (row := host.get(*bit.word.leaf)):
            values[bit.word] |= row[bit.word.register_number] & 1 << bit.number


def brand(cpuid: Cpuid) -> str:
    """The name of leaves 0x8000_0002 to 4, empty where they are not told."""
    rows = [cpuid.get(leaf) for leaf in (0x80000002, 0x80000003, 0x80000004)]
    raw = b"".join(part.to_bytes(4, "little") for row in rows if row for part in row)
    return raw.split(b"\0")[0].decode("latin-1").strip()
