"""The host that a vCPU is to arrive on: its KVM, and what that gives to guests, as far as it is known."""

from __future__ import annotations

from collections.abc import Mapping

from inspector.capture.host import Cpuid, CpuidValues
from inspector.machine.x86.host import Host
from inspector.machine.x86.kvm.leaves import as_shown
from inspector.machine.x86.kvm.module import Kvm, Processor
from inspector.machine.x86.kvm.msrs import access
from inspector.machine.x86.kvm.supported_cpuid import supported_cpuid
from inspector.machine.x86.kvm.whole import WholeVcpu
from inspector.machine.x86.migrate.places import feature_words
from layouts.light import TYPE_CHECKING, cached_property
from layouts.x86.kernels import X86Kernel, kernels
from layouts.x86.models.features import AMD_ALIASES, Word

if TYPE_CHECKING:
    from inspector.machine.x86.models.offer import Offer

_ALL = 0xFFFFFFFF
_SVM_LEAF = 0x8000000A
_ARCH_CAPABILITIES, _VMX_MSRS = 0x10A, range(0x480, 0x492)
_REGISTERS = ("eax", "ebx", "ecx", "edx")

#: Module parameters that may decide what guests get: switches.
_PARAMETERS = (
    "nested",
    "enable_pmu",
    "ept",
    "npt",
    "unrestricted_guest",
    "sgx",
    "sev",
    "sev_es",
    "vgif",
    "vls",
    "lbrv",
)


