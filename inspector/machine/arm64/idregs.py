"""Writing an ID register through KVM_SET_ONE_REG: the checks in the kernel's order.

Source: Linux arch/arm64/kvm/sys_regs.c: set_id_reg, arm64_check_features, set_id_aa64pfr0_el1 and the
other ``set_id_*``, set_ctr_el0, set_imp_id_reg, set_clidr.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from inspector.machine.arm64.caches import needs_no_cleaning
from inspector.machine.arm64.host import HAS_EL2, Host
from inspector.machine.arm64.id_limits import checked_mask, first_unsafe, limit_of, unsafe_field
from inspector.machine.arm64.policy import unsafe_text
from inspector.machine.outcome import Outcome, Rule
from layouts.arm64 import id_fields as of
from layouts.arm64.ids import CTR, DFR0, DFR0_AARCH32, MMFR0, MMFR2, PFR0, PFR1
from layouts.arm64.properties import FieldPlace
from layouts.light import NamedTuple
from layouts.vocabulary import Bits, without

_new = tuple.__new__
_PMU_V3 = 3
#: ID_AA64PFR1_EL1.MTE: allocation tags. Of signed fields -1: the feature is not there. CTR_EL0.L1Ip: not reserved.
_MTE2, _NOT_THERE, _VIPT = 2, 0xF, 2
_STAGE2_GRANULES = {
    "TGran4_2": of.MMFR0_TGRAN4_2,
    "TGran16_2": of.MMFR0_TGRAN16_2,
    "TGran64_2": of.MMFR0_TGRAN64_2,
}


class Written(NamedTuple):
    """What a write came to: its Outcome, and the value that the register has then."""

    outcome: Outcome
    value: int


class IdWrite(NamedTuple):
    """A write: to which register, of a VM with which features and state.

    ``current`` is the register's value, ``ran`` whether any vCPU ran, ``writable_imp`` whether the
    VM has KVM_CAP_ARM_WRITABLE_IMP_ID_REGS.
    """

    host: Host
    encoding: int
    value: int
    features: int
    current: int
    ran: bool = False
    writable_imp: bool = False

    def of(self, value: int) -> IdWrite:
        """The same write of another value."""
        host, encoding, _, features, current, ran, writable_imp = self
        return _new(IdWrite, (host, encoding, value, features, current, ran, writable_imp))


def write(asked: IdWrite) -> Written:
    """KVM_SET_ONE_REG of an ID register."""
    host, encoding = asked.host, asked.encoding
    register = host.kernel.registers[encoding]
    rule = Rule("kvm_sys_reg_set_user (sys_regs.c)")
    if register.aarch32 and not host.has_aarch32 and host.kernel.aarch32_raz and register.kind != "hidden":
        rule.check("AArch32 is not there: any value is taken, and the register stays as it is", held=True)
        return Written(rule.ok(), asked.current)
    other = _OTHER_KINDS.get(register.kind)
    if other is not None:
        return other(rule, asked, register.mask)
    if not host.kernel.checks_features:
        return _not_writable(rule, asked)
    special = _SPECIAL.get(encoding)
    if special is None:
        return _set_id_reg(rule, asked)
    value = special(rule, asked)
    if value is None:
        return _refuse(rule, asked)
    hidden = _HIDDEN.get(encoding)
    if hidden is not None and host.hardware(encoding) is None and not asked.ran and hidden.ignored(asked):
        return Written(
            rule.depends(f"the host's {register.name}.{hidden.bits.name}, which guests do not see"), asked.current
        )
    return _set_id_reg(rule, asked if value == asked.value else asked.of(value))


def hangs_on(asked: IdWrite) -> tuple[object, ...]:
    """What the outcome of a write hangs on beside its value; of the features, what they make of the register."""
    host, encoding, _, features, current, ran, writable_imp = asked
    limit, is_raz = host.limit(encoding, features), host.reads_as_zero(encoding, features)
    return encoding, limit, is_raz, features & HAS_EL2, current, ran, writable_imp


class _Hidden(NamedTuple):
    """A field that KVM hides, and takes and ignores at the host's value."""

    bits: Bits
    rule: str

    def ignored(self, asked: IdWrite) -> bool:
        """Only this field is in the way: if it were the host's the write would be taken."""
        if not getattr(asked.host.kernel, self.rule):
            return False
        value = self.bits.put(asked.value, 0)
        if value == asked.value:
            return False
        limit = asked.host.limit(asked.encoding, asked.features)
        return unsafe_field(asked.host, asked.encoding, value, limit) is None and not (
            (value ^ limit) & ~checked_mask(asked.host, asked.encoding)
        )


_HIDDEN = {
    PFR0: _Hidden(of.PFR0_MPAM, "ignores_mpam"),
    PFR1: _Hidden(of.PFR1_MPAM_FRAC, "ignores_mpam"),
    MMFR2: _Hidden(of.MMFR2_NV, "ignores_nv"),
}


