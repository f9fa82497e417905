"""Writing an ID register through KVM_SET_ONE_REG: the checks in the kernel's order.

Source: Linux arch/arm64/kvm/sys_regs.c: set_id_reg, arm64_check_features, set_id_aa64pfr0_el1 and the
other ``set_id_*``, set_ctr_el0, set_imp_id_reg, set_clidr.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from inspector.machine.arm64.host import HAS_EL2, CheckedFields, Host, field, without
from inspector.machine.arm64.policy import is_safe
from inspector.machine.outcome import Outcome, Rule
from layouts.arm64.ids import CTR, DFR0, DFR0_AARCH32, MMFR0, MMFR2, PFR0, PFR1
from layouts.arm64.kernels import FieldPolicy
from layouts.arm64.properties import FieldPlace

_PMU_V3 = 3


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


def write(asked: IdWrite) -> Written:
    """KVM_SET_ONE_REG of an ID register."""
    host, encoding = asked.host, asked.encoding
    register = host.kernel.registers[encoding]
    rule = Rule("kvm_sys_reg_set_user (sys_regs.c)")
    if register.aarch32 and not host.has_aarch32 and host.kernel.aarch32_raz and register.kind != "hidden":
        rule.check("AArch32 is not there: any value is taken, and the register stays as it is", True)
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
        return Written(rule.depends(f"the host's {hidden.name}, which guests do not see"), asked.current)
    return _set_id_reg(rule, asked if value == asked.value else asked._replace(value=value))


class _Hidden(NamedTuple):
    """A field that KVM hides, and takes and ignores at the host's value."""

    name: str
    lsb: int
    rule: str

    def ignored(self, asked: IdWrite) -> bool:
        """Only this field is in the way: if it were the host's the write would be taken."""
        if not getattr(asked.host.kernel, self.rule):
            return False
        value = without(asked.value, self.lsb)
        if value == asked.value:
            return False
        limit = asked.host.limit(asked.encoding, asked.features)
        return unsafe_field(asked.host, asked.encoding, value, limit) is None and not (
            (value ^ limit) & ~checked_mask(asked.host, asked.encoding)
        )


_HIDDEN = {
    PFR0: _Hidden("ID_AA64PFR0_EL1.MPAM", 40, "ignores_mpam"),
    PFR1: _Hidden("ID_AA64PFR1_EL1.MPAM_frac", 16, "ignores_mpam"),
    MMFR2: _Hidden("ID_AA64MMFR2_EL1.NV", 24, "ignores_nv"),
}


#: Registers with such a field, and where it lies.
HIDDEN_LSB = {encoding: hidden.lsb for encoding, hidden in _HIDDEN.items()}