class Destination:
    """A host with its kernel.

    ``kvm`` is its KVM. ``supported`` is KVM_GET_SUPPORTED_CPUID where somebody kept it, else worked out. ``known``
    are the bits of each feature word that are known; None for all. ``is_raw``: the CPU's own CPUID is known, so that
    what its KVM keeps back is too. ``msrs`` are its feature MSRs, where somebody kept them. ``is_guests``: the table is
    one of its guests', which KVM gives at least; without SVM in it, what SVM has there is not known. ``emulator``
    names QEMU's TCG where the host has no KVM: then there are no calls, and ``kvm`` stands for its CPUID alone.
    ``unknown`` are bits by leaf and sub-leaf of which it is not known, where the table was predicted.
    """

    def __init__(
        self,
        name: str,
        kvm: Kvm,
        *,
        is_raw: bool,
        supported: Cpuid | None = None,
        offer: Offer | None = None,
        msrs: Mapping[int, int] | None = None,
        because: str = "",
        is_guests: bool = False,
        emulator: str = "",
    ) -> None:
        self.emulator = emulator
        self.name = name
        self.kvm = kvm
        self.is_raw = is_raw
        self.is_guests = is_guests
        self.because = because
        self.msrs = dict(msrs or {})
        self.unknown: dict[tuple[int, int], CpuidValues] = {}
        self._supported = supported
        self._otherwise: dict[tuple[str, str], Kvm] = {}
        self._offer = offer

    @property
    def kernel(self) -> X86Kernel:
        """The profile of its kernel."""
        return self.kvm.kernel

    @cached_property
    def supported(self) -> Cpuid:
        """KVM_GET_SUPPORTED_CPUID."""
        if self._supported is not None and not self.is_guests:
            return self._supported
        made = {(entry.leaf, entry.subleaf): entry.values for entry in reversed(supported_cpuid(self.kvm))}
        for key, row in (as_shown(self._supported.leaves) if self._supported is not None else {}).items():
            other = made.get(key, (0, 0, 0, 0))
            eax, ebx, ecx, edx = (
                mine | theirs if (*key, register) in feature_words() else mine
                for mine, theirs, register in zip(row, other, _REGISTERS, strict=True)
            )
            made[key] = (eax, ebx, ecx, edx)
        return Cpuid(made)

    @cached_property
    def offer(self) -> Offer:
        """What QEMU may give to a guest there: KVM's answer with what QEMU adds."""
        if self._offer is not None:
            return self._offer
        from inspector.machine.x86.models.offer import offer_of_cpuid

        raw = self.kvm.raw if self.is_raw else None
        return offer_of_cpuid(self.name, self.supported, msrs=self.msrs, host=raw, kernel=self.kernel.name)

    @property
    def system(self) -> str:
        """What runs its guests, in a line: its kernel, or the emulator."""
        return self.emulator or f"kernel {self.kernel.label}"

    @property
    def knows_areas(self) -> bool:
        """Where components lie in an image is known, not only which there are."""
        return self._offer is None or self._offer.cpuid is not None

    @cached_property
    def bare(self) -> WholeVcpu:
        """A vCPU without CPUID, to ask what KVM says of itself."""
        return WholeVcpu(self.kvm)

    def shown(self, leaf: int, subleaf: int, register: str) -> int:
        """A register of CPUID as KVM shows it."""
        if self.emulator and leaf == 0:
            # The vendor is what QEMU's line says.
            return 0
        row = self.supported.get(leaf, subleaf)
        found = row[_REGISTERS.index(register)] if row else 0
        if self._offer is not None and self._offer.cpuid is None:
            # What names tell goes before what KVM makes of it.
            word = self._word(leaf, subleaf, register)
            told = self._offer.known.get(word, 0)
            found = found & ~told | self._offer.values.get(word, 0) & told
        if (leaf, register) == (0x80000001, "edx") and self._offer is not None and self.kvm.is_svm:
            return found | self.shown(1, 0, "edx") & AMD_ALIASES
        return found

    def word(self, leaf: int, subleaf: int, register: str) -> int:
        """A register of CPUID as a guest may have it at most, with what VMMs add."""
        if self._offer is not None and self._offer.cpuid is None:
            of_amd = self.emulator and (leaf, register) == (0x80000001, "edx")
            return self.shown(leaf, subleaf, register) | (self.shown(1, 0, "edx") & AMD_ALIASES if of_amd else 0)
        return self.shown(leaf, subleaf, register) | self.offer.values.get(self._word(leaf, subleaf, register), 0)

    def known(self, leaf: int, subleaf: int, register: str) -> int:
        """The bits of a register of which it is known."""
        found = self._told(leaf, subleaf, register)
        row = self.unknown.get((leaf, subleaf))
        return found & ~row[_REGISTERS.index(register)] if row is not None else found

    def _told(self, leaf: int, subleaf: int, register: str) -> int:
        if self.is_guests and leaf == _SVM_LEAF and not self.kvm.raw.get(leaf):
            return 0
        if self._offer is None or self._offer.cpuid is not None:
            return _ALL
        found = self._offer.known.get(self._word(leaf, subleaf, register), 0)
        if (leaf, register) == (0x80000001, "edx"):
            # AMD's copies of leaf 1.
            found |= self._offer.known.get(Word.of_cpuid(1, None, "edx"), 0) & AMD_ALIASES
        if leaf == 0:
            return _ALL if self._offer.vendor else 0
        if (leaf, register) == (0x80000008, "eax"):
            # Every CPU in long mode has 48 linear bits.
            return _ALL if self._offer.phys_bits else _ALL & ~0xFF
        return found

    def _word(self, leaf: int, subleaf: int, register: str) -> Word:
        found = Word.of_cpuid(leaf, subleaf, register)
        return found if found in self.offer.known else Word.of_cpuid(leaf, None, register)

    def feature_msr(self, index: int) -> int | None:
        """A feature MSR as KVM_GET_MSRS on /dev/kvm gives it; None where that is not known."""
        if index in self.msrs:
            return self.msrs[index]
        word = Word.of_msr(index)
        if self._offer is not None and self._offer.known.get(word):
            return self._offer.values.get(word, 0)
        if index in _VMX_MSRS and index not in self.kvm.processor.features:
            return None
        if index == _ARCH_CAPABILITIES and self.kvm.is_vmx and index not in self.kvm.processor.msrs:
            return None
        found = access.read_feature(self.bare, index)
        return found if isinstance(found, int) else None

    def has_feature_msr(self, index: int) -> bool:
        """The MSR is one by which this KVM tells what it has."""
        if self._offer is not None and self._offer.known.get(Word.of_msr(index)):
            return True
        if index in _VMX_MSRS:
            return self.kvm.is_vmx and self.kvm.has("VMX")
        return index in self.msrs or isinstance(access.read_feature(self.bare, index), int)

    def is_untold(self, index: int) -> bool:
        """Whether KVM takes this MSR hangs on a capability MSR of the processor that nobody told."""
        return index in _VMX_MSRS and self.has_feature_msr(index) and self.feature_msr(index) is None

    def on_kernel(self, kernel: X86Kernel) -> Kvm:
        """The same CPU and parameters under another kernel."""
        host = Host(self.kvm.host.cpuid, kernel, emulated=self.kvm.host.emulated)
        return Kvm(
            host,
            vendor=self.kvm.vendor,
            raw=self.kvm.raw,
            parameters=self.kvm.parameters,
            processor=self.kvm.processor,
        )

    @cached_property
    def on_kernels(self) -> Mapping[str, Kvm]:
        """The same CPU under every known kernel, the oldest first."""
        return {name: self.on_kernel(kernel) for name, kernel in kernels().items()}

    @cached_property
    def otherwise(self) -> tuple[tuple[str, str, Kvm], ...]:
        """The same host with each module parameter set otherwise: its name, the other value, that KVM."""
        kvm = self.kvm
        return tuple(
            (name, value, self.with_parameter(name, value))
            for name in _PARAMETERS
            for value in ("Y", "N")
            if kvm.is_on(name, default=value == "N") != (value == "Y")
        )

    def with_parameter(self, name: str, value: str) -> Kvm:
        """The same host with a module parameter set otherwise."""
        if (name, value) not in self._otherwise:
            self._otherwise[name, value] = self._set(name, value)
        return self._otherwise[name, value]

    def _set(self, name: str, value: str) -> Kvm:
        return Kvm(
            self.kvm.host,
            release=".".join(map(str, self.kvm.release)),
            vendor=self.kvm.vendor,
            raw=self.kvm.raw,
            parameters={**self.kvm.parameters, name: value},
            processor=self.kvm.processor,
        )


