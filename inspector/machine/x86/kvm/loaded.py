"""KVM as it is loaded on a host: vendor module, parameters, release, processor.

Source: Linux arch/x86/kvm/x86.c, svm/svm.c, vmx/vmx.c.
"""

from __future__ import annotations

from collections.abc import Mapping

from inspector.capture.host import Cpuid
from inspector.machine.x86.host import Host
from inspector.machine.x86.kvm.parameters import default_parameters
from inspector.machine.x86.linux import features as linux_features
from inspector.machine.x86.linux.kernel import Linux
from inspector.machine.x86.linux.process import Process
from layouts.kernels import release_numbers
from layouts.light import NamedTuple, cached_property
from layouts.x86.features import FEATURES
from layouts.x86.msr_rules import MsrRules, rules_for
from layouts.x86.xsave import DYNAMIC, MPX, XTILE

SVM, VMX, PVM = "svm", "vmx", "pvm"
_ON = ("Y", "y", "1")
_ARCH_CAPABILITIES = 0x10A


class Processor(NamedTuple):
    """What the processor is beyond CPUID: facts that no instruction for user space tells.

    ``emulator`` is ``tcg``, ``bochs``, or empty for silicon. ``microcode`` is the revision, ``tsc_khz`` the
    frequency that Linux found. ``msrs`` are values of the processor's own MSRs, where they are known,
    ``vmx_flags`` the words of /proc/cpuinfo's "vmx flags", ``online_cpus`` how many it lists.
    ``vmx_mpx``: VMX has the controls that load and clear BNDCFGS. ``bugs``
    are those that Linux names in /proc/cpuinfo, None where nobody read it. ``features`` are the VMX capability MSRs
    that KVM made of the processor's, as KVM_GET_MSRS on /dev/kvm gives them. ``absent``: MSRs whose RDMSR faults.
    """

    emulator: str = ""
    microcode: int = 0
    tsc_khz: int = 0
    vmx_flags: frozenset[str] = frozenset()
    online_cpus: int = 1
    msrs: Mapping[int, int] = {}
    vmx_mpx: bool = False
    bugs: frozenset[str] | None = None
    features: Mapping[int, int] = {}
    absent: frozenset[int] = frozenset()

    @property
    def is_tcg(self) -> bool:
        """QEMU's TCG: no RDMSR or WRMSR faults; an MSR that it does not know reads 0 and drops writes."""
        return self.emulator == "tcg"


