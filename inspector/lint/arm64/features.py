"""A01xx: ID registers against each other, and state against the features that ID registers show."""

from __future__ import annotations

from collections.abc import Iterator

from inspector.lint.registry import Hit, check
from inspector.lint.state import State
from layouts.arm64.arm_constraints import violated
from layouts.arm64.ids import encoding_of_op
from layouts.arm64.sysregs import encoding_of, id_registers

_PFR0, _PFR1 = "id.ID_AA64PFR0_EL1", "id.ID_AA64PFR1_EL1"
_PAUTH = tuple(
    f"id.{place}"
    for place in (
        "ID_AA64ISAR1_EL1.APA",
        "ID_AA64ISAR1_EL1.API",
        "ID_AA64ISAR1_EL1.GPA",
        "ID_AA64ISAR1_EL1.GPI",
        "ID_AA64ISAR2_EL1.APA3",
        "ID_AA64ISAR2_EL1.GPA3",
    )
)
_KEYS = tuple(f"sysreg.AP{key}Key{half}_EL1" for key in ("IA", "IB", "DA", "DB", "GA") for half in ("Lo", "Hi"))
_TAGGING = ("TFSR_EL1", "TFSRE0_EL1", "RGSR_EL1", "GCR_EL1")
#: M[3:0] of AArch64: EL0t, EL1t, EL1h, EL2t, EL2h; those of EL2.
_MODES, _EL2_MODES = (0, 4, 5, 8, 9), (8, 9)
_MAX_BREAKPOINTS = 16
#: reset_unknown writes it.
_UNSET = 0x1DE7_EC7E_DBAD_C0DE
_MPIDR_RES1 = 1 << 31
#: TCR_EL1.TG0 and TG1, by granule: the field of ID_AA64MMFR0_EL1, and the values that say no.
_GRANULES = {"4": ("TGRAN4", (15,)), "16": ("TGRAN16", (0,)), "64": ("TGRAN64", (15,))}
_TG0 = {0: "4", 1: "64", 2: "16"}
_TG1 = {1: "16", 2: "4", 3: "64"}
_MTE2 = 2


def is_list(state: State) -> bool:
    """The vCPU is a list of KVM registers with its core registers: no template, and not what a simulation knows."""
    if state.capture.is_simulated:
        return False
    return any("unknown" not in area.attributes for area in state.areas("arm64-regs")) and bool(state.field("core.pc"))


def shown(state: State, *fields: str) -> bool | None:
    """One of these fields is not 0; None where none was captured."""
    values = [value for field in fields if (value := state.number(field)) is not None]
    return any(values) if values else None


def id_values(state: State) -> dict[int, int]:
    """The ID registers that were captured, by encoding."""
    found = {}
    for name in id_registers():
        value, op = state.number(f"sysreg.{name}"), encoding_of(name)
        if value is not None and op is not None:
            found[encoding_of_op(op)] = value
    return found


@check("A0101")
def constraints(state: State) -> Iterator[Hit]:
    """Arm's constraints between features."""
    for one in violated(id_values(state)):
        yield Hit("id.ID_AA64PFR0_EL1", one.text)


@check("A0102")
def no_exception_level(state: State) -> Iterator[Hit]:
    """EL0 and EL1."""
    for name in ("EL0", "EL1"):
        if state.number(f"{_PFR0}.{name}") == 0:
            yield Hit(f"{_PFR0}.{name}", f"{name} is 0")


@check("A0103")
def fp_and_simd(state: State) -> Iterator[Hit]:
    """FP and AdvSIMD."""
    values = state.numbers(f"{_PFR0}.FP", f"{_PFR0}.AdvSIMD")
    if values is not None and values[0] != values[1]:
        yield Hit(f"{_PFR0}.AdvSIMD", f"FP is {values[0]:#x}, AdvSIMD {values[1]:#x}")


@check("A0104")
def sve_described(state: State) -> Iterator[Hit]:
    """ID_AA64ZFR0_EL1 against ID_AA64PFR0_EL1.SVE."""
    value = state.number("sysreg.ID_AA64ZFR0_EL1")
    if value and state.number(f"{_PFR0}.SVE") == 0 and not state.number(f"{_PFR1}.SME"):
        yield Hit("sysreg.ID_AA64ZFR0_EL1", f"{value:#x}, SVE is 0")


@check("A0105")
def sme_described(state: State) -> Iterator[Hit]:
    """ID_AA64SMFR0_EL1 against ID_AA64PFR1_EL1.SME."""
    if state.number("sysreg.ID_AA64SMFR0_EL1") and state.number(f"{_PFR1}.SME") == 0:
        yield Hit("sysreg.ID_AA64SMFR0_EL1", f"{state.hex('sysreg.ID_AA64SMFR0_EL1')}, SME is 0")


@check("A0106")
def aarch32(state: State) -> Iterator[Hit]:
    """PSTATE.nRW against EL0 and EL1."""
    if state.bit("core.pstate.nRW"):
        level = "EL1" if state.bit("core.pstate.M") else "EL0"
        if state.number(f"{_PFR0}.{level}") == 1:
            yield Hit("core.pstate", f"PSTATE is {state.hex('core.pstate')}, {level} is AArch64 only")