def destination(
    name: str,
    cpuid: Cpuid,
    kernel: X86Kernel,
    *,
    release: str = "",
    is_raw: bool = True,
    supported: Cpuid | None = None,
    offer: Offer | None = None,
    msrs: Mapping[int, int] | None = None,
    because: str = "",
    emulator: str = "",
    is_guests: bool = False,
    tsc_khz: int = 0,
) -> Destination:
    """A host by its CPUID and kernel. ``msrs`` are feature MSRs that somebody kept; parameters are the defaults.

    ``tsc_khz`` is its TSC's frequency where somebody kept it; else CPUID's, where the CPU's own table has it.
    """
    features = {index: value for index, value in (msrs or {}).items() if 0x480 <= index < 0x492}
    known = {index: value for index, value in (msrs or {}).items() if index == 0x10A}
    host = Host(cpuid, kernel, emulated=bool(emulator))
    kvm = Kvm(
        host,
        release=release or kernel.version,
        processor=Processor(
            emulator,
            tsc_khz=tsc_khz or (_frequency_khz(cpuid) if is_raw else 0),
            msrs=known,
            features=features,
            vmx_mpx=not emulator and host.has(7, 0, 1, 14),
        ),
    )
    return Destination(
        name,
        kvm,
        is_raw=is_raw,
        supported=supported,
        offer=offer,
        msrs=msrs,
        because=because,
        is_guests=is_guests,
    )


def _frequency_khz(cpuid: Cpuid) -> int:
    """Leaf 0x15: the crystal's frequency times a ratio; 0 where the CPU does not tell (native_calibrate_tsc, tsc.c)."""
    row = cpuid.get(0x15)
    if row is None or not row[0]:
        return 0
    denominator, numerator, crystal_hz, _ = row
    return crystal_hz // 1000 * numerator // denominator
