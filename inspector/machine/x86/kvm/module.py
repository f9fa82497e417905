"""KVM as it is loaded on a host: vendor module, parameters, and what it gives to guests (kvm_caps).

Source: Linux arch/x86/kvm/x86.c, svm/svm.c, vmx/vmx.c.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

from inspector.capture.host import Cpuid
from inspector.machine.x86.host import Host
from inspector.machine.x86.linux.kernel import Linux
from inspector.machine.x86.linux.process import Process
from layouts.kernels import release_numbers
from layouts.x86.features import FEATURES

SVM, VMX = "svm", "vmx"
_ON = ("Y", "y", "1")


class Processor(NamedTuple):
    """What the processor is beyond CPUID: facts that no instruction for user space tells.

    ``emulator`` is ``tcg``, ``bochs``, or empty for silicon. ``microcode`` is the revision, ``tsc_khz`` the
    frequency that Linux found. ``msrs`` are values of the processor's own MSRs, where they are known,
    ``vmx_flags`` the words of /proc/cpuinfo's "vmx flags", ``online_cpus`` how many it lists.
    """

    emulator: str = ""
    microcode: int = 0
    tsc_khz: int = 0
    vmx_flags: frozenset[str] = frozenset()
    online_cpus: int = 1
    msrs: Mapping[int, int] = {}

    @property
    def is_tcg(self) -> bool:
        """QEMU's TCG: no RDMSR or WRMSR faults; an MSR that it does not know reads 0 and drops writes."""
        return self.emulator == "tcg"


class Kvm:
    """KVM on a host.

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
        self.processor = processor or Processor()
        numbers = release_numbers(release or host.kernel.version) or (0, 0)
        stable = (release or host.kernel.version).split("-")[0].split("+")[0].split(".")[2:3]
        #: Major, minor and stable number.
        self.release = (*numbers, int(stable[0]) if stable and stable[0].isdigit() else 0)

    @property
    def is_svm(self) -> bool:
        """kvm-amd."""
        return self.vendor == SVM

    @property
    def is_vmx(self) -> bool:
        """kvm-intel."""
        return self.vendor == VMX

    def since(self, *release: int) -> bool:
        """The kernel is this release or a newer one: ``since(6, 16)``, ``since(6, 12, 107)``."""
        return self.release >= release

    def parameter(self, name: str, default: str = "") -> str:
        """A parameter of kvm.ko or of the vendor's module, as /sys/module shows it."""
        return self.parameters.get(name, default)

    def is_on(self, name: str, *, default: bool = False) -> bool:
        """A parameter that is a switch."""
        found = self.parameters.get(name)
        return default if found is None else found in _ON

    def boot_has(self, feature: str) -> bool:
        """boot_cpu_has: Linux on the host has the feature."""
        return self.host.has(*FEATURES[feature])

    @cached_property
    def caps(self) -> tuple[int, ...]:
        """kvm_cpu_caps, in the order of WORDS."""
        from inspector.machine.x86.kvm import caps

        return caps.cpu_caps(self)

    @cached_property
    def features(self) -> frozenset[str]:
        """The features that KVM has for guests (kvm_cpu_cap_has)."""
        from inspector.machine.x86.kvm import caps

        return caps.names(self.caps)

    def has(self, feature: str) -> bool:
        """kvm_cpu_cap_has."""
        return feature in self.features

    @cached_property
    def host_efer(self) -> int:
        """kvm_host.efer: what Linux's EFER has while KVM is loaded without a VM (SCE, LME, LMA, NX)."""
        return 0x501 | (0x800 if self.boot_has("NX") else 0)

    @property
    def has_apicv(self) -> bool:
        """enable_apicv: the processor virtualizes the local APIC (APICv or AVIC), and KVM uses it."""
        return self.is_on("enable_apicv" if self.is_vmx else "avic")

    @property
    def nests(self) -> bool:
        """The parameter ``nested``."""
        return self.is_on("nested", default=True)

    @property
    def uses_tdp(self) -> bool:
        """tdp_enabled: two-dimensional paging (EPT or NPT)."""
        return self.is_on("ept" if self.is_vmx else "npt", default=True)

    @property
    def scales_tsc(self) -> bool:
        """kvm_caps.has_tsc_control: VMX TSC scaling, or SVM's TSC ratio (a parameter from 5.17 on)."""
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