#: Registers with such a field, and the field.
HIDDEN_FIELDS = {encoding: hidden.bits for encoding, hidden in _HIDDEN.items()}


def takes_hidden(host: Host, place: FieldPlace, value: int) -> bool | None:
    """A field that KVM hides is taken at a value, and ignored; None when it hangs on hardware that is not known."""
    hidden = _HIDDEN.get(place.encoding)
    if hidden is None or hidden.bits.name != place.name or not getattr(host.kernel, hidden.rule):
        return False
    hardware = host.hardware(place.encoding)
    return None if hardware is None else place.get(hardware) == value


def _refuse(rule: Rule, asked: IdWrite, code: int = errno.EINVAL) -> Written:
    return Written(rule.refuse(code), asked.current)


def _invariant(rule: Rule, asked: IdWrite, _mask: int) -> Written:
    rule.source = "set_invariant_sys_reg (sys_regs.c)"
    if not rule.check(f"the value is the host's ({asked.current:#x})", asked.value == asked.current):
        return _refuse(rule, asked)
    return Written(rule.ok(), asked.current)


def _implementation(rule: Rule, asked: IdWrite, mask: int) -> Written:
    rule.source = "set_imp_id_reg (sys_regs.c)"
    if asked.value == asked.current:
        rule.check("the value is the current one", held=True)
        return Written(rule.ok(), asked.current)
    if not rule.check("the VM has KVM_CAP_ARM_WRITABLE_IMP_ID_REGS", asked.writable_imp):
        return _refuse(rule, asked)
    if not rule.check("no vCPU of the VM has run", not asked.ran):
        return _refuse(rule, asked, errno.EBUSY)
    if not rule.check(f"no bit outside the mask ({mask:#x})", not asked.value & ~mask):
        return _refuse(rule, asked)
    return Written(rule.ok(), asked.value)


def _clidr(rule: Rule, asked: IdWrite, mask: int) -> Written:
    """CLIDR_EL1 is each vCPU's own and stays writable; it cannot say less cleaning than CTR_EL0 asks for."""
    rule.source = "set_clidr (sys_regs.c)"
    value = asked.value
    ctr = asked.host.sanitised.get(CTR, asked.host.limits.get(CTR, 0))
    held = rule.check(f"no reserved bit (outside {mask:#x})", not value & ~mask) and rule.check(
        "CTR_EL0.IDC is 1, or a level needs cleaning", of.CTR_IDC.get(ctr) or not needs_no_cleaning(value)
    )
    return Written(rule.ok(), value) if held else _refuse(rule, asked)


_OTHER_KINDS: dict[str, Callable[[Rule, IdWrite, int], Written]] = {
    "invariant": _invariant,
    "implementation": _implementation,
    "vcpu": _clidr,
}


def _not_writable(rule: Rule, asked: IdWrite) -> Written:
    """Linux 5.10 and 6.1: only CSV2 (6.1: and CSV3) of ID_AA64PFR0_EL1 may be lowered; everything else is as it is."""
    rule.source = "set_id_reg, set_id_aa64pfr0_el1 (sys_regs.c)"
    value, current = asked.value, asked.current
    if asked.encoding == PFR0:
        limit = asked.host.limit(PFR0, asked.features)
        writable = [csv for csv in (of.PFR0_CSV2, of.PFR0_CSV3) if csv.name in asked.host.kernel.writable_csv]
        for csv in writable:
            most = csv.get(limit)
            if not rule.check(f"{csv.name} is at most {most}, where the CPU is not affected", csv.get(value) <= most):
                return _refuse(rule, asked)
        if not rule.check("all else is the current value", not without(value ^ current, *writable)):
            return _refuse(rule, asked)
        return Written(rule.ok(), value)
    if not rule.check(f"the value is the current one ({current:#x})", value == current):
        return _refuse(rule, asked)
    return Written(rule.ok(), value)


def _set_id_reg(rule: Rule, asked: IdWrite) -> Written:
    """After the first run only the current value; before it, every field within the limit."""
    rule.source = "set_id_reg, arm64_check_features (sys_regs.c)"
    host, encoding, value, features, current, ran, _ = asked
    if ran:
        if not rule.check(f"the VM has run: only the current value ({current:#x})", value == current):
            return _refuse(rule, asked, errno.EBUSY)
        return Written(rule.ok(), current)
    limit = limit_of(host, encoding, features)
    if limit.is_raz:
        if not rule.check("the register reads as zero: the value is 0", not value):
            return _refuse(rule, asked)
        return Written(rule.ok(), value)
    difference = value ^ limit.value
    unsafe = first_unsafe(limit.by_bit, difference & limit.mask, value, limit.value)
    if unsafe is not None:
        rule.check(unsafe_text(unsafe, value, limit.value), held=False)
        return _new(Written, (rule.refuse(errno.EINVAL), current))
    rule.check("each writable field is the host's, or safe under it", held=True)
    if not rule.check(f"bits that are not writable are the host's ({limit.fixed})", not difference & ~limit.mask):
        return _new(Written, (rule.refuse(errno.EINVAL), current))
    return _new(Written, (rule.ok(), value))


