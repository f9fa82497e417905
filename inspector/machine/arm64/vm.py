"""A VM and its vCPUs: capabilities, init, finalize, register list, first run.

Source: Linux arch/arm64/kvm/arm.c, guest.c, reset.c, pmu-emul.c, vgic/vgic-init.c, sys_regs.c.
"""

from __future__ import annotations

import errno

from inspector.machine.arm64 import core, demux, firmware, init, registers, sve, vgic
from inspector.machine.arm64.host import HAS_EL2, MTE, PMU_V3, SVE, Host
from inspector.machine.outcome import Check, Outcome, Rule
from layouts.arm64 import id_fields as of
from layouts.arm64.ids import AIDR, CLIDR, DEMUX, MIDR, MPIDR, PFR0, REVIDR, SYSREG, RegisterId, sysreg_id
from layouts.vocabulary import mask_of

MMIO = 6
#: What of ID_AA64PFR0_EL1 a VM keeps, where all else follows each vCPU.
_WRITABLE_CSV = mask_of(of.PFR0_CSV2, of.PFR0_CSV3)
CAP_MTE, CAP_WRITABLE_IMP_ID_REGS = 205, 239
#: By the version of the GIC.
MAX_VCPUS = {0: 512, 2: 8, 3: 512}


class Vm:
    """A VM: ID registers are its own, and but for old kernels its vCPUs' features. ``has_vgic``: it has a GICv3."""

    def __init__(self, host: Host, *, abi: str = "merged", has_vgic: bool = False) -> None:
        self.host = host
        self.abi = abi
        #: The version of the VM's GIC, 0 without one.
        self.vgic = 3 if has_vgic else 0
        self.vgic_initialized = False
        self.vcpus: dict[int, Vcpu] = {}
        self.features: int | None = None
        #: EL1_32BIT or 0, once a vCPU decided (6.1).
        self.width: int | None = None
        #: MTE where KVM_CAP_ARM_MTE is enabled, else 0.
        self.mte = 0
        self.id_registers: dict[int, int] = {}
        self.writable_imp = False
        self.ran = False
        self.psci_version = 0
        self.bitmaps: dict[int, int] = {}

    @property
    def has_vgic(self) -> bool:
        """The VM has a GICv3."""
        return self.vgic == 3

    def enable_cap(self, capability: int) -> Outcome:
        """KVM_ENABLE_CAP of the VM: MTE and writable implementation ID registers; all else is unknown."""
        if capability == CAP_WRITABLE_IMP_ID_REGS:
            return self.enable_imp_id_regs()
        rule = Rule("kvm_vm_ioctl_enable_cap (arm.c)")
        held = (
            rule.check("a capability of a VM", capability == CAP_MTE and self.host.kernel.mte)
            and rule.check("the host has MTE", self.host.with_mte)
            and rule.check("the VM has no vCPU yet", not self.vcpus)
        )
        if not held:
            return rule.refuse(errno.EINVAL)
        self.mte = MTE
        return rule.ok()

    def enable_imp_id_regs(self) -> Outcome:
        """KVM_CAP_ARM_WRITABLE_IMP_ID_REGS."""
        rule = Rule("kvm_vm_ioctl_enable_cap (arm.c)")
        held = rule.check("the kernel has the capability", self.host.kernel.imp_ids) and rule.check(
            "the VM has no vCPU yet", not self.vcpus
        )
        if not held:
            return rule.refuse(errno.EINVAL)
        self.writable_imp = True
        return rule.ok()

    def create_vcpu(self, number: int) -> Outcome:
        """KVM_CREATE_VCPU."""
        rule = Rule("kvm_vm_ioctl_create_vcpu (kvm_main.c), kvm_arch_vcpu_precreate (arm.c)")
        if not rule.check("the VM's GIC is not initialized yet", not self.vgic_initialized):
            return rule.refuse(errno.EBUSY)
        most = MAX_VCPUS[self.vgic or self.host.gic]
        if not rule.check(f"the number is below {most}", number < most):
            return rule.refuse(errno.EINVAL)
        if not rule.check("no vCPU has this number", number not in self.vcpus):
            return rule.refuse(errno.EEXIST)
        self.vcpus[number] = Vcpu(self, number)
        return rule.ok()

    def writable_masks(self, *, range_number: int = 0, reserved: int = 0, readable: bool = True) -> Outcome:
        """KVM_ARM_GET_REG_WRITABLE_MASKS; ``readable``: the pointer can be written through."""
        rule = Rule("kvm_vm_ioctl_get_reg_writable_masks (sys_regs.c)")
        held = rule.check("the kernel has this call", self.host.kernel.reports_masks) and rule.check(
            "the range and all reserved words are 0", not range_number and not reserved
        )
        if not held:
            return rule.refuse(errno.EINVAL)
        if not rule.check("the pointer can be written through", readable):
            return rule.refuse(errno.EFAULT)
        return rule.ok()

    def configure(self, features: int) -> None:
        """The first vCPU that is initialized fixes the features, and with them the ID registers."""
        self.features = features
        host = self.host
        for encoding in (*host.kernel.registers, MIDR, REVIDR, AIDR):
            self.id_registers[encoding] = host.reset_value(encoding, features | self.mte)

    def first_run(self) -> None:
        """ID registers follow the VM's GIC (kvm_finalize_sys_regs)."""
        if not self.ran:
            vgic.finalize_id_registers(self)


