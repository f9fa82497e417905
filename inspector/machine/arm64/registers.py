"""One register of a vCPU: KVM_GET_ONE_REG and KVM_SET_ONE_REG by coprocessor.

Source: Linux arch/arm64/kvm/guest.c (kvm_arm_get_reg, kvm_arm_set_reg), sys_regs.c, hypercalls.c.
"""

from __future__ import annotations

import errno

from inspector.machine.arm64 import core, demux, firmware, held, idregs, listed, proposal, sve
from inspector.machine.arm64.arch import VcpuArch
from inspector.machine.outcome import Check, Outcome, Rule
from layouts.arm64 import ids
from layouts.arm64.ids import CLIDR, ZCR, sysreg_id
from layouts.light import cache

#: What is above the coprocessor in an id but its size: the architecture alone.
_ABOVE, _ARM64 = 0xFF0F_FFFF << 32, ids.ARM64 << 56
#: The checks that come first, and hold for nearly all.
_FIRST = (Check("the vCPU is initialized", held=True), Check("the id is an arm64 register's", held=True))
_SYSREG_UPPER = sysreg_id(0) >> 16
_CLIDR_ID = sysreg_id(CLIDR)
_SYSREG_SIZE_BYTES = 8
_ENCODING = 0xFFFF


def get(vcpu: VcpuArch, register_id: int) -> Outcome:
    """KVM_GET_ONE_REG; the image is the register, little-endian."""
    if not vcpu.initialized or register_id & _ABOVE != _ARM64:
        return _refuse(Rule("kvm_arm_get_reg (guest.c)"), vcpu)
    if register_id >> 16 == _SYSREG_UPPER and not listed.has(vcpu, register_id):
        return _no_sysreg()
    if proposal.is_proposed(vcpu):
        register_id = proposal.as_merged(register_id)
    coprocessor = ids.coprocessor_of(register_id)
    if coprocessor == ids.SVE and not sve.is_register(register_id):
        return _no_sve_register()
    rule = Rule("kvm_arm_get_reg (guest.c)")
    rule.checks.extend(_FIRST)
    if coprocessor == ids.SYSREG:
        return _get_sysreg(rule, vcpu, register_id)
    if coprocessor == ids.CORE:
        code = core.check_id(register_id, has_sve=_hides_v(vcpu))
        if not rule.check("a core register, of this size (V registers are Z's with SVE)", not code):
            return rule.refuse(code)
        return rule.ok(image=vcpu.values.get(register_id, bytes(ids.RegisterId(register_id).size_bytes)))
    if coprocessor == ids.SVE:
        return _get_sve(rule, vcpu, register_id)
    if _is_firmware(vcpu, coprocessor):
        return firmware.get(vcpu, register_id)
    if coprocessor == ids.DEMUX:
        return demux.get(vcpu.host, register_id, vcpu.values)
    return _get_sysreg(rule, vcpu, register_id)


def put(vcpu: VcpuArch, register_id: int, data: bytes | None) -> Outcome:
    """KVM_SET_ONE_REG with the register's bytes, little-endian; None: a pointer that cannot be read."""
    rule = Rule("kvm_arm_set_reg (guest.c)")
    if not vcpu.initialized or register_id & _ABOVE != _ARM64:
        return _refuse(rule, vcpu)
    rule.checks.extend(_FIRST)
    register_id = proposal.as_merged(register_id) if proposal.is_proposed(vcpu) else register_id
    coprocessor = ids.coprocessor_of(register_id)
    if coprocessor == ids.CORE:
        return _set_core(rule, vcpu, register_id, data)
    if coprocessor == ids.SVE:
        return _set_sve(rule, vcpu, register_id, data)
    if _is_firmware(vcpu, coprocessor):
        return firmware.put(vcpu, register_id, None if data is None else int.from_bytes(data[:8], "little"))
    if coprocessor == ids.DEMUX:
        value = None if data is None else int.from_bytes(data[:4], "little")
        return demux.put(vcpu.host, register_id, value, vcpu.values)
    return _set_sysreg(rule, vcpu, register_id, None if data is None else int.from_bytes(data[:8], "little"))