@check("A0107")
def mode(state: State) -> Iterator[Hit]:
    """PSTATE.M."""
    if state.has("arm64-regs") and state.bit("core.pstate.nRW") == 0 and state.bit("core.pstate.M") not in _MODES:
        yield Hit("core.pstate", f"PSTATE is {state.hex('core.pstate')}")


@check("A0108")
def hypervisor(state: State) -> Iterator[Hit]:
    """PSTATE.M against EL2."""
    is_el2 = state.bit("core.pstate.nRW") == 0 and state.bit("core.pstate.M") in _EL2_MODES
    if is_el2 and state.number(f"{_PFR0}.EL2") == 0:
        yield Hit("core.pstate", f"PSTATE is {state.hex('core.pstate')}, EL2 is 0")


@check("A0109")
def keys_without_feature(state: State) -> Iterator[Hit]:
    """Keys against ISAR1 and ISAR2."""
    if state.has("arm64-regs") and shown(state, *_PAUTH) is False:
        found = [key for key in _KEYS if state.field(key)]
        if found:
            yield Hit(found[0], f"{len(found)} halves of keys are in the list, ISAR1 and ISAR2 show no algorithm")


@check("A0110")
def feature_without_keys(state: State) -> Iterator[Hit]:
    """ISAR1 and ISAR2 against keys."""
    if is_list(state) and shown(state, *_PAUTH):
        missing = [key for key in _KEYS if not state.field(key)]
        if missing:
            yield Hit(missing[0], f"{len(missing)} halves of keys are not in the list")


@check("A0111")
def tagging_without_feature(state: State) -> Iterator[Hit]:
    """MTE's registers against ID_AA64PFR1_EL1.MTE."""
    level = state.number(f"{_PFR1}.MTE")
    for name in _TAGGING if state.has("arm64-regs") and level is not None and level < _MTE2 else ():
        if state.field(f"sysreg.{name}"):
            yield Hit(f"sysreg.{name}", f"MTE is {level}")


@check("A0112")
def feature_without_tagging(state: State) -> Iterator[Hit]:
    """ID_AA64PFR1_EL1.MTE against MTE's registers."""
    level = state.number(f"{_PFR1}.MTE") or 0
    missing = [name for name in _TAGGING if not state.field(f"sysreg.{name}")]
    if is_list(state) and level >= _MTE2 and missing:
        yield Hit(f"sysreg.{missing[0]}", f"MTE is {level}, {', '.join(missing)} are not in the list")


@check("A0113")
def tag_check_override(state: State) -> Iterator[Hit]:
    """PSTATE.TCO against ID_AA64PFR1_EL1.MTE."""
    if state.bit("core.pstate.TCO") and state.number(f"{_PFR1}.MTE") == 0:
        yield Hit("core.pstate", f"PSTATE is {state.hex('core.pstate')}, MTE is 0")


@check("A0114")
def breakpoints(state: State) -> Iterator[Hit]:
    """Breakpoints and watchpoints that are on."""
    for kind, field in (("DBGBCR", "BRPs"), ("DBGWCR", "WRPs")):
        last = state.number(f"id.ID_AA64DFR0_EL1.{field}")
        for number in range(last + 1, _MAX_BREAKPOINTS) if last is not None else ():
            path = f"sysreg.{kind}{number}_EL1"
            if (state.number(path) or 0) & 1:
                yield Hit(path, f"{state.hex(path)}, {field} is {last}")


@check("A0115")
def granules(state: State) -> Iterator[Hit]:
    """TCR_EL1 against ID_AA64MMFR0_EL1, with the MMU on."""
    for name, known in (("TG0", _TG0), ("TG1", _TG1)) if state.bit("sysreg.SCTLR_EL1.M") else ():
        granule = known.get(state.bit(f"sysreg.TCR_EL1.{name}") or 0, "")
        off = state.bit(f"sysreg.TCR_EL1.EPD{name[-1]}")
        field, refused = _GRANULES.get(granule, ("", ()))
        if field and not off and state.number(f"id.ID_AA64MMFR0_EL1.{field}") in refused:
            yield Hit(f"sysreg.TCR_EL1.{name}", f"{granule} KiB, which {field} does not have")


@check("A0116")
def never_set(state: State) -> Iterator[Hit]:
    """KVM's pattern."""
    if is_list(state):
        names = ("TTBR0_EL1", "TTBR1_EL1", "MAIR_EL1", "TPIDR_EL1")
        found = [name for name in names if state.number(f"sysreg.{name}") == _UNSET]
        if found:
            yield Hit(f"sysreg.{found[0]}", f"{', '.join(found)} are {_UNSET:#x}")


@check("A0117")
def affinity(state: State) -> Iterator[Hit]:
    """MPIDR_EL1's bit 31."""
    value = state.number("sysreg.MPIDR_EL1")
    if value is not None and not value & _MPIDR_RES1:
        yield Hit("sysreg.MPIDR_EL1", f"{value:#x}")


@check("A0118")
def instruction_cache(state: State) -> Iterator[Hit]:
    """CTR_EL0.L1Ip."""
    policy = state.bit("sysreg.CTR_EL0.L1Ip")
    if policy in (0, 1):
        yield Hit("sysreg.CTR_EL0", f"L1Ip is {policy}")
