"""What of the registers of a guest's EL2 stays as it is once the VM has run: RES0 and RES1 bits.

Source: Linux arch/arm64/kvm/nested.c (kvm_init_nv_sysregs, kvm_vcpu_apply_reg_masks), config.c (compute_reg_resx_bits),
include/asm/kvm_host.h (__vcpu_sys_reg, __vcpu_assign_sys_reg). KVM makes the masks at the first KVM_RUN of a vCPU with
EL2, of the ID registers as they are then, and never again; KVM_GET_ONE_REG and KVM_SET_ONE_REG then go through them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from layouts.arm64 import id_fields as of
from layouts.arm64.el2_masks import NEVER, PAUTH, El2Register, el2_registers
from layouts.arm64.id_fields import id_register
from layouts.arm64.ids import ISAR1, ISAR2, MMFR4, encoding_of_op
from layouts.arm64.sysregs import encodings
from layouts.light import NamedTuple, cache
from layouts.vocabulary import Bits

IdValues = Mapping[int, int]
_SIGNED, _SIGNS = "signed ", (">=", "!=", "<", "=")
#: Address and generic authentication by the three algorithms.
_ALGORITHMS = (
    (ISAR1, of.ISAR1_APA, of.ISAR1_GPA),
    (ISAR1, of.ISAR1_API, of.ISAR1_GPI),
    (ISAR2, of.ISAR2_APA3, of.ISAR2_GPA3),
)


class Resx(NamedTuple):
    """Bits that read 0, and bits that read 1."""

    res0: int = 0
    res1: int = 0

    def of(self, value: int) -> int:
        """A value as the register holds it."""
        return value & ~self.res0 | self.res1


def masks(release: str, ids: IdValues) -> dict[int, Resx]:
    """The masks by encoding, of a VM whose ID registers are ``ids``."""
    # Many registers hang on the same conditions.
    has = cache(lambda condition: holds(condition, ids))
    e2h0 = of.MMFR4_E2H0.get(ids.get(MMFR4, 0)) < 8
    return {encoding: _resx(register, has, e2h0=e2h0) for encoding, register in el2_registers(release).items()}


def _resx(register: El2Register, has: Callable[[str], bool], *, e2h0: bool) -> Resx:
    res0, res1 = register.res0, register.res1
    for bits in register.bits:
        if not (bits.vhe and e2h0) and has(bits.condition):
            continue
        if bits.otherwise == "res1" or bits.otherwise == ("e2h0" if e2h0 else "e2h1"):
            res1 |= bits.mask
        else:
            res0 |= bits.mask
    if register.needs and not has(register.needs):
        res0 |= register.whole
    return Resx(res0, res1 & ~res0)


def holds(condition: str, ids: IdValues) -> bool:
    """Whether the VM has what a condition asks."""
    if condition == NEVER:
        return False
    if condition.startswith(PAUTH):
        return _has_pointer_authentication(int(condition.removeprefix(PAUTH)), ids)
    return all(any(atom.holds(ids) for atom in clause) for clause in _clauses(condition))


def _has_pointer_authentication(least: int, ids: IdValues) -> bool:
    found = [
        address.get(ids.get(encoding, 0)) >= least and generic.get(ids.get(encoding, 0)) > 0
        for encoding, address, generic in _ALGORITHMS
    ]
    return sum(found) == 1


class _Atom(NamedTuple):
    """A field of an ID register beside a number."""

    encoding: int
    field: Bits
    signed: bool
    sign: str
    number: int

    def holds(self, ids: IdValues) -> bool:
        """Whether the VM's register has it."""
        value = self.field.get(ids.get(self.encoding, 0))
        if self.signed:
            top = 1 << self.field.width - 1
            value = (value ^ top) - top
        if self.sign == ">=":
            return value >= self.number
        if self.sign == "<":
            return value < self.number
        return (value == self.number) is (self.sign == "=")


@cache
def _clauses(condition: str) -> tuple[tuple[_Atom, ...], ...]:
    return tuple(tuple(_atom(text) for text in clause.split(" or ")) for clause in condition.split(" and "))


def _atom(text: str) -> _Atom:
    word = text.removeprefix(_SIGNED)
    sign = next(one for one in _SIGNS if one in word)
    place, number = word.split(sign)
    register, field = place.split(".")
    encoding = encoding_of_op(encodings()[register])
    return _Atom(encoding, id_register(register).field(field), word != text, sign, int(number))
