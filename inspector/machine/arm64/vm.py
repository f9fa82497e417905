"""A VM and its vCPUs: init, finalize, register list, one register, first run.

Source: Linux arch/arm64/kvm/arm.c, guest.c, reset.c, hypercalls.c, sys_regs.c.
"""

from __future__ import annotations

import errno

from inspector.machine.arm64 import core, demux, firmware, idregs, sve
from inspector.machine.arm64.host import (
    AIDR,
    CLIDR,
    EL1_32BIT,
    HAS_EL2,
    MIDR,
    PFR0,
    PFR1_AARCH32,
    PMU_V3,
    POWER_OFF,
    PTRAUTH,
    REVIDR,
    SVE,
    Host,
    without,
)
from inspector.machine.outcome import Outcome, Rule

#: A register id without its size: the architecture, then nothing down to the coprocessor.
_ARM64, _UPPER = 0x6000_0000 << 32, 0xFF0F_FFFF << 32
CORE, DEMUX, SYSREG, FIRMWARE, SVE_COPROCESSOR, BITMAPS = 0x10, 0x11, 0x13, 0x14, 0x15, 0x16
MPIDR, ZCR, OSLSR = 0xC005, 0xC090, 0x808C
#: OSLSR_EL1: the OS lock is there, and it is locked.
_OSLM_IMPLEMENTED, _OSLK = 1 << 3, 1 << 1
_E2H0 = 1 << 8
MMIO = 6


def sysreg_id(encoding: int) -> int:
    """The KVM register id of a system register."""
    return 0x6030_0000_0013_0000 | encoding


class Vm:
    """A VM: ID registers and features are its own, shared by its vCPUs. ``has_vgic``: a GICv3 was made."""

    def __init__(self, host: Host, *, abi: str = "merged", has_vgic: bool = False) -> None:
        self.host = host
        self.abi = abi
        self.has_vgic = has_vgic
        self.vcpus: dict[int, Vcpu] = {}
        self.features: int | None = None
        self.id_registers: dict[int, int] = {}
        self.writable_imp = False
        self.ran = False
        self.psci_version = 0
        self.bitmaps: dict[int, int] = {}

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
        rule = Rule("kvm_vm_ioctl_create_vcpu (kvm_main.c)")
        if not rule.check("no vCPU has this number", number not in self.vcpus):
            return rule.refuse(errno.EEXIST)
        self.vcpus[number] = Vcpu(self, number)
        return rule.ok()

    def configure(self, features: int) -> None:
        """The first vCPU that is initialized fixes the features, and with them the ID registers."""
        self.features = features
        host = self.host
        for encoding in (*host.kernel.registers, MIDR, REVIDR, AIDR):
            self.id_registers[encoding] = host.reset_value(encoding, features)

    def first_run(self) -> None:
        """A VM without a GICv3 loses its GIC fields (kvm_finalize_sys_regs)."""
        if not self.has_vgic and not self.ran:
            for encoding, lsb in ((PFR0, 24), (PFR1_AARCH32, 28)):
                if encoding in self.id_registers and self.host.kernel.vgic_fields:
                    self.id_registers[encoding] = without(self.id_registers[encoding], lsb)