class Loaded:
    """KVM on a host, before it has worked out what guests may have.

    ``host`` is the processor as its Linux sees it (without what ``clearcpuid=`` takes) and the kernel's profile,
    ``raw`` what the CPUID instruction says. ``parameters`` are those of the modules by name (``nested``,
    ``enable_pmu``, ``ignore_msrs``), as /sys/module shows them. ``release`` is ``uname -r``.
    """

    def __init__(
        self,
        host: Host,
        *,
        release: str = "",
        vendor: str = "",
        raw: Cpuid | None = None,
        parameters: Mapping[str, str] | None = None,
        processor: Processor | None = None,
    ) -> None:
        self.host = host
        self.raw = raw or host.cpuid
        self.kernel = host.kernel
        self.vendor = vendor or (VMX if host.is_intel else SVM)
        self.parameters = dict(parameters or {})
        self.processor: Processor = processor or Processor()
        numbers = release_numbers(release or host.kernel.version) or (0, 0)
        stable = (release or host.kernel.version).split("-")[0].split("+")[0].split(".")[2:3]
        #: Major, minor and stable number.
        self.release = (*numbers, int(stable[0]) if stable and stable[0].isdigit() else 0)

    @property
    def is_svm(self) -> bool:
        """kvm-amd; kvm-pvm on a processor of AMD answers for the same registers."""
        return self.vendor == SVM or (self.is_pvm and not self.host.is_intel)

    @property
    def is_vmx(self) -> bool:
        """kvm-intel; kvm-pvm on a processor of Intel answers for the same registers."""
        return self.vendor == VMX or (self.is_pvm and self.host.is_intel)

    @property
    def is_pvm(self) -> bool:
        """kvm-pvm, which no kernel.org kernel has: no nested state, TDP, TSC scaling, APICv or SMM."""
        return self.vendor == PVM

    def since(self, *release: int) -> bool:
        """The kernel is this release or a newer one: ``since(6, 16)``, ``since(6, 12, 107)``."""
        return self.release >= release

    def parameter(self, name: str, default: str = "") -> str:
        """A parameter of kvm.ko or of the vendor's module, as /sys/module shows it."""
        return self.parameters.get(name, default)

    def is_on(self, name: str, *, default: bool | None = None) -> bool:
        """A parameter that is a switch: as captured, else ``default``, else as it is where nobody set it.

        One that this release does not have is off.
        """
        found = self.parameters.get(name)
        if found is None and default is not None:
            return default
        return (self._default_parameters.get(name) if found is None else found) in _ON

    @cached_property
    def _default_parameters(self) -> dict[str, str]:
        return default_parameters(self.host.cpuid, VMX if self.is_vmx else SVM, self.release[:2])

    @property
    def smt_possible(self) -> bool:
        """cpu_smt_possible: the CPU tells of several threads a core (leaf 0xB)."""
        values = self.raw.get(0xB)
        return values is not None and values[1] & 0xFFFF > 1

    @property
    def has_5_level_tdp(self) -> bool:
        """kvm_mmu_get_max_tdp_level() is 5: NPT as deep as the host's tables, EPT where CPUID has LA57."""
        return self.boot_has("LA57")

    @property
    def xcr0(self) -> int:
        """kvm_caps.supported_xcr0: none where Linux does without XSAVE. A table without leaf 1 does not tell."""
        return self._kvm_xcr0 if self.boot_has("XSAVE") or self.host.cpuid.get(1) is None else 0

    @property
    def _kvm_xcr0(self) -> int:
        """KVM_SUPPORTED_XCR0 of what Linux has; MPX where VMX has its controls (vmx_set_cpu_caps)."""
        if not self.processor.vmx_mpx:
            return self.host.kvm_xcr0
        return self.host.kvm_xcr0 | self.host.user_max & self.kernel.kvm_xcr0 & MPX

    @property
    def permitted_xcr0(self) -> int:
        """kvm_get_filtered_xcr0, for a process without permission for dynamic components."""
        mask = self._kvm_xcr0
        if mask & DYNAMIC:
            mask &= ~(XTILE if self.kernel.filters_xtile else DYNAMIC)
        return mask

    @cached_property
    def checks_efer_in_sregs(self) -> bool:
        """KVM_SET_SREGS asks kvm_valid_efer: from 7.2 on, and in 6.12's updates."""
        return self.since(7, 2) or (6, 12, 117) <= self.release < (6, 13)

    @cached_property
    def unrestricted_guest(self) -> bool:
        """VMX runs real mode itself; SVM always does."""
        return self.is_svm or self.is_on("unrestricted_guest")

    @property
    def tdp(self) -> bool:
        """tdp_enabled: KVM uses two-dimensional paging (parameter npt or ept).

        A host may stand on a guest's CPUID, which shows no NPT: only a captured parameter says that there is none.
        """
        return self.is_on("npt" if self.is_svm else "ept", default=True)

    def raw_register(self, word: tuple[int, int, int]) -> int:
        """raw_cpuid_get: a register of CPUID, 0 behind the last leaf."""
        leaf, subleaf, register = word
        highest = self.raw.get(leaf & 0xFFFF0000)
        values = self.raw.get(leaf, subleaf) if highest and highest[0] >= leaf else None
        return values[register] if values else 0

    def boot_word(self, word: tuple[int, int, int]) -> int:
        """A word of boot_cpu_data.x86_capability."""
        values = self.host.cpuid.get(*word[:2])
        found = values[word[2]] if values else 0
        if word == FEATURES["ERMS"][:3] and self.host.is_intel and not self.host.fast_strings:
            # early_init_intel takes it.
            found &= ~(1 << FEATURES["ERMS"].bit)
        for name in self.synthesized:
            if name in FEATURES and FEATURES[name][:3] == word:
                found |= 1 << FEATURES[name].bit
        return found

    def boot_has(self, feature: str) -> bool:
        """boot_cpu_has: Linux on the host has the feature, from CPUID or by its own conclusion."""
        if feature in self.synthesized:
            return True
        return feature in FEATURES and self.host.has(*FEATURES[feature])

    def has_bug(self, bug: str) -> bool:
        """boot_cpu_has_bug."""
        return bug in self._bugs

    @cached_property
    def synthesized(self) -> frozenset[str]:
        """Features that Linux concludes."""
        return linux_features.synthesized(self.host, self.release)

    @cached_property
    def _bugs(self) -> frozenset[str]:
        if self.processor.bugs is not None:
            return self.processor.bugs
        return linux_features.bugs(self.host, self.processor.msrs.get(_ARCH_CAPABILITIES))

    @cached_property
    def msr_rules(self) -> MsrRules:
        """What this release does with MSRs."""
        return rules_for(self.release)

    @cached_property
    def host_efer(self) -> int:
        """kvm_host.efer: what Linux's EFER has while KVM is loaded without a VM (SCE, LME, LMA, NX)."""
        return 0x501 | (0x800 if self.boot_has("NX") else 0)

    @property
    def has_apicv(self) -> bool:
        """enable_apicv: the processor virtualizes the local APIC (APICv or AVIC), and KVM uses it."""
        return not self.is_pvm and self.is_on("enable_apicv" if self.is_vmx else "avic")

    @property
    def nests(self) -> bool:
        """The parameter ``nested``."""
        return not self.is_pvm and self.is_on("nested")

    @property
    def uses_tdp(self) -> bool:
        """tdp_enabled: two-dimensional paging (EPT or NPT)."""
        return not self.is_pvm and self.is_on("ept" if self.is_vmx else "npt", default=True)

    @property
    def scales_tsc(self) -> bool:
        """kvm_caps.has_tsc_control: VMX TSC scaling, or SVM's TSC ratio (a parameter from 5.17 on)."""
        if self.is_pvm:
            return False
        if self.is_vmx:
            return "tsc_scaling" in self.processor.vmx_flags
        return self.is_on("tsc_scaling", default=self.boot_has("TSCRATEMSR"))

    @property
    def has_notify_vmexit(self) -> bool:
        """kvm_caps.has_notify_vmexit."""
        return "notify_vm_exiting" in self.processor.vmx_flags

    def process(self) -> Process:
        """A process of the host that makes VMs."""
        return Linux(self.host).spawn()