class Vcpu:
    """One vCPU. ``values`` are registers by KVM id, as bytes; ``vq`` its largest vector length in 16 bytes.

    ``features`` is what it was initialized with. ``mmio_pending``: it stopped at a device, and user space's
    answer is taken when it runs again.
    """

    def __init__(self, vm: Vm, number: int) -> None:
        self.vm = vm
        self.host = vm.host
        self.number = number
        self.features = 0
        self.initialized = False
        self.sve_finalized = False
        self.ran = False
        self.pmu_created = self.pmu_has_irq = False
        self.mmio_pending = False
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

    # Lifecycle

    def init(self, features: int, target: int | None = None) -> Outcome:
        """KVM_ARM_VCPU_INIT with feature bits (of all seven words) and a target, or the preferred one."""
        outcome = init.check(self, features, target)
        if not outcome.accepted:
            return outcome
        if self.vm.features is None:
            self.vm.configure(self.features)
        self._reset()
        self.initialized = True
        return outcome

    def _reset(self) -> None:
        """Registers as at reset; vector lengths all of the host's unless they are final (kvm_reset_vcpu)."""
        kept = {key: data for key, data in self.values.items() if RegisterId(key).coprocessor == DEMUX}
        mpidr, clidr = sysreg_id(MPIDR), sysreg_id(CLIDR)
        if self.initialized and self.host.kernel.keeps_vcpu_ids:
            kept |= {mpidr: self.values[mpidr], clidr: self.values[clidr]}
        self.values = {
            **core.reset_values(self.features),
            mpidr: (1 << 31 | self.number & 0xF).to_bytes(8, "little"),
            clidr: self.vm.id_registers.get(CLIDR, 0).to_bytes(8, "little"),
            **kept,
        }
        self.sve = {}
        if self.features & SVE and not self.sve_finalized:
            self.vq = self.host.sve_vqs.bit_length()

    def finalize(self, feature: int) -> Outcome:
        """KVM_ARM_VCPU_FINALIZE."""
        rule = Rule("kvm_arm_vcpu_finalize (reset.c)")
        if not rule.check("the vCPU is initialized", self.initialized):
            return rule.refuse(errno.ENOEXEC)
        if not rule.check("the feature is SVE, and the vCPU has it", feature == sve.FINALIZE and self.has_sve):
            return rule.refuse(errno.EINVAL)
        if not rule.check("it is not final yet", not self.sve_finalized):
            return rule.refuse(errno.EPERM)
        self.sve_finalized = True
        return rule.ok()

    @property
    def is_final(self) -> bool:
        """Nothing has to be finalized before registers can be listed or the vCPU run."""
        return not self.has_sve or self.sve_finalized or self.vm.abi == "proposal"

    def set_pmu_irq(self) -> Outcome:
        """KVM_SET_DEVICE_ATTR KVM_ARM_VCPU_PMU_V3_IRQ, with a private interrupt."""
        rule = Rule("kvm_arm_pmu_v3_set_attr (pmu-emul.c)")
        if not rule.check("the vCPU has a PMU", self.features & PMU_V3):
            return rule.refuse(errno.ENODEV)
        if not rule.check("the PMU is not initialized yet", not self.pmu_created):
            return rule.refuse(errno.EBUSY)
        if not rule.check("the VM has a GIC", self.vm.vgic):
            return rule.refuse(errno.EINVAL)
        if not rule.check("the PMU has no interrupt yet", not self.pmu_has_irq):
            return rule.refuse(errno.EBUSY)
        self.pmu_has_irq = True
        return rule.ok()

    def init_pmu(self) -> Outcome:
        """KVM_SET_DEVICE_ATTR KVM_ARM_VCPU_PMU_V3_INIT."""
        rule = Rule("kvm_arm_pmu_v3_init (pmu-emul.c)")
        if not rule.check("the vCPU has a PMU", self.features & PMU_V3):
            return rule.refuse(errno.ENODEV)
        if not rule.check("the PMU is not initialized yet", not self.pmu_created):
            return rule.refuse(errno.EBUSY)
        if self.vm.vgic and not rule.check("the VM's GIC is initialized", self.vm.vgic_initialized):
            return rule.refuse(errno.ENODEV)
        if self.vm.vgic and not rule.check("the PMU has an interrupt", self.pmu_has_irq):
            return rule.refuse(errno.ENXIO)
        self.pmu_created = True
        return rule.ok()

    def run(self) -> Outcome:
        """KVM_RUN up to the guest's first access to a device; the value is KVM_EXIT_MMIO."""
        rule = Rule("kvm_arch_vcpu_run_pid_change (arm.c)")
        if not rule.check("the vCPU is initialized", self.initialized):
            return rule.refuse(errno.ENOEXEC)
        if not rule.check("SVE is finalized", self.is_final):
            return rule.refuse(errno.EPERM)
        if not self.ran:
            self.vm.first_run()
            if not rule.check("a vCPU with EL2 has a vGIC", not self.features & HAS_EL2 or self.vm.has_vgic):
                return rule.refuse(errno.EAGAIN)
            needs = self.features & PMU_V3 and self.host.kernel.pmu_needs_init
            if not rule.check("the PMU was initialized (KVM_ARM_VCPU_PMU_V3_INIT)", not needs or self.pmu_created):
                return rule.refuse(errno.EINVAL)
        self.ran = self.vm.ran = True
        if self.mmio_pending:
            # kvm_handle_mmio_return: the access is done, its instruction skipped.
            core.skip_instruction(self.values)
        core.enter(self.values, self.host)
        self.mmio_pending = True
        return rule.ok(MMIO)

    # Registers

    def get(self, register_id: int, *, readable: bool = True) -> Outcome:
        """KVM_GET_ONE_REG; the image is the register, little-endian. Not ``readable``: nowhere to write it to."""
        outcome = registers.get(self, register_id)
        if readable or not outcome.accepted:
            return outcome
        checks = (*outcome.checks, Check("the pointer can be written through", False))
        return Outcome("errno", errno.EFAULT, checks, outcome.source)

    def set(self, register_id: int, data: bytes | None) -> Outcome:
        """KVM_SET_ONE_REG with the register's bytes, little-endian; None: a pointer that cannot be read."""
        return registers.put(self, register_id, data)

    def register_ids(self) -> list[int]:
        """The ids of KVM_GET_REG_LIST that this machine knows of, in their order."""
        found = core.register_ids(has_sve=self.has_sve and self.vm.abi == "merged")
        found += sve.register_ids() if self.has_sve else []
        found += demux.register_ids(self.host)
        found += [register_id for register_id in firmware.register_ids(self.host) if self.get(register_id).accepted]
        found += [sysreg_id(encoding) for encoding in (*self.vm.id_registers, MPIDR)]
        others = (rid for rid in self.host.registers if RegisterId(rid).coprocessor == SYSREG)
        found += [register_id for register_id in others if self.get(register_id).accepted]
        return sorted(set(found))

    def reg_list(self) -> Outcome:
        """KVM_GET_REG_LIST: whether it can be asked for. Of what there is, see ``register_ids``."""
        rule = Rule("kvm_arm_num_regs (guest.c)")
        if not rule.check("the vCPU is initialized", self.initialized):
            return rule.refuse(errno.ENOEXEC)
        if not rule.check("SVE is finalized", self.is_final):
            return rule.refuse(errno.EPERM)
        return rule.ok()
