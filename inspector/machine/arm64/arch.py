"""What a VM and a vCPU hold: KVM's struct kvm_arch and struct kvm_vcpu_arch, as far as rules look at them.

Source: Linux arch/arm64/include/asm/kvm_host.h.
"""

from __future__ import annotations

from collections.abc import Mapping

from inspector.machine.arm64.host import SVE, Host
from layouts.arm64 import id_fields as of
from layouts.arm64.ids import PFR0
from layouts.light import TYPE_CHECKING, NamedTuple
from layouts.vocabulary import mask_of

if TYPE_CHECKING:
    from inspector.machine.arm64.el2_masks import Resx

#: Most vCPUs, by the version of the GIC.
MAX_VCPUS = {0: 512, 2: 8, 3: 512}
#: KVM_MAX_VCPU_IDS.
MAX_VCPU_IDS = 512
#: What of ID_AA64PFR0_EL1 a VM keeps, where all else follows each vCPU.
_WRITABLE_CSV = mask_of(of.PFR0_CSV2, of.PFR0_CSV3)


class Slot(NamedTuple):
    """A slot of guest memory: where, how large, KVM_MEM_* flags."""

    base: int
    size_bytes: int
    flags: int = 0

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.base + self.size_bytes


class AtReset(NamedTuple):
    """What a vCPU's last reset found: the PMU's counters, as a set, and the bits of PMEVTYPERn_EL0."""

    counters: int = 0
    event: int = 0


class KvmArch:
    """A VM: ID registers are its own, and but for old kernels its vCPUs' features. ``has_vgic``: it has a GICv3."""

    def __init__(self, host: Host, *, abi: str = "merged", has_vgic: bool = False) -> None:
        self.host = host
        self.abi = abi
        #: The version of the VM's GIC, 0 without one.
        self.vgic = 3 if has_vgic else 0
        self.vgic_initialized = False
        #: The distributor, and the redistributors or CPU interface, have addresses.
        self.vgic_has_addresses = False
        #: KVM_VM_TYPE_ARM_PROTECTED.
        self.protected = False
        #: KVM gave the VM up (kvm_vm_dead): every ioctl is EIO.
        self.is_dead = False
        #: Bits of a guest physical address, and what is there by slot.
        self.ipa_bits = 40
        self.memory: dict[int, Slot] = {}
        self.vcpus: Mapping[int, VcpuArch] = {}
        self.features: int | None = None
        #: EL1_32BIT or 0, once a vCPU decided (6.1).
        self.width: int | None = None
        #: MTE where KVM_CAP_ARM_MTE is enabled, else 0.
        self.mte = 0
        self.id_registers: dict[int, int] = {}
        #: PMCR_EL0.N, where it is the VM's.
        self.pmu_counters = 0
        self.writable_imp = False
        self.ran = False
        #: What of the registers of EL2 stays as it is, by encoding: made when a vCPU with EL2 runs first.
        self.el2_masks: dict[int, Resx] = {}
        self.psci_version = 0
        self.bitmaps: dict[int, int] = {}

    @property
    def has_vgic(self) -> bool:
        """The VM has a GICv3."""
        return self.vgic == 3

    def configure(self, features: int) -> None:
        """The first vCPU that is initialized fixes the features, and with them the ID registers."""
        self.features = features
        self.id_registers.update(self.host.reset_values(features | self.mte))


class VcpuArch:
    """One vCPU. ``values`` are registers by KVM id, as bytes; ``vq`` its largest vector length in 16 bytes.

    ``features`` is what it was initialized with. ``mmio_pending``: it stopped at a device, and user space's
    answer is taken when it runs again.
    """

    def __init__(self, vm: KvmArch, number: int) -> None:
        self.vm = vm
        self.host = vm.host
        self.number = number
        self.features = 0
        self.initialized = False
        self.sve_finalized = False
        self.ran = False
        #: Its first KVM_RUN was made, on a kernel for which that counts where it failed.
        self.tried = False
        #: ``pmu_ready``: it was created before the first run, without which Linux 5.10 shows none.
        self.pmu_created = self.pmu_has_irq = self.pmu_ready = False
        #: Event counters behind which a perf event stands (5.10).
        self.pmu_events: set[int] = set()
        #: Counters that ran since they were written: nobody knows what they came to.
        self.pmu_ran: set[int] = set()
        self.pmu_at_reset = AtReset()
        self.mmio_pending = False
        #: It was initialized with POWER_OFF: KVM_RUN waits.
        self.powered_off = False
        self.vq = 0
        self.values: dict[int, bytes] = {}
        self.sve: dict[str, bytes] = {}

    @property
    def has_sve(self) -> bool:
        """It was initialized with SVE."""
        return self.initialized and bool(self.features & SVE)

    @property
    def id_features(self) -> int:
        """What its ID registers follow: its features, and the VM's MTE."""
        return self.features | self.vm.mte

    def id_value(self, encoding: int) -> int:
        """An ID register as this vCPU sees it; before they could be written, they follow each vCPU's features."""
        vm = self.vm
        if vm.host.kernel.vm_wide_features:
            return vm.id_registers[encoding]
        value = vm.host.reset_value(encoding, self.id_features)
        if encoding == PFR0:
            value = value & ~_WRITABLE_CSV | vm.id_registers[PFR0] & _WRITABLE_CSV
        return value

    @property
    def is_final(self) -> bool:
        """Nothing has to be finalized before registers can be listed or the vCPU run."""
        return not self.has_sve or self.sve_finalized or self.vm.abi == "proposal"