def _refuse(rule: Rule, vcpu: VcpuArch) -> Outcome:
    if not rule.check("the vCPU is initialized", vcpu.initialized):
        return rule.refuse(errno.ENOEXEC)
    rule.check("the id is an arm64 register's", held=False)
    return rule.refuse(errno.EINVAL)


@cache
def _no_sysreg() -> Outcome:
    """What reading an id of no system register gives, made once: a sweep over ids asks for little else."""
    rule = Rule("kvm_sys_reg_get_user (sys_regs.c)")
    rule.checks.extend(_FIRST)
    rule.check("a register that the vCPU has", held=False)
    return rule.refuse(errno.ENOENT)


@cache
def _no_sve_register() -> Outcome:
    """What reading an id of no SVE register gives, made once."""
    rule = Rule("kvm_arm_get_reg (guest.c)")
    rule.checks.extend(_FIRST)
    rule.check("a Z, P or FFR register, slice 0", held=False)
    return rule.refuse(errno.EINVAL)


def _is_firmware(vcpu: VcpuArch, coprocessor: int) -> bool:
    return coprocessor == ids.FIRMWARE or (coprocessor == ids.FIRMWARE_BITMAP and bool(vcpu.host.kernel.bitmaps))


def _hides_v(vcpu: VcpuArch) -> bool:
    return vcpu.has_sve and vcpu.vm.abi != "proposal"


def _set_core(rule: Rule, vcpu: VcpuArch, register_id: int, data: bytes | None) -> Outcome:
    code = core.check_id(register_id, has_sve=_hides_v(vcpu))
    if not rule.check("a core register, of this size (V registers are Z's with SVE)", not code):
        return rule.refuse(code)
    if data is None:
        return _unreadable(rule)
    if register_id == ids.PSTATE:
        mode = int.from_bytes(data[:8], "little")
        allowed = core.mode_allowed(mode, vcpu.features, has_aarch32=vcpu.host.has_aarch32)
        if not rule.check(f"mode {mode & 0x1F:#x} is one that the vCPU can be in", allowed):
            return rule.refuse(errno.EINVAL)
    vcpu.values[register_id] = data[: ids.RegisterId(register_id).size_bytes]
    core.narrow(vcpu.values)
    if proposal.is_proposed(vcpu):
        proposal.follow_v(vcpu, register_id, data)
    return rule.ok()


def _unreadable(rule: Rule) -> Outcome:
    rule.check("the pointer can be read", held=False)
    return rule.refuse(errno.EFAULT)


# SVE


def _sve_region(rule: Rule, vcpu: VcpuArch, register_id: int) -> tuple[sve.Region | None, Outcome | None]:
    region, code = sve.region_of(register_id, vcpu.vq)
    if code != errno.EINVAL and not rule.check("the vCPU has SVE", vcpu.has_sve):
        return None, rule.refuse(errno.ENOENT)
    if region is None:
        rule.check("a Z, P or FFR register, slice 0", held=False)
        return None, rule.refuse(code)
    if not rule.check("SVE is finalized", vcpu.is_final):
        return None, rule.refuse(errno.EPERM)
    return region, None


def _get_sve(rule: Rule, vcpu: VcpuArch, register_id: int) -> Outcome:
    if register_id == ids.SVE_VLS:
        return get_vls(rule, vcpu)
    region, wrong = _sve_region(rule, vcpu, register_id)
    if region is None:
        assert wrong is not None
        return wrong
    real = vcpu.sve.get(region.name, b"")[: region.real_bytes]
    return rule.ok(image=real.ljust(region.size_bytes, b"\0"))


def _set_sve(rule: Rule, vcpu: VcpuArch, register_id: int, data: bytes | None) -> Outcome:
    if register_id == ids.SVE_VLS:
        return set_vls(rule, vcpu, data)
    region, wrong = _sve_region(rule, vcpu, register_id)
    if region is None:
        assert wrong is not None
        return wrong
    if data is None:
        return _unreadable(rule)
    vcpu.sve[region.name] = data[: region.real_bytes]
    if proposal.is_proposed(vcpu) and region.name.startswith("z"):
        proposal.follow_z(vcpu, int(region.name[1:]), data)
    return rule.ok()