def takes_hidden(host: Host, encoding: int, lsb: int, value: int) -> bool | None:
    """A field that KVM hides is taken at a value, and ignored; None when it hangs on hardware that is not known."""
    hidden = _HIDDEN.get(encoding)
    if hidden is None or hidden.lsb != lsb or not getattr(host.kernel, hidden.rule):
        return False
    hardware = host.hardware(encoding)
    return None if hardware is None else field(hardware, lsb) == value


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
        rule.check("the value is the current one", True)
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
    no_cleaning = not field(value, 24, 3) or not (field(value, 21, 3) or field(value, 27, 3))
    held = rule.check(f"no reserved bit (outside {mask:#x})", not value & ~mask) and rule.check(
        "CTR_EL0.IDC is 1, or a level needs cleaning", ctr >> 28 & 1 or not no_cleaning
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
        places = [(name, lsb) for name, lsb in (("CSV2", 56), ("CSV3", 60)) if name in asked.host.kernel.writable_csv]
        for name, lsb in places:
            most = field(limit, lsb)
            if not rule.check(f"{name} is at most {most}, where the CPU is not affected", field(value, lsb) <= most):
                return _refuse(rule, asked)
        if not rule.check("all else is the current value", not without(value ^ current, *(lsb for _, lsb in places))):
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
    if host.reads_as_zero(encoding, features):
        if not rule.check("the register reads as zero: the value is 0", not value):
            return _refuse(rule, asked)
        return Written(rule.ok(), value)
    limit = host.limit(encoding, features)
    mask, by_bit = _checked(host, encoding)
    unsafe = _first_unsafe(by_bit, (value ^ limit) & mask, value, limit)
    if unsafe is not None:
        rule.check(unsafe_text(unsafe, value, limit), False)
        return Written(rule.refuse(errno.EINVAL), current)
    rule.check("each writable field is the host's, or safe under it", True)
    fixed = ~mask
    if not rule.check(f"bits that are not writable are the host's ({limit & fixed:#x})", not (value ^ limit) & fixed):
        return _refuse(rule, asked)
    return Written(rule.ok(), value)


def writable_fields(host: Host, encoding: int) -> tuple[FieldPolicy, ...]:
    """The fields that user space may change: those whose bits are all in the writable mask."""
    mask = host.mask(encoding)
    return tuple(
        _as_kvm(encoding, policy) for policy in host.kernel.fields.get(encoding, ()) if policy.mask & ~mask == 0
    )


def _as_kvm(encoding: int, policy: FieldPolicy) -> FieldPolicy:
    """KVM's own safe values of the debug and PMU versions (kvm_arm64_ftr_safe_value)."""
    if encoding == DFR0 and policy.lsb in (0, 8):
        return replace(policy, policy="lower")
    if encoding == DFR0_AARCH32 and policy.lsb == 24:
        return replace(policy, policy="lower")
    return policy


def _checked(host: Host, encoding: int) -> CheckedFields:
    """The bits of writable fields, and by bit its field; worked out once for a host."""
    found = host.checked.get(encoding)
    if found is None:
        mask = 0
        by_bit: dict[int, FieldPolicy] = {}
        for policy in writable_fields(host, encoding):
            mask |= policy.mask
            by_bit |= dict.fromkeys(range(policy.lsb, policy.lsb + policy.width), policy)
        found = host.checked[encoding] = (mask, by_bit)
    return found


def checked_mask(host: Host, encoding: int) -> int:
    """The bits that fields decide; all others must be the limit's."""
    return _checked(host, encoding)[0]


def unsafe_field(host: Host, encoding: int, value: int, limit: int) -> FieldPolicy | None:
    """The first writable field whose value is not safe under the limit, in the kernel's order."""
    mask, by_bit = _checked(host, encoding)
    return _first_unsafe(by_bit, (value ^ limit) & mask, value, limit)


def _first_unsafe(by_bit: dict[int, FieldPolicy], difference: int, value: int, limit: int) -> FieldPolicy | None:
    while difference:
        policy = by_bit[difference.bit_length() - 1]
        if not is_safe(policy, policy.get(value), policy.get(limit)):
            return policy
        # The kernel's tables are in this order too: the most significant field first.
        difference &= (1 << policy.lsb) - 1
    return None


def policy_words(host: Host, place: FieldPlace) -> str:
    """How the kernel decides on a field: whether user space may write it, and which values are safe."""
    for policy in writable_fields(host, place.encoding):
        if policy.mask & place.mask:
            signed = ", signed" if policy.signed else ""
            safe = f" ({policy.safe_value})" if policy.policy == "exact" else ""
            return f"writable, safe is {_POLICY_WORDS[policy.policy]}{safe}{signed}"
    return "not writable"


_POLICY_WORDS = {
    "lower": "the host's or lower",
    "higher": "the host's or higher",
    "higher_or_zero": "0, the host's or higher",
    "exact": "the host's or the kernel's own",
}
_SAFE_WORDS = {"lower": "at most ", "higher": "at least ", "higher_or_zero": "0 or at least ", "exact": ""}


def unsafe_text(policy: FieldPolicy, value: int, limit: int) -> str:
    """What should have held of a field."""
    found, most = policy.get(value), policy.get(limit)
    other = f" or {policy.safe_value}" if policy.policy == "exact" and policy.safe_value != most else ""
    return f"{policy.name} is {_SAFE_WORDS[policy.policy]}{most}{other} (found {found})"


# Rules of single registers: the value to go on with, or None when a check failed


def _id_aa64pfr0(rule: Rule, asked: IdWrite) -> int | None:
    value = asked.value
    hardware = asked.host.hardware(PFR0)
    kernel = asked.host.kernel
    if kernel.ignores_mpam and hardware is not None and field(hardware, 40) == field(value, 40):
        value = without(value, 40)
    if kernel.el_not_zero:
        levels = [("EL0", 0), ("EL1", 4)] + ([("EL2", 8)] if asked.features & HAS_EL2 else [])
        for name, lsb in levels:
            if not rule.check(f"{name} is not 0", field(value, lsb)):
                return None
    return value


def _id_aa64pfr1(rule: Rule, asked: IdWrite) -> int | None:  # noqa: ARG001 - every rule has the same shape
    value = asked.value
    hardware, kernel = asked.host.hardware(PFR1), asked.host.kernel
    if kernel.ignores_mpam and hardware is not None and field(hardware, 16) == field(value, 16):
        value = without(value, 16)
    hardware = asked.host.sanitised.get(PFR1, 0)
    mte2 = field(hardware, 8) == 2 and field(hardware, 40) == 0xF
    if kernel.restores_mte_frac and mte2 and not field(value, 40):
        value |= 0xF << 40
    return value


def _id_aa64dfr0(rule: Rule, asked: IdWrite) -> int | None:
    value, kernel = asked.value, asked.host.kernel
    if field(value, 8) == 0xF:
        value = without(value, 8)
    least = kernel.least_debug
    if least and not rule.check(f"DebugVer is at least {least} (Armv8)", field(value, 0) >= least):
        return None
    if asked.features & HAS_EL2 and kernel.ignores_doublelock and not field(value, 36):
        value |= 0xF << 36 if field(asked.host.sanitised.get(DFR0, 0), 36) == 0xF else 0
    return value


def _id_dfr0(rule: Rule, asked: IdWrite) -> int | None:
    value = asked.value
    if field(value, 24) == 0xF:
        value = without(value, 24)
    version = field(value, 24)
    if not rule.check("PerfMon is 0 or at least 3 (PMUv3)", version == 0 or version >= _PMU_V3):
        return None
    least = asked.host.kernel.least_debug
    if least and not rule.check(f"CopDbg is at least {least} (Armv8)", field(value, 0) >= least):
        return None
    return value


def _id_aa64mmfr0(rule: Rule, asked: IdWrite) -> int | None:
    """Stage 2 granules of a guest that has EL2: the host's, or none (1) where the kernel lets them be taken away."""
    allowed = asked.host.kernel.tgran2
    if not (allowed and asked.features & HAS_EL2):
        return asked.value
    limit = asked.host.limit(MMFR0, asked.features)
    none = (1,) if allowed == "host_or_none" else ()
    for name, lsb in (("TGran4_2", 40), ("TGran16_2", 32), ("TGran64_2", 36)):
        words = "the host's or 1" if none else "the host's"
        if not rule.check(f"{name} is {words}", field(asked.value, lsb) in (field(limit, lsb), *none)):
            return None
    return asked.value


def _id_aa64mmfr2(rule: Rule, asked: IdWrite) -> int | None:  # noqa: ARG001 - every rule has the same shape
    hardware = asked.host.hardware(MMFR2)
    if asked.host.kernel.ignores_nv and hardware is not None and field(hardware, 24) == field(asked.value, 24):
        return without(asked.value, 24)
    return asked.value


def _ctr(rule: Rule, asked: IdWrite) -> int | None:
    if not asked.host.kernel.checks_l1ip:
        return asked.value
    return asked.value if rule.check("L1Ip is VIPT or PIPT", field(asked.value, 14, 2) >= 2) else None


_SPECIAL: dict[int, Callable[[Rule, IdWrite], int | None]] = {
    PFR0: _id_aa64pfr0,
    PFR1: _id_aa64pfr1,
    DFR0: _id_aa64dfr0,
    DFR0_AARCH32: _id_dfr0,
    MMFR0: _id_aa64mmfr0,
    MMFR2: _id_aa64mmfr2,
    CTR: _ctr,
}
