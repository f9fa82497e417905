"""A captured host under another kernel than the one that its guest ran on: what that one shows of the same CPU.

What the capture's kernel hid, cut or had no field for is the core's where MIDR_EL1 names one, else open.

Source: Linux arch/arm64/kvm/sys_regs.c, __kvm_read_sanitised_id_reg and the functions that it calls.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from inspector.machine.arm64.bare import from_bare
from inspector.machine.arm64.caches import reset_clidr
from inspector.machine.arm64.host import AARCH32_TOO, FIELDS_OF_FEATURE, PMU_V3, PTRAUTH, SVE, Host
from inspector.machine.arm64.models.partial import PartialHost
from inspector.machine.arm64.policy import U64
from layouts.arm64 import id_fields as of
from layouts.arm64.hosts import BareHost
from layouts.arm64.ids import CLIDR, CTR, DEMUX, DFR0, DFR0_AARCH32, PFR0, PFR1, ZFR0, RegisterId
from layouts.arm64.kernels import Arm64Kernel, FieldPolicy, Limit
from layouts.arm64.properties import FieldPlace, field_place, field_places
from layouts.light import NamedTuple
from layouts.vocabulary import mask_of

_MTE2 = 2
#: What a VMM can leave out of a vCPU.
_LEFT_OUT = SVE | PTRAUTH | PMU_V3
#: The PMU's version in its two registers, for which the PMU's rules hold.
_PMU_FIELDS = {DFR0: of.DFR0_PMUVER.mask, DFR0_AARCH32: of.DFR0_AARCH32_PERFMON.mask}
#: The newest PMUVer; behind it stands the implementation defined one, which nobody shows.
_PMUVER_MOST = 14


class _Unseen(NamedTuple):
    """A field that the capture does not tell: what it is at least and at most."""

    place: FieldPlace
    least: int
    most: int


class _Was:
    """What a guest saw of its host: the values of its ID registers, under a kernel, with features."""

    def __init__(self, shown: Mapping[int, int], kernel: Arm64Kernel, features: int) -> None:
        pfr0 = shown.get(PFR0, 0)
        self.shown = shown
        self.kernel = kernel
        self.has_mte = of.PFR1_MTE.get(shown.get(PFR1, 0)) >= _MTE2
        self.has_aarch32 = of.PFR0_EL0.get(pfr0) == AARCH32_TOO
        self.gic = 3 if of.PFR0_GIC.get(pfr0) else 2
        self._made_up = _made_up(kernel, features, pfr0)

    def unseen(self, newer: Arm64Kernel) -> Iterator[_Unseen]:
        """The fields of another kernel that this one did not tell, or not in full."""
        for at, register in newer.registers.items():
            if not self._shows(newer, at):
                continue
            told = self._told(at)
            for policy in newer.fields.get(at, ()):
                found = self._unseen(at, policy, told)
                if found is not None:
                    yield _Unseen(field_place(at, register.name, policy), *found)

    def _shows(self, kernel: Arm64Kernel, at: int) -> bool:
        """A kernel shows this guest the register, or fields of it."""
        register = kernel.registers.get(at)
        if register is None or not register.is_shown:
            return False
        return self.has_aarch32 or not (register.aarch32 and kernel.aarch32_raz)

    def _told(self, at: int) -> int:
        """The bits of a register that the guest saw as the CPU has them.

        Those that go with MTE are among them without it: another kernel shows such a guest no more of them.
        """
        if at not in self.shown or not self._shows(self.kernel, at):
            return 0
        hidden = self.kernel.limits.get(at, Limit()).hidden | self._made_up.get(at, 0)
        return mask_of(*self.kernel.fields.get(at, ())) & ~hidden

    def _unseen(self, at: int, policy: FieldPolicy, told: int) -> tuple[int, int] | None:
        is_pmu = policy.mask == _PMU_FIELDS.get(at)
        most = _PMUVER_MOST if is_pmu else policy.mask >> policy.lsb
        if policy.mask & ~told:
            return 0, most
        value = (self.shown[at] & policy.mask) >> policy.lsb
        return (value, most) if value and value == self._cut(at, policy) else None

    def _cut(self, at: int, policy: FieldPolicy) -> int:
        """The most that this kernel shows of a field; 0: all of it."""
        if policy.mask == _PMU_FIELDS.get(at):
            return self.kernel.pmuver_most
        if at == DFR0 and policy.mask == of.DFR0_DEBUGVER.mask:
            return self.kernel.debug_most
        return next((most for lsb, _, most in self.kernel.limits.get(at, Limit()).most if lsb == policy.lsb), 0)


def _made_up(kernel: Arm64Kernel, features: int, pfr0: int) -> dict[int, int]:
    """The bits by register that a kernel shows a guest whatever the CPU has: of its own GIC, its PMU, or none."""
    found = {}
    if kernel.debug_most:
        found[PFR0] = of.PFR0_GIC.mask
    if kernel.hides_ras_frac and of.PFR0_RAS.get(pfr0) != 1:
        found[PFR1] = of.PFR1_RAS_FRAC.mask
    if kernel.pmu_hidden and not features & PMU_V3:
        found |= _PMU_FIELDS
    if kernel.perfmon_follows:
        found[DFR0_AARCH32] = of.DFR0_AARCH32_PERFMON.mask
    return found


def under_another(host: Host, shown_by: Arm64Kernel, core: BareHost | None) -> Host:
    """A host whose limits are what a guest saw under ``shown_by``, with what its own kernel shows instead.

    ``core``: the CPU that its MIDR_EL1 names. What neither tells is open: then the host is known in part.
    """
    was, kernel = _Was(host.limits, shown_by, host.features), host.kernel
    likely, hangs = dict(host.limits), []
    for one in was.unseen(kernel):
        at, place = one.place.encoding, one.place
        if core is not None and at in core.registers and place.get(core.registers[at]) >= one.least:
            likely[at] = place.put(likely.get(at, 0), place.get(core.registers[at]))
        else:
            hangs.append(one)
    then, now = _bare(shown_by, likely, was), _bare(kernel, likely, was)
    for place in _places(shown_by, kernel):
        at = place.encoding
        if place.get(then.limits.get(at, 0)) != place.get(now.limits.get(at, 0)):
            host.limits[at] = place.put(host.limits.get(at, 0), place.get(now.limits.get(at, 0)))
    host.features = host.features & ~(then.features & ~now.features) | now.features & ~then.features
    least, most = (_bare(kernel, _with(likely, hangs, end), was) for end in ("least", "most"))
    fields = _open(hangs, least, most) | _caches(host, was, core)
    features = most.features & ~least.features & ~then.features
    if not fields and not features:
        return host
    found = _in_part(host, core)
    found.open, found.open_features = fields, features
    return found


def with_left_out(host: Host, features: int, core: BareHost | None) -> Host:
    """The host with what its guest lacks left open: its VMM may have switched SVE, pauth or the PMU off.

    A core that MIDR_EL1 names says what the CPU has not, and up to which value it has the rest.
    """
    missing = _LEFT_OUT & ~features
    bare = from_bare(host.kernel, [core]) if core is not None else None
    missing &= bare.features if bare is not None else missing
    if not missing:
        return host
    found = host if isinstance(host, PartialHost) else _in_part(host, core)
    found.open_features |= missing
    found.open_lengths = found.open_lengths or bool(missing & SVE)
    if missing & PMU_V3:
        # PerfMon follows PMUVer.
        found.untold |= {DFR0_AARCH32}
    fields = _fields_of(missing)
    for place in field_places().values():
        bits = fields.get(place.encoding, 0)
        most = place.get(bare.limits.get(place.encoding, 0)) if bare is not None else place.mask >> place.lsb
        if place.mask & bits and most > 0:
            found.open[place] = (0, most)
    return found


def _in_part(host: Host, core: BareHost | None) -> PartialHost:
    return PartialHost(host, core.name if core is not None else "")


def _fields_of(features: int) -> dict[int, int]:
    """The bits of ID registers that are a vCPU's with these features alone; ID_AA64ZFR0_EL1 is SVE's."""
    found = {ZFR0: U64} if features & SVE else {}
    for feature, places in FIELDS_OF_FEATURE.items():
        if features & feature:
            found |= {at: mask_of(*bits) | found.get(at, 0) for at, bits in places.items()}
    return found


def _bare(kernel: Arm64Kernel, registers: Mapping[int, int], was: _Was) -> Host:
    """What a kernel shows of a CPU."""
    return from_bare(kernel, [BareHost("", dict(registers), ())], gic=was.gic, mte=was.has_mte)


def _places(older: Arm64Kernel, newer: Arm64Kernel) -> Iterator[FieldPlace]:
    for kernel in (older, newer):
        for at, policies in kernel.fields.items():
            for policy in policies:
                yield field_place(at, kernel.register_name(at), policy)


def _with(likely: Mapping[int, int], hangs: list[_Unseen], end: str) -> dict[int, int]:
    """The registers of a CPU that has as little, or as much, as it may."""
    found = dict(likely)
    for one in hangs:
        at = one.place.encoding
        found[at] = one.place.put(found.get(at, 0), getattr(one, end))
    return found


def _open(hangs: list[_Unseen], least: Host, most: Host) -> dict[FieldPlace, tuple[int, int]]:
    """What a kernel may show of fields that nobody tells: those of which it shows anything."""
    found = {}
    for one in hangs:
        low, high = (one.place.get(host.limits.get(one.place.encoding, 0)) for host in (least, most))
        if low != high:
            found[one.place] = (low, high)
    return found


def _caches(host: Host, was: _Was, core: BareHost | None) -> dict[FieldPlace, tuple[int, int]]:
    """CLIDR_EL1 and CCSIDR_EL1: made up by one kernel and the hardware's under another (reset_clidr, get_ccsidr)."""
    if host.kernel.virtual_caches == was.kernel.virtual_caches:
        return {}
    if host.kernel.virtual_caches:
        if CLIDR in host.limits:
            host.limits[CLIDR] = reset_clidr(host.limits.get(CTR, 0), mte=was.has_mte)
        return {}
    of_caches = [one for one in host.registers if RegisterId(one).coprocessor == DEMUX]
    for one in of_caches:
        del host.registers[one]
    if core is not None and CLIDR in core.registers:
        bare = from_bare(host.kernel, [core])
        host.limits[CLIDR] = bare.limits[CLIDR]
        host.registers |= {one: bare.registers[one] for one in of_caches if one in bare.registers}
        return {}
    return {FieldPlace.whole("CLIDR_EL1", CLIDR): (0, U64)} if CLIDR in host.limits else {}
