"""KVM register ids of arm64, and the encodings of system registers in them: each number is written here once.

Source: Linux ``arch/arm64/include/uapi/asm/kvm.h`` (coprocessors, struct kvm_regs, firmware and SVE registers,
KVM_ARM_FEATURE_ID_RANGE), ``include/uapi/linux/kvm.h`` (architectures); Arm ARM (DDI 0487), D24 (encodings).
What an id names in words is :mod:`layouts.arm64.kvm_ids`.
"""

from __future__ import annotations

from layouts import register_id
from layouts.light import cache
from layouts.vocabulary import Bits

#: Architectures (KVM_REG_ARM, KVM_REG_ARM64).
ARM32, ARM64 = 0x40, 0x60

#: Coprocessors: the kinds of register.
CORE = 0x10
DEMUX = 0x11
SYSREG = 0x13
FIRMWARE = 0x14
SVE = 0x15
FIRMWARE_BITMAP = 0x16

_COPROCESSOR = Bits("KVM_REG_ARM_COPROC", 16, 12)
_NUMBER = Bits("number", 0, 16)
_COPROCESSOR_MASK = (1 << _COPROCESSOR.width) - 1

#: A system register as (op0, op1, CRn, CRm, op2).
Op = tuple[int, int, int, int, int]


class RegisterId(register_id.RegisterId):
    """An id of arm64 or 32-bit Arm."""

    __slots__ = ()

    @property
    def coprocessor(self) -> int:
        """The kind of register."""
        return _COPROCESSOR.get(self)

    @property
    def encoding(self) -> int:
        """The low 16 bits: which register of its kind; of a system register op0, op1, CRn, CRm and op2."""
        return _NUMBER.get(self)

    @property
    def is_sysreg(self) -> bool:
        """An id of a system register, with the size that one has."""
        return self - self.encoding == _SYSREGS


def coprocessor_of(register_id: int) -> int:
    """The kind of register that an id of arm64 names."""
    return register_id >> _COPROCESSOR.lsb & _COPROCESSOR_MASK


def make(coprocessor: int, size_bytes: int, number: int = 0) -> RegisterId:
    """The id of a register of arm64."""
    return RegisterId(register_id.upper_bits(ARM64, size_bytes) | coprocessor << _COPROCESSOR.lsb | number)


# System registers

_SYSREGS = make(SYSREG, 8)
_OP0, _OP1, _CRN, _CRM, _OP2 = (
    Bits("op0", 14, 2),
    Bits("op1", 11, 3),
    Bits("CRn", 7, 4),
    Bits("CRm", 3, 4),
    Bits("op2", 0, 3),
)


def sysreg_id(encoding: int) -> RegisterId:
    """The id of a system register."""
    return RegisterId(_SYSREGS | encoding)


def encoding_of_op(op: Op) -> int:
    """The 16 bits that an id has for a system register."""
    op0, op1, crn, crm, op2 = op
    return op0 << _OP0.lsb | op1 << _OP1.lsb | crn << _CRN.lsb | crm << _CRM.lsb | op2


def op_of_encoding(encoding: int) -> Op:
    """A system register by its 16 bits."""
    return _OP0.get(encoding), _OP1.get(encoding), _CRN.get(encoding), _CRM.get(encoding), _OP2.get(encoding)


#: Encodings that rules name: identification of the CPU, features of AArch32, features of AArch64, caches, others.
MIDR, MPIDR, REVIDR, AIDR = 0xC000, 0xC005, 0xC006, 0xC807
PFR1_AARCH32, DFR0_AARCH32, MMFR4_AARCH32 = 0xC009, 0xC00A, 0xC016
PFR0, PFR1, PFR2, ZFR0, SMFR0 = 0xC020, 0xC021, 0xC022, 0xC024, 0xC025
DFR0, ISAR0, ISAR1, ISAR2, ISAR3 = 0xC028, 0xC030, 0xC031, 0xC032, 0xC033
MMFR0, MMFR1, MMFR2, MMFR3, MMFR4 = 0xC038, 0xC039, 0xC03A, 0xC03B, 0xC03C
CLIDR, CTR, DCZID = 0xC801, 0xD801, 0xD807
OSLSR, ZCR, PMCR = 0x808C, 0xC090, 0xDCE0

#: Encodings of ID registers: those of op1 0, and of them what describes AArch32 and AArch64.
IDS, AARCH32_IDS, AARCH64_IDS = range(0xC000, 0xC040), range(0xC008, 0xC020), range(0xC020, 0xC040)
#: op1 of what KVM_ARM_GET_REG_WRITABLE_MASKS tells of: 64 registers of each.
_FEATURE_ID_OP1 = (0, 1, 3)
#: KVM_ARM_FEATURE_ID_RANGE_SIZE.
FEATURE_ID_COUNT = len(_FEATURE_ID_OP1) * len(IDS)