def get_vls(rule: Rule, vcpu: VcpuArch) -> Outcome:
    """The set of vector lengths, as bits vq-1."""
    if not rule.check("the vCPU has SVE", vcpu.has_sve):
        return rule.refuse(errno.ENOENT)
    vqs = vcpu.host.sve_vqs & ((1 << vcpu.vq) - 1)
    return rule.ok(vqs, vqs.to_bytes(sve.VLS_SIZE_BYTES, "little"))


def set_vls(rule: Rule, vcpu: VcpuArch, data: bytes | None) -> Outcome:
    """The same: merged until SVE is final, as proposed until the vCPU runs."""
    if not rule.check("the vCPU has SVE", vcpu.has_sve):
        return rule.refuse(errno.ENOENT)
    if proposal.is_proposed(vcpu):
        if not rule.check("the vCPU has not run", not vcpu.ran):
            return rule.refuse(errno.EBUSY)
    elif not rule.check("SVE is not final yet", not vcpu.sve_finalized):
        return rule.refuse(errno.EPERM)
    if data is None:
        return _unreadable(rule)
    outcome = sve.check_vls(int.from_bytes(data, "little"), vcpu.host.sve_vqs)
    if outcome.accepted:
        vcpu.vq = outcome.value
    return outcome._replace(checks=(*rule.checks, *outcome.checks), value=0, evidence=rule.evidence)


# System registers


def is_modelled(register_id: int) -> bool:
    """The machine has rules for such an id: the ID space, and all that is no system register."""
    found = ids.RegisterId(register_id)
    if found.coprocessor != ids.SYSREG or found.size_bytes != _SYSREG_SIZE_BYTES:
        return True
    return found.encoding in ids.FEATURE_IDS or found.encoding == ZCR


def has_sysreg(vcpu: VcpuArch, encoding: int) -> bool:
    """The vCPU has this system register."""
    return listed.has(vcpu, sysreg_id(encoding))


def is_answered(vcpu: VcpuArch, register_id: int) -> bool:
    """The machine has a rule for what this vCPU says of an id: its value, or that there is no such register."""
    return (
        is_modelled(register_id)
        or not listed.has(vcpu, register_id)
        or held.is_known(vcpu, ids.RegisterId(register_id).encoding)
    )


def _sysreg(vcpu: VcpuArch, register_id: int) -> int | None:
    """The encoding of a system register id that this vCPU has; None when there is none."""
    is_there = register_id >> 16 == _SYSREG_UPPER and listed.has(vcpu, register_id)
    return register_id & _ENCODING if is_there else None


def _get_sysreg(rule: Rule, vcpu: VcpuArch, register_id: int) -> Outcome:
    rule.source = "kvm_sys_reg_get_user (sys_regs.c)"
    encoding = _sysreg(vcpu, register_id)
    if not rule.check("a register that the vCPU has", encoding is not None):
        return rule.refuse(errno.ENOENT)
    assert encoding is not None
    if encoding in vcpu.vm.id_registers and encoding != CLIDR:
        value = vcpu.id_value(encoding)
        return rule.ok(value, value.to_bytes(8, "little"))
    data = held.get(vcpu, encoding)
    return rule.ok(int.from_bytes(data, "little"), data)


def _set_sysreg(rule: Rule, vcpu: VcpuArch, register_id: int, value: int | None) -> Outcome:
    rule.source = "kvm_sys_reg_set_user (sys_regs.c)"
    if value is None and vcpu.host.kernel.copies_first:
        return _unreadable(rule)
    encoding = _sysreg(vcpu, register_id)
    if not rule.check("a register that the vCPU has", encoding is not None):
        return rule.refuse(errno.ENOENT)
    assert encoding is not None
    if value is None:
        return _unreadable(rule)
    if encoding not in vcpu.host.kernel.registers:
        return held.put(rule, vcpu, encoding, value)
    return _set_id(vcpu, encoding, value)


def _set_id(vcpu: VcpuArch, encoding: int, value: int) -> Outcome:
    vm = vcpu.vm
    own = int.from_bytes(vcpu.values[_CLIDR_ID], "little") if encoding == CLIDR else vcpu.id_value(encoding)
    written = idregs.write(idregs.IdWrite(vm.host, encoding, value, vcpu.id_features, own, vm.ran, vm.writable_imp))
    if encoding == CLIDR:
        vcpu.values[_CLIDR_ID] = written.value.to_bytes(8, "little")
    else:
        vm.id_registers[encoding] = written.value
    return written.outcome
