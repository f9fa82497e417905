"""A vCPU: init, finalize, the PMU, the first run, registers and their list.

Source: Linux arch/arm64/kvm/arm.c, guest.c, reset.c, pmu-emul.c.
"""

from __future__ import annotations

import errno

from inspector.machine.arm64 import core, held, init, listed, pmu, pmu_guest, proposal, registers, sve, unmet, vgic
from inspector.machine.arm64.arch import VcpuArch
from inspector.machine.arm64.host import HAS_EL2, PMU_V3, PMU_V3_STRICT, SVE
from inspector.machine.outcome import Check, Outcome, Rule
from layouts.arm64.ids import CLIDR, DEMUX, MPIDR, RegisterId, sysreg_id

#: The kernel's function that asks whether a vCPU can run.
RUN = "kvm_arch_vcpu_run_pid_change (arm.c)"
MMIO = 6


class Vcpu(VcpuArch):
    """What a VMM can ask of a vCPU."""

    # Lifecycle

    def init(self, features: int, target: int | None = None) -> Outcome:
        """KVM_ARM_VCPU_INIT with feature bits (of all seven words) and a target, or the preferred one."""
        outcome = init.check(self, features, target)
        if not outcome.accepted:
            return outcome
        if self.vm.features is None:
            self.vm.configure(self.features)
            self.vm.pmu_counters = pmu.counters_at_init(self.host, self.features)
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
        self.pmu_at_reset = pmu.at_reset(self)
        self.pmu_events, self.pmu_ran = set(), set()
        if self.features & SVE and not self.sve_finalized:
            self.vq = self.host.sve_vqs.bit_length()

    def finalize(self, feature: int) -> Outcome:
        """KVM_ARM_VCPU_FINALIZE."""
        if proposal.is_proposed(self):
            return _no_such_ioctl("KVM_ARM_VCPU_FINALIZE")
        rule = Rule("kvm_arm_vcpu_finalize (reset.c)")
        if not rule.check("the vCPU is initialized", self.initialized):
            return rule.refuse(errno.ENOEXEC)
        if not rule.check("the feature is SVE, and the vCPU has it", feature == sve.FINALIZE and self.has_sve):
            return rule.refuse(errno.EINVAL)
        if not rule.check("it is not final yet", not self.sve_finalized):
            return rule.refuse(errno.EPERM)
        self.sve_finalized = True
        return rule.ok()

    def get_sve_vls(self) -> Outcome:
        """KVM_ARM_VCPU_GET_SVE_VLS of the proposal; the value has bit vq-1 for each length."""
        if not proposal.is_proposed(self):
            return _no_such_ioctl("KVM_ARM_VCPU_GET_SVE_VLS")
        return registers.get_vls(Rule("KVM_ARM_VCPU_GET_SVE_VLS", "proposal"), self)

    def set_sve_vls(self, vqs: int) -> Outcome:
        """KVM_ARM_VCPU_SET_SVE_VLS of the proposal."""
        if not proposal.is_proposed(self):
            return _no_such_ioctl("KVM_ARM_VCPU_SET_SVE_VLS")
        data = vqs.to_bytes(sve.VLS_SIZE_BYTES, "little")
        return registers.set_vls(Rule("KVM_ARM_VCPU_SET_SVE_VLS", "proposal"), self, data)

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
        # KVM_ARM_VCPU_PMU_V3_SET_PMU is not modelled: a strict vCPU's VM has none.
        is_strict = self.features & PMU_V3_STRICT
        if is_strict and not rule.check("a PMU was chosen (KVM_ARM_VCPU_PMU_V3_SET_PMU)", held=False):
            return rule.refuse(errno.ENXIO)
        if self.vm.vgic and not rule.check("the VM's GIC is initialized", self.vm.vgic_initialized):
            return rule.refuse(errno.ENODEV)
        if self.vm.vgic and not rule.check("the PMU has an interrupt", self.pmu_has_irq):
            return rule.refuse(errno.ENXIO)
        self.pmu_created = True
        return rule.ok()

    def enter(self) -> Outcome:
        """KVM_RUN until the guest executes its first instruction."""
        rule = Rule(RUN)
        is_first = not (self.ran or self.tried)
        code = self.unready(rule) or (self._first_run(rule) if is_first else 0)
        if code:
            return rule.refuse(code)
        if is_first:
            pmu_guest.first_run(self)
        elif not self.ran:
            rule.check("an earlier KVM_RUN counts as the first, though it failed", held=True)
        self.ran = self.vm.ran = True
        if self.mmio_pending:
            # kvm_handle_mmio_return: the access is done, its instruction skipped.
            core.skip_instruction(self.values)
            self.mmio_pending = False
        core.enter(self.values, self.host)
        return rule.ok()

    def unready(self, rule: Rule) -> int:
        """What every KVM_RUN asks before the guest: 0 or the errno. Nothing changes."""
        if not rule.check("the vCPU is initialized", self.initialized):
            return errno.ENOEXEC
        return 0 if rule.check("SVE is finalized", self.is_final) else errno.EPERM

    def _first_run(self, rule: Rule) -> int:
        """What has to be there the first time: 0 or the errno."""
        self.tried = self.host.kernel.tries_once
        code = vgic.map_resources(rule, self.vm)
        if code:
            return code
        if self.features & HAS_EL2:
            held.finalize_el2(self)
        if not self.vm.ran:
            unmet.drop(self.vm)
            vgic.finalize_id_registers(self.vm)
        if not rule.check("a vCPU with EL2 has a vGIC", not self.features & HAS_EL2 or self.vm.has_vgic):
            return errno.EAGAIN
        needs = self.features & PMU_V3 and self.host.kernel.pmu_needs_init
        if not rule.check("the PMU was initialized (KVM_ARM_VCPU_PMU_V3_INIT)", not needs or self.pmu_created):
            return errno.EINVAL
        if self.pmu_created and self.vm.vgic and not rule.check("the PMU has an interrupt", self.pmu_has_irq):
            return errno.EINVAL
        return 0

    def run(self) -> Outcome:
        """KVM_RUN up to the guest's first access to a device; the value is KVM_EXIT_MMIO."""
        entered = self.enter()
        if not entered.accepted:
            return entered
        self.mmio_pending = True
        return entered._replace(value=MMIO)

    # Registers

    def get(self, register_id: int, *, readable: bool = True) -> Outcome:
        """KVM_GET_ONE_REG; the image is the register, little-endian. Not ``readable``: nowhere to write it to."""
        outcome = registers.get(self, register_id)
        if readable or not outcome.accepted:
            return outcome
        checks = (*outcome.checks, Check("the pointer can be written through", held=False))
        return Outcome("errno", errno.EFAULT, checks, outcome.source)

    def set(self, register_id: int, data: bytes | None) -> Outcome:
        """KVM_SET_ONE_REG with the register's bytes, little-endian; None: a pointer that cannot be read."""
        return registers.put(self, register_id, data)

    def register_ids(self) -> list[int]:
        """The ids whose values this machine knows, in the kernel's order: see ``reg_list`` for all that it lists."""
        return [one for one in listed.register_ids(self) if self._is_known(RegisterId(one))]

    def _is_known(self, register_id: RegisterId) -> bool:
        """Not a system register, an ID register, or one whose value the host gives."""
        if not register_id.is_sysreg or register_id.encoding in (*self.vm.id_registers, MPIDR):
            return True
        return register_id in self.host.registers and self.get(register_id).accepted

    def reg_list(self) -> Outcome:
        """KVM_GET_REG_LIST; the image is the ids, in the kernel's order."""
        rule = Rule("kvm_arm_num_regs (guest.c)")
        if not rule.check("the vCPU is initialized", self.initialized):
            return rule.refuse(errno.ENOEXEC)
        if not rule.check("SVE is finalized", self.is_final):
            return rule.refuse(errno.EPERM)
        found = listed.register_ids(self)
        return rule.ok(len(found), b"".join([one.to_bytes(8, "little") for one in found]))


def _no_such_ioctl(name: str) -> Outcome:
    """What arm64 answers to an ioctl that it does not know."""
    rule = Rule("kvm_arch_vcpu_ioctl (arm.c)")
    rule.check(f"the interface has {name}", held=False)
    return rule.refuse(errno.EINVAL)