# Rules of single registers: the value to go on with, or None when a check failed


def _id_aa64pfr0(rule: Rule, asked: IdWrite) -> int | None:
    value = asked.value
    hardware = asked.host.hardware(PFR0)
    kernel = asked.host.kernel
    if kernel.ignores_mpam and hardware is not None and of.PFR0_MPAM.get(hardware) == of.PFR0_MPAM.get(value):
        value = of.PFR0_MPAM.put(value, 0)
    if kernel.el_not_zero:
        for level in (of.PFR0_EL0, of.PFR0_EL1, *([of.PFR0_EL2] if asked.features & HAS_EL2 else [])):
            if not rule.check(f"{level.name} is not 0", level.get(value)):
                return None
    return value


def _id_aa64pfr1(rule: Rule, asked: IdWrite) -> int | None:  # noqa: ARG001 - every rule has the same shape
    value = asked.value
    hardware, kernel = asked.host.hardware(PFR1), asked.host.kernel
    frac = of.PFR1_MPAM_FRAC
    if kernel.ignores_mpam and hardware is not None and frac.get(hardware) == frac.get(value):
        value = frac.put(value, 0)
    hardware = asked.host.sanitised.get(PFR1, 0)
    mte2 = of.PFR1_MTE.get(hardware) == _MTE2 and of.PFR1_MTE_FRAC.get(hardware) == _NOT_THERE
    if kernel.restores_mte_frac and mte2 and not of.PFR1_MTE_FRAC.get(value):
        value = of.PFR1_MTE_FRAC.put(value, _NOT_THERE)
    return value


def _id_aa64dfr0(rule: Rule, asked: IdWrite) -> int | None:
    value, kernel = asked.value, asked.host.kernel
    if of.DFR0_PMUVER.get(value) == _NOT_THERE:
        value = of.DFR0_PMUVER.put(value, 0)
    least = kernel.least_debug
    if least and not rule.check(f"DebugVer is at least {least} (Armv8)", of.DFR0_DEBUGVER.get(value) >= least):
        return None
    lock = of.DFR0_DOUBLELOCK
    is_zero = asked.features & HAS_EL2 and kernel.ignores_doublelock and not lock.get(value)
    if is_zero and lock.get(asked.host.sanitised.get(DFR0, 0)) == _NOT_THERE:
        value = lock.put(value, _NOT_THERE)
    return value


def _id_dfr0(rule: Rule, asked: IdWrite) -> int | None:
    value = asked.value
    if of.DFR0_AARCH32_PERFMON.get(value) == _NOT_THERE:
        value = of.DFR0_AARCH32_PERFMON.put(value, 0)
    version = of.DFR0_AARCH32_PERFMON.get(value)
    if not rule.check("PerfMon is 0 or at least 3 (PMUv3)", version == 0 or version >= _PMU_V3):
        return None
    least = asked.host.kernel.least_debug
    if least and not rule.check(f"CopDbg is at least {least} (Armv8)", of.DFR0_AARCH32_COPDBG.get(value) >= least):
        return None
    return value


def _id_aa64mmfr0(rule: Rule, asked: IdWrite) -> int | None:
    """Stage 2 granules of a guest that has EL2: the host's, or none (1) where the kernel lets them be taken away."""
    allowed = asked.host.kernel.tgran2
    if not (allowed and asked.features & HAS_EL2):
        return asked.value
    limit = asked.host.limit(MMFR0, asked.features)
    none = (1,) if allowed == "host_or_none" else ()
    for name, bits in _STAGE2_GRANULES.items():
        words = "the host's or 1" if none else "the host's"
        if not rule.check(f"{name} is {words}", bits.get(asked.value) in (bits.get(limit), *none)):
            return None
    return asked.value


def _id_aa64mmfr2(rule: Rule, asked: IdWrite) -> int | None:  # noqa: ARG001 - every rule has the same shape
    hardware, nv = asked.host.hardware(MMFR2), of.MMFR2_NV
    if asked.host.kernel.ignores_nv and hardware is not None and nv.get(hardware) == nv.get(asked.value):
        return nv.put(asked.value, 0)
    return asked.value


def _ctr(rule: Rule, asked: IdWrite) -> int | None:
    if not asked.host.kernel.checks_l1ip:
        return asked.value
    return asked.value if rule.check("L1Ip is VIPT or PIPT", of.CTR_L1IP.get(asked.value) >= _VIPT) else None


_SPECIAL: dict[int, Callable[[Rule, IdWrite], int | None]] = {
    PFR0: _id_aa64pfr0,
    PFR1: _id_aa64pfr1,
    DFR0: _id_aa64dfr0,
    DFR0_AARCH32: _id_dfr0,
    MMFR0: _id_aa64mmfr0,
    MMFR2: _id_aa64mmfr2,
    CTR: _ctr,
}