class Vcpu:
    """One vCPU. ``values`` are registers by KVM id, as bytes; ``vq`` its largest vector length in 16 bytes."""

    def __init__(self, vm: Vm, number: int) -> None:
        self.vm = vm
        self.host = vm.host
        self.number = number
        self.initialized = False
        self.sve_finalized = False
        self.ran = False
        self.vq = 0
        self.values: dict[int, bytes] = {}
        self.sve: dict[str, bytes] = {}

    @property
    def features(self) -> int:
        """What it was initialized with."""
        return self.vm.features or 0

    @property
    def has_sve(self) -> bool:
        """It was initialized with SVE."""
        return self.initialized and bool(self.features & SVE)

    # Lifecycle

    def init(self, features: int) -> Outcome:
        """KVM_ARM_VCPU_INIT with feature bits."""
        rule = Rule("kvm_vcpu_init_check_features, kvm_vcpu_set_target (arm.c)")
        features &= ~POWER_OFF
        known = (1 << self.host.kernel.vcpu_features) - 1
        if not rule.check(f"only features that the kernel knows ({known:#x})", not features & ~known):
            return rule.refuse(errno.ENOENT)
        supported = self.host.features | (_E2H0 & known)
        held = (
            rule.check(f"only features that the host supports ({supported:#x})", not features & ~supported)
            and rule.check("both pointer authentication features or none", features & PTRAUTH in (0, PTRAUTH))
            and rule.check("not 32-bit EL1 with EL2", not (features & EL1_32BIT and features & HAS_EL2))
            and rule.check("the same features as the VM's first vCPU", self.vm.features in (None, features))
        )
        if not held:
            return rule.refuse(errno.EINVAL)
        if self.vm.features is None:
            self.vm.configure(features)
        self.initialized = True
        self._reset()
        return rule.ok()

    def _reset(self) -> None:
        """Registers as at reset; vector lengths all of the host's unless they are final (kvm_reset_vcpu)."""
        self.values = core.reset_values(self.features)
        self.values[sysreg_id(MPIDR)] = (1 << 31 | self.number & 0xF).to_bytes(8, "little")
        self.values[sysreg_id(CLIDR)] = self.vm.id_registers.get(CLIDR, 0).to_bytes(8, "little")
        self.sve = {}
        if self.has_sve and not self.sve_finalized:
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
            if not rule.check("the PMU was initialized (KVM_ARM_VCPU_PMU_V3_INIT)", not self.features & PMU_V3):
                return rule.refuse(errno.EINVAL)
        self.ran = self.vm.ran = True
        return rule.ok(MMIO)

    # One register

    def get(self, register_id: int) -> Outcome:
        """KVM_GET_ONE_REG; the image is the register, little-endian."""
        rule = Rule("kvm_arm_get_reg (guest.c)")
        if not rule.check("the vCPU is initialized", self.initialized):
            return rule.refuse(errno.ENOEXEC)
        if not rule.check("the id is an arm64 register's", register_id & _UPPER == _ARM64):
            return rule.refuse(errno.EINVAL)
        coprocessor = register_id >> 16 & 0xFFFF
        if coprocessor == CORE:
            code = core.check_id(register_id, has_sve=self.has_sve and self.vm.abi == "merged")
            if not rule.check("a core register, of this size (V registers are Z's with SVE)", not code):
                return rule.refuse(code)
            return rule.ok(image=self.values.get(register_id, bytes(core.size_of(register_id))))
        if coprocessor == SVE_COPROCESSOR:
            return self._get_sve(rule, register_id)
        if coprocessor in (FIRMWARE, BITMAPS):
            return firmware.get(self.vm, register_id)
        if coprocessor == DEMUX:
            return demux.get(self.host, register_id, self.values)
        return self._get_sysreg(rule, register_id)

    def set(self, register_id: int, data: bytes) -> Outcome:
        """KVM_SET_ONE_REG with the register's bytes, little-endian."""
        rule = Rule("kvm_arm_set_reg (guest.c)")
        if not rule.check("the vCPU is initialized", self.initialized):
            return rule.refuse(errno.ENOEXEC)
        if not rule.check("the id is an arm64 register's", register_id & _UPPER == _ARM64):
            return rule.refuse(errno.EINVAL)
        coprocessor = register_id >> 16 & 0xFFFF
        if coprocessor == CORE:
            return self._set_core(rule, register_id, data)
        if coprocessor == SVE_COPROCESSOR:
            return self._set_sve(rule, register_id, data)
        if coprocessor in (FIRMWARE, BITMAPS):
            return firmware.put(self.vm, register_id, int.from_bytes(data[:8], "little"))
        if coprocessor == DEMUX:
            return demux.put(self.host, register_id, int.from_bytes(data[:4], "little"), self.values)
        return self._set_sysreg(rule, register_id, int.from_bytes(data[:8], "little"))

    def _set_core(self, rule: Rule, register_id: int, data: bytes) -> Outcome:
        code = core.check_id(register_id, has_sve=self.has_sve and self.vm.abi == "merged")
        if not rule.check("a core register, of this size (V registers are Z's with SVE)", not code):
            return rule.refuse(code)
        if register_id == core.PSTATE:
            mode = int.from_bytes(data[:8], "little")
            allowed = core.mode_allowed(mode, self.features, has_aarch32=self.host.has_aarch32)
            if not rule.check(f"mode {mode & 0x1F:#x} is one that the vCPU can be in", allowed):
                return rule.refuse(errno.EINVAL)
        self.values[register_id] = data[: core.size_of(register_id)]
        return rule.ok()

    def _sve_region(self, rule: Rule, register_id: int) -> tuple[sve.Region | None, Outcome | None]:
        region, code = sve.region_of(register_id, self.vq)
        if code != errno.EINVAL and not rule.check("the vCPU has SVE", self.has_sve):
            return None, rule.refuse(errno.ENOENT)
        if region is None:
            rule.check("a Z, P or FFR register, slice 0", False)
            return None, rule.refuse(code)
        if not rule.check("SVE is finalized", self.is_final):
            return None, rule.refuse(errno.EPERM)
        return region, None

    def _get_sve(self, rule: Rule, register_id: int) -> Outcome:
        if register_id == sve.SVE_VLS:
            if not rule.check("the vCPU has SVE", self.has_sve):
                return rule.refuse(errno.ENOENT)
            vqs = self.host.sve_vqs & ((1 << self.vq) - 1)
            return rule.ok(vqs, vqs.to_bytes(sve.VLS_SIZE_BYTES, "little"))
        region, wrong = self._sve_region(rule, register_id)
        if region is None:
            assert wrong is not None
            return wrong
        real = self.sve.get(region.name, b"")[: region.real_bytes]
        return rule.ok(image=real.ljust(region.size_bytes, b"\0"))

    def _set_sve(self, rule: Rule, register_id: int, data: bytes) -> Outcome:
        if register_id == sve.SVE_VLS:
            return self._set_vls(rule, int.from_bytes(data, "little"))
        region, wrong = self._sve_region(rule, register_id)
        if region is None:
            assert wrong is not None
            return wrong
        self.sve[region.name] = data[: region.real_bytes]
        if self.vm.abi == "proposal" and region.name.startswith("z"):
            # The low 128 bits of Zn are Vn, and both are visible.
            self.values[core.v_id(int(region.name[1:]))] = data[:16].ljust(16, b"\0")
        return rule.ok()

    def _set_vls(self, rule: Rule, vqs: int) -> Outcome:
        if not rule.check("the vCPU has SVE", self.has_sve):
            return rule.refuse(errno.ENOENT)
        if self.vm.abi == "proposal":
            if not rule.check("the vCPU has not run", not self.ran):
                return rule.refuse(errno.EBUSY)
        elif not rule.check("SVE is not final yet", not self.sve_finalized):
            return rule.refuse(errno.EPERM)
        outcome = sve.check_vls(vqs, self.host.sve_vqs)
        if outcome.accepted:
            self.vq = outcome.value
        return outcome._replace(checks=(*rule.checks, *outcome.checks), value=0)

    # System registers

    def _sysreg(self, register_id: int) -> int | None:
        """The encoding of a system register id that this vCPU has; None when there is none."""
        if register_id >> 16 != 0x6030_0000_0013:
            return None
        encoding = register_id & 0xFFFF
        if encoding in self.host.kernel.registers or encoding == MPIDR:
            return encoding
        if encoding == ZCR:
            return encoding if self.has_sve else None
        return encoding if register_id in self.host.registers else None

    def _get_sysreg(self, rule: Rule, register_id: int) -> Outcome:
        rule.source = "kvm_sys_reg_get_user (sys_regs.c)"
        encoding = self._sysreg(register_id)
        if not rule.check("a register that the vCPU has", encoding is not None):
            return rule.refuse(errno.ENOENT)
        assert encoding is not None
        if encoding in self.vm.id_registers and encoding != CLIDR:
            value = self.vm.id_registers[encoding]
            return rule.ok(value, value.to_bytes(8, "little"))
        data = self.values.get(register_id) or self.host.registers.get(register_id, bytes(8))
        return rule.ok(int.from_bytes(data, "little"), data)

    def _set_sysreg(self, rule: Rule, register_id: int, value: int) -> Outcome:
        rule.source = "kvm_sys_reg_set_user (sys_regs.c)"
        encoding = self._sysreg(register_id)
        if not rule.check("a register that the vCPU has", encoding is not None):
            return rule.refuse(errno.ENOENT)
        assert encoding is not None
        if encoding not in self.host.kernel.registers:
            others = value & ~_OSLK
            if encoding == OSLSR and not rule.check("only OSLSR_EL1.OSLK changes", others == _OSLM_IMPLEMENTED):
                return rule.refuse(errno.EINVAL)
            self.values[register_id] = value.to_bytes(8, "little")
            return rule.ok()
        vm = self.vm
        current = vm.id_registers[encoding]
        if encoding == CLIDR:
            current = int.from_bytes(self.values[register_id], "little")
        asked = idregs.IdWrite(vm.host, encoding, value, self.features, current, vm.ran, vm.writable_imp)
        written = idregs.write(asked)
        if encoding == CLIDR:
            self.values[register_id] = written.value.to_bytes(8, "little")
        else:
            vm.id_registers[encoding] = written.value
        return written.outcome

    def register_ids(self) -> list[int]:
        """The ids of KVM_GET_REG_LIST that this machine knows of, in their order."""
        found = core.register_ids(has_sve=self.has_sve and self.vm.abi == "merged")
        found += sve.register_ids() if self.has_sve else []
        found += demux.register_ids(self.host)
        found += [register_id for register_id in firmware.register_ids(self.host) if self.get(register_id).accepted]
        found += [sysreg_id(encoding) for encoding in (*self.vm.id_registers, MPIDR)]
        found += [rid for rid in self.host.registers if rid >> 16 & 0xFFFF == SYSREG and self.get(rid).accepted]
        return sorted(set(found))

    def reg_list(self) -> Outcome:
        """KVM_GET_REG_LIST; the value is how many registers there are, where the host's are known."""
        rule = Rule("kvm_arm_num_regs (guest.c)")
        if not rule.check("the vCPU is initialized", self.initialized):
            return rule.refuse(errno.ENOEXEC)
        if not rule.check("SVE is finalized", self.is_final):
            return rule.refuse(errno.EPERM)
        return rule.ok(self.host.register_count(self.features))
