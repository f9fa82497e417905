"""A03xx: a list of registers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from inspector.lint.arm64.features import id_values, is_list
from inspector.lint.registry import Hit, check
from inspector.lint.state import State
from layouts.arm64.ids import ARM64, CORE_MEMBERS, DFR0, PFR0, SVE, SVE_VLS, RegisterId, V
from layouts.kvm_ids import explain
from layouts.lint.arm64.lists import HIDDEN, LIVE, SYSTEM, TIMERS

_PMU_VERSION = "id.ID_AA64DFR0_EL1.PMUVer"
_NO_PMU = (0, 15)
_PMU = ("PMCR_EL0", "PMCNTENSET_EL0", "PMCCNTR_EL0")


def _ids(state: State) -> list[RegisterId]:
    return [RegisterId(number) for area in state.areas("arm64-regs") for number in area.attributes["ids"]]


@check("A0301")
def lengths_late(state: State) -> Iterator[Hit]:
    """KVM_REG_ARM64_SVE_VLS behind Z, P or FFR."""
    ids = _ids(state)
    before = ids[: ids.index(SVE_VLS)] if SVE_VLS in ids else []
    first = next((one for one in before if one >> 56 == ARM64 and one.coprocessor == SVE), None)
    if first is not None:
        yield Hit("sve.vls", f"{explain(first).path} stands before it")


@check("A0302")
def wrong_size(state: State) -> Iterator[Hit]:
    """Ids whose size is another."""
    for number in _ids(state):
        known = explain(number)
        if "whose size must be" in known.title:
            yield Hit(known.path, known.title)


@check("A0303")
def twice(state: State) -> Iterator[Hit]:
    """Ids that repeat."""
    for path in {explain(number).path for number in _repeated(_ids(state))}:
        values = state.numbers(path, f"{path}~2")
        if values is not None and values[0] != values[1]:
            yield Hit(f"{path}~2", f"{values[0]:#x} and then {values[1]:#x}")


def _repeated(ids: list[RegisterId]) -> list[RegisterId]:
    return [one for one, count in Counter(ids).items() if count > 1]


@check("A0304")
def foreign(state: State) -> Iterator[Hit]:
    """Ids of another architecture."""
    for number in _ids(state):
        if number >> 56 != ARM64:
            yield Hit(explain(number).path, f"id {number:#018x}")


@check("A0305")
def core(state: State) -> Iterator[Hit]:
    """Core registers, but those of floating point."""
    if not is_list(state):
        return
    paths = [one.path.format(n=n) for one in CORE_MEMBERS if one is not V for n in range(one.count)]
    missing = [path for path in paths if not state.field(path)]
    if missing:
        yield Hit(missing[0], f"{len(missing)} are missing: {', '.join(missing[:6])}")


def _missing(state: State, names: tuple[str, ...]) -> Iterator[Hit]:
    missing = [name for name in names if not state.field(f"sysreg.{name}")]
    if is_list(state) and missing:
        yield Hit(f"sysreg.{missing[0]}", f"{', '.join(missing)} not in the list")


@check("A0306")
def system(state: State) -> Iterator[Hit]:
    """System registers of every vCPU."""
    return _missing(state, SYSTEM)


@check("A0307")
def timers(state: State) -> Iterator[Hit]:
    """The virtual timer."""
    return _missing(state, TIMERS)


@check("A0308")
def floating_point(state: State) -> Iterator[Hit]:
    """V or Z."""
    if is_list(state) and not state.field("core.v[0]") and not state.field("sve.z[0]"):
        yield Hit("core.v[0]", "neither V nor Z registers are in the list")


@check("A0309")
def live(state: State) -> Iterator[Hit]:
    """Registers of features."""
    for field, (least, names) in LIVE.items() if is_list(state) else ():
        missing = [name for name in names if not state.field(f"sysreg.{name}")]
        value = state.number(field)
        if missing and value is not None and value >= least:
            yield Hit(f"sysreg.{missing[0]}", f"{field} is {value}, {', '.join(missing)} not in the list")


@check("A0310")
def hidden(state: State) -> Iterator[Hit]:
    """Registers without their feature."""
    for field, (_, names) in LIVE.items() if state.has("arm64-regs") else ():
        for name in names if state.number(field) == 0 else ():
            if name in HIDDEN and state.field(f"sysreg.{name}"):
                yield Hit(f"sysreg.{name}", f"{field} is 0")


@check("A0311")
def counters_without_pmu(state: State) -> Iterator[Hit]:
    """PMU registers against PMUVer."""
    version = state.number(_PMU_VERSION)
    held = [name for name in _PMU if state.field(f"sysreg.{name}")]
    if held and version in _NO_PMU and state.has("arm64-regs"):
        yield Hit(f"sysreg.{held[0]}", f"PMUVer is {version}")


@check("A0312")
def pmu_without_counters(state: State) -> Iterator[Hit]:
    """PMUVer against PMU registers."""
    version = state.number(_PMU_VERSION)
    if is_list(state) and version is not None and version not in _NO_PMU and not state.field("sysreg.PMCR_EL0"):
        yield Hit("sysreg.PMCR_EL0", f"PMUVer is {version}")


@check("A0313")
def id_registers(state: State) -> Iterator[Hit]:
    """ID registers."""
    if is_list(state) and state.field("sysreg.SCTLR_EL1"):
        held = id_values(state)
        if PFR0 not in held or DFR0 not in held:
            yield Hit("sysreg.ID_AA64PFR0_EL1", f"{len(held)} ID registers are in the list")
