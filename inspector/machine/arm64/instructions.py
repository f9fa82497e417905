"""What the guest executes at EL1: system registers, FP, SVE, SME and pointer authentication instructions.

The processor traps to EL1 where CPACR_EL1 says so, before it traps to KVM, which makes what the vCPU lacks UNDEFINED.
Source: Arm ARM (DDI 0487), CheckSVEEnabled, CheckSMEAccess, CheckFPAdvSIMDEnabled64; Linux arch/arm64/kvm/handle_exit.c
(handle_sve, kvm_handle_ptrauth, kvm_handle_unknown_ec), sys_regs.c (emulate_sys_reg, access_id_reg).
"""

from __future__ import annotations

from inspector.machine.arm64 import guest, guest_writes, held, registers
from inspector.machine.arm64.host import HAS_EL2, PTRAUTH, SVE
from inspector.machine.arm64.sve import VQ_BYTES
from inspector.machine.arm64.vcpu import Vcpu
from inspector.machine.outcome import ESR_FP, ESR_SME, ESR_SVE, ESR_UNDEF, Outcome, Rule
from layouts.arm64 import id_fields as of
from layouts.arm64.id_fields import id_register
from layouts.arm64.ids import CTR, IDS, PFR0, PFR1, ZCR, encoding_of_op, sysreg_id
from layouts.arm64.kvm_ids import explain
from layouts.arm64.listed import condition
from layouts.arm64.sysregs import encodings

CPACR = encoding_of_op(encodings()["CPACR_EL1"])
#: CPACR_EL1.FPEN, ZEN and SMEN: their low bits, without which an access at EL1 traps there.
_ENABLES = {"FPEN": (20, ESR_FP), "ZEN": (16, ESR_SVE), "SMEN": (24, ESR_SME)}
_SME = id_register("ID_AA64PFR1_EL1").field("SME")
_LEN = 0xF


def mrs(vcpu: Vcpu, encoding: int) -> Outcome:
    """MRS; the value is what the guest reads."""
    rule = Rule("access_id_reg, emulate_sys_reg (sys_regs.c)")
    if encoding in IDS or encoding == CTR:
        return rule.ok(guest.mrs(vcpu, encoding))
    encoding = guest_writes.kept_as(encoding)
    refused = _refused(rule, vcpu, encoding)
    if refused is not None:
        return refused
    if guest_writes.has_effects(vcpu, encoding):
        return guest_writes.read(rule, vcpu, encoding, registers.get(vcpu, sysreg_id(encoding)).value)
    if not is_known(vcpu, sysreg_id(encoding)):
        return rule.depends("a value that no rule knows")
    return rule.ok(registers.get(vcpu, sysreg_id(encoding)).value)


def is_known(vcpu: Vcpu, register_id: int) -> bool:
    """The machine knows what the register holds: by a rule, or because somebody wrote it."""
    return registers.is_answered(vcpu, register_id) or register_id in vcpu.values


def msr(vcpu: Vcpu, encoding: int, value: int) -> Outcome:
    """MSR of a system register."""
    rule = Rule("emulate_sys_reg (sys_regs.c)")
    if not rule.check("the register can be written at EL1", encoding not in IDS and encoding != CTR):
        return rule.fault(ESR_UNDEF)
    encoding = guest_writes.kept_as(encoding)
    refused = _refused(rule, vcpu, encoding)
    if refused is not None:
        return refused
    if guest_writes.has_effects(vcpu, encoding):
        return guest_writes.write(rule, vcpu, encoding, value)
    if encoding != ZCR and held.reset_value(vcpu, encoding) is None:
        return rule.depends("what a write does beside changing the register")
    kept = value & _LEN if encoding == ZCR else value
    vcpu.values[sysreg_id(encoding)] = kept.to_bytes(8, "little")
    return rule.ok()


def _refused(rule: Rule, vcpu: Vcpu, encoding: int) -> Outcome | None:
    """Why the guest does not get at a register; None where it does."""
    name = explain(sysreg_id(encoding)).name
    if encoding == ZCR:
        trapped = _hardware(rule, vcpu, "SVE", SVE) or _traps(rule, vcpu, "ZEN")
        if trapped is not None:
            return trapped
    if condition(vcpu.host.kernel.name, sysreg_id(encoding)) is None:
        return rule.depends(f"whether KVM traps {name}: no rule knows it")
    if not rule.check("a register that the vCPU has", registers.has_sysreg(vcpu, encoding) and _sees(vcpu, encoding)):
        return rule.fault(ESR_UNDEF)
    return None