def feature_id_encoding(index: int) -> int:
    """The register of an entry of KVM_ARM_GET_REG_WRITABLE_MASKS (KVM_ARM_FEATURE_ID_RANGE_INDEX)."""
    op1, low = divmod(index, len(IDS))
    return IDS.start | _FEATURE_ID_OP1[op1] << _OP1.lsb | low


#: Every encoding that KVM_ARM_GET_REG_WRITABLE_MASKS tells of.
FEATURE_IDS = frozenset(feature_id_encoding(index) for index in range(FEATURE_ID_COUNT))


# Core registers


class CoreMember:
    """Members of struct kvm_regs that follow each other. ``first`` and ``step`` are in words of 4 bytes."""

    __slots__ = ("count", "first", "path", "step")

    def __init__(self, first: int, step: int, count: int, path: str) -> None:
        self.first = first
        self.step = step
        self.count = count
        self.path = path

    @property
    def size_bytes(self) -> int:
        """Bytes of one of them."""
        return 4 * self.step

    def __contains__(self, word: object) -> bool:
        """The word lies within these members."""
        return isinstance(word, int) and self.first <= word < self.first + self.step * self.count

    def id(self, number: int = 0) -> RegisterId:
        """The id of one of them."""
        return make(CORE, self.size_bytes, self.first + self.step * number)


_X, _PC, _PSTATE = (
    CoreMember(0, 2, 31, "core.x[{n}]"),
    CoreMember(64, 2, 1, "core.pc"),
    CoreMember(66, 2, 1, "core.pstate"),
)
V = CoreMember(84, 4, 32, "core.v[{n}]")
CORE_MEMBERS = (
    _X,
    CoreMember(62, 2, 1, "core.sp"),
    _PC,
    _PSTATE,
    CoreMember(68, 2, 1, "core.sp_el1"),
    CoreMember(70, 2, 1, "core.elr_el1"),
    CoreMember(72, 2, 5, "core.spsr[{n}]"),
    V,
    CoreMember(212, 1, 1, "core.fpsr"),
    CoreMember(213, 1, 1, "core.fpcr"),
)
#: sizeof(struct kvm_regs) in words of 4 bytes.
CORE_WORDS = 864 // 4
X0, PC, PSTATE = _X.id(), _PC.id(), _PSTATE.id()


@cache
def core_member_at(word: int) -> CoreMember | None:
    """The members of struct kvm_regs that a word of 4 bytes lies in; None between members and behind the last."""
    return next((member for member in CORE_MEMBERS if word in member), None)


# Caches, firmware and SVE

#: CCSIDR_EL1 of the first of fourteen caches: seven levels, of data and of instructions.
CCSIDR, CACHES = make(DEMUX, 4), 14

_FIRMWARE_NAMES = ("PSCI_VERSION", "SMCCC_ARCH_WORKAROUND_1", "SMCCC_ARCH_WORKAROUND_2", "SMCCC_ARCH_WORKAROUND_3")
_BITMAP_NAMES = ("STD_BMAP", "STD_HYP_BMAP", "VENDOR_HYP_BMAP", "VENDOR_HYP_BMAP_2")
FIRMWARE_NAMES = {FIRMWARE: _FIRMWARE_NAMES, FIRMWARE_BITMAP: _BITMAP_NAMES}
PSCI_VERSION, WORKAROUND_1, WORKAROUND_2, WORKAROUND_3 = (
    make(FIRMWARE, 8, number) for number in range(len(_FIRMWARE_NAMES))
)

#: KVM_REG_ARM64_SVE_VLS: a set of 512 bits, bit vq-1 for each vq.
SVE_VLS = make(SVE, 64, 0xFFFF)
#: Slice 0 of Z0, P0 and FFR, and how far apart the registers are: slices are in between.
SVE_Z0, SVE_P0, SVE_FFR, SVE_STEP = make(SVE, 256), make(SVE, 32, 0x400), make(SVE, 32, 0x600), 0x20

#: Ids of no register: an encoding that is none, wrong sizes, another architecture, a core register behind the last.
UNKNOWN_IDS = (0x603000000013FFFF, 0x602000000013C000, 0x604000000013C000, 0x2030000000130000, 0x6030000000100FFF)
#: Slices of SVE registers that there are not, and registers of wrong sizes.
UNKNOWN_SVE_IDS = (
    0x6080000000150001,
    0x608000000015001F,
    0x6050000000150401,
    0x6050000000150620,
    0x6040000000100054,
)