def _sees(vcpu: Vcpu, encoding: int) -> bool:
    """The proposal lets user space see ZCR_EL1 of a vCPU without SVE; the guest all the same has none."""
    return encoding != ZCR or vcpu.has_sve


def fpsimd(vcpu: Vcpu) -> Outcome:
    """An FP or Advanced SIMD instruction."""
    rule = Rule("CheckFPAdvSIMDEnabled64 (Arm ARM)", "manual")
    return _traps(rule, vcpu, "FPEN") or rule.ok()


def sve(vcpu: Vcpu) -> Outcome:
    """An SVE instruction, RDVL for one; the value is the vector length in bytes."""
    rule = Rule("CheckSVEEnabled (Arm ARM), handle_sve (handle_exit.c)")
    refused = _hardware(rule, vcpu, "SVE", SVE) or _traps(rule, vcpu, "ZEN") or _traps(rule, vcpu, "FPEN")
    if refused is not None:
        return refused
    if not rule.check("the vCPU has SVE", vcpu.has_sve):
        return rule.fault(ESR_UNDEF)
    if vcpu.vm.protected and not rule.check("the hypervisor gives a protected VM SVE", held=False):
        return rule.fault(ESR_UNDEF)
    return rule.ok(vector_length_bytes(vcpu))


def vector_length_bytes(vcpu: Vcpu) -> int:
    """The length in force: the largest that the vCPU has, up to what ZCR_EL1.LEN asks for."""
    asked = (registers.get(vcpu, sysreg_id(ZCR)).value & _LEN) + 1
    vqs = vcpu.host.sve_vqs & (1 << min(asked, vcpu.vq)) - 1
    return max(vqs.bit_length(), 1) * VQ_BYTES


def sme(vcpu: Vcpu) -> Outcome:
    """An SME instruction, SMSTART for one: KVM has no SME for guests."""
    rule = Rule("CheckSMEAccess (Arm ARM), kvm_handle_unknown_ec (handle_exit.c)")
    has_sme = _SME.get(vcpu.host.sanitised.get(PFR1, 0))
    if not rule.check("the processor has SME", has_sme):
        return rule.fault(ESR_UNDEF)
    refused = _traps(rule, vcpu, "SMEN") or _traps(rule, vcpu, "FPEN")
    if refused is not None:
        return refused
    rule.check("KVM gives guests SME", held=False)
    return rule.fault(ESR_UNDEF)


def pointer_authentication(vcpu: Vcpu) -> Outcome:
    """PACIA with its key enabled (SCTLR_EL1.EnIA)."""
    rule = Rule("kvm_handle_ptrauth (handle_exit.c)")
    refused = _hardware(rule, vcpu, "pointer authentication", PTRAUTH)
    if refused is not None:
        return refused
    if not rule.check("the vCPU has pointer authentication", vcpu.features & PTRAUTH == PTRAUTH):
        return rule.fault(ESR_UNDEF)
    return rule.ok()


def _hardware(rule: Rule, vcpu: Vcpu, what: str, feature: int) -> Outcome | None:
    host = vcpu.host
    has = bool(host.features & feature)
    if feature == SVE and PFR0 in host.sanitised:
        has = bool(of.PFR0_SVE.get(host.sanitised[PFR0]))
    return None if rule.check(f"the processor has {what}", has) else rule.fault(ESR_UNDEF)


def _traps(rule: Rule, vcpu: Vcpu, name: str) -> Outcome | None:
    """The trap to EL1 that CPACR_EL1 asks for."""
    if vcpu.features & HAS_EL2:
        return rule.depends("what the guest's own EL2 traps")
    bit, exception = _ENABLES[name]
    cpacr = registers.get(vcpu, sysreg_id(CPACR)).value
    return None if rule.check(f"CPACR_EL1.{name} is x1", cpacr >> bit & 1) else rule.fault(exception)
