"""All remedies of a verdict at once: the guest starts anew without what is in the way, and the move is asked again.

What a feature keeps in the vCPU goes with it: a guest that starts without it never turned it on. What is left is in
the way whatever the guest's CPU is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from inspector.machine.x86.kvm.msrs import access
from inspector.machine.x86.kvm.restore import Saved
from inspector.machine.x86.migrate.bits import Difference
from inspector.machine.x86.migrate.guest import REGISTERS_AT, Guest, facts_of
from inspector.machine.x86.migrate.lost import has
from inspector.machine.x86.migrate.places import XSTATE_LEAF
from inspector.machine.x86.migrate.remedy import features_of, helps, without
from inspector.machine.x86.migrate.verdict import Migration, migrate
from layouts.light import TYPE_CHECKING, NamedTuple
from layouts.x86.evidence import ALL, NEEDED_MSRS, USES, WITH
from layouts.x86.models.features import feature_at, features
from layouts.x86.msr_rules import FEATURE_VMX_RANGE

if TYPE_CHECKING:
    from typing import Any

    from inspector.machine.x86.models.realize import Realization

_FEATURE_CONTROL, _XSS, _XFD, _XFD_ERR = 0x3A, 0xDA0, 0x1C4, 0x1C5
#: MSRs that QEMU moves for a guest with the feature alone (target/i386/kvm/kvm.c, kvm_msr_entry_add_vmx, kvm_put_msrs).
_MSRS_OF = {"vmx": (_FEATURE_CONTROL, *FEATURE_VMX_RANGE.indexes), "cet-ss": tuple(range(0x6A4, 0x6A9))}
_ZERO = (0, 0, 0, 0)


class Together(NamedTuple):
    """``bits`` are those whose remedies were applied, ``after`` the verdict on the guest that starts without them."""

    bits: tuple[Difference, ...]
    after: Migration

    @property
    def arrives(self) -> bool:
        """Nothing is in the way any more, for all that is known."""
        return self.after.arrives

    @property
    def still(self) -> tuple[str, ...]:
        """What is in the way all the same: comparisons, calls with the first that they fail at, bits, losses."""
        after = self.after
        found = [entry.message or entry.what for entry in after.compared if entry.refuses]
        for call in after.calls:
            if call.then is not None and call.then.does == "abort":
                names = ", ".join(access.name_of(index) for index, _ in call.refused)
                found.append(f"{call.name} ({names or call.outcome.because})")
        found += [f"{bit.name} ({bit.place})" for bit in after.blockers]
        return (*dict.fromkeys(found), *(entry.text for entry in after.lost if entry.kind != "cpuid"))


def together(made: Migration, has_remedy: Callable[[Difference], bool]) -> Together | None:
    """Every bit for which there are words, and that its remedy takes; None where there is none."""
    bits = tuple(bit for bit in made.blockers if has_remedy(bit) and helps(made, bit))
    if not bits:
        return None
    guest = anew(made.guest, without(made.guest, bits), bits, keeps_list=made.vmm.sends_cpuid)
    line = _line(made.made, bits)
    return Together(bits, migrate(guest, made.destination, made.vmm, made=line))


def _line(line: Realization | None, bits: Iterable[Difference]) -> Realization | None:
    """The destination's line with the features off."""
    if line is None:
        return None
    off = {name: False for bit in bits for name in names_of_features(bit)}
    from inspector.machine.x86.models.realize import realize

    return realize(line.request._replace(switches={**line.request.switches, **off}), line.offer)


def names_of_features(bit: Difference) -> tuple[str, ...]:
    """QEMU's names of what the remedy of a bit turns off."""
    if bit.place.kind == "msr":
        return (bit.name,) if bit.name in features() else ()
    return tuple(name for key in features_of(bit) if (name := feature_at().get(key)))


def anew(before: Guest, guest: Guest, bits: Iterable[Difference], *, keeps_list: bool) -> Guest:
    """The guest as it is when it starts without the bits: with none of their state.

    ``keeps_list``: its VMM saves every MSR that the host lists, also one that the guest has not, which is 0 then; QEMU
    saves only MSRs of features.
    """
    gone = {name for bit in bits for name in names_of_features(bit)}
    kept = _kept(guest, gone)
    absent = _absent(gone) - kept.keys()
    cleared = _without_xstate(guest) if before.table.get((XSTATE_LEAF, 0)) else {}
    for use in (use for name in gone if name not in WITH for use in USES.get(name, ())):
        cleared[use.register] = cleared.get(use.register, 0) | use.mask & ~kept.get(use.register, 0)
    saved = _cleared(guest.saved, cleared)
    msrs = tuple(
        (index, 0 if index in absent else value & ~cleared.get(index, 0))
        for index, value in saved.msrs
        if keeps_list or index not in absent
    )
    saved = saved._replace(msrs=msrs)
    facts = {name: value & ~cleared.get(name, 0) for name, value in guest.facts.items()}
    return guest._replace(saved=saved, facts={**facts, **facts_of(saved)})


def _kept(guest: Guest, gone: Collection[str]) -> dict[str | int, int]:
    """By register, the bits that features use which the guest still has."""
    found: dict[str | int, int] = {}
    for name, uses in USES.items():
        if name not in gone and has(guest.table, name):
            for use in uses:
                found[use.register] = found.get(use.register, 0) | use.mask
    return found


def _absent(gone: Collection[str]) -> frozenset[int]:
    """The MSRs of features that are gone."""
    needed = {needed.msr for needed in NEEDED_MSRS if needed.feature in gone}
    moved = {index for name in gone for index in _MSRS_OF.get(name, ())}
    used = {use.register for name in gone for use in USES.get(name, ()) if use.mask == ALL}
    return frozenset(needed | moved | {index for index in used if isinstance(index, int)})


def _without_xstate(guest: Guest) -> dict[str | int, int]:
    """By register, the bits of components that the guest's leaf 0xD does not have."""
    eax, _, _, edx = guest.table.get((XSTATE_LEAF, 0), _ZERO)
    _, _, low, high = guest.table.get((XSTATE_LEAF, 1), _ZERO)
    xcr0, xss = eax | edx << 32, low | high << 32
    return {"xcr0": ~xcr0, "xstate_bv": ~(xcr0 | xss), _XSS: ~xss, _XFD: ~xcr0, _XFD_ERR: ~xcr0}


def _cleared(saved: Saved, cleared: Mapping[str | int, int]) -> Saved:
    """The structures with bits of their registers off."""
    for part, registers in REGISTERS_AT.items():
        data = bytearray(getattr(saved, part) or b"")
        for name, at in registers.items():
            if len(data) >= at + 8 and name in cleared:
                value = int.from_bytes(data[at : at + 8], "little") & ~cleared[name]
                data[at : at + 8] = value.to_bytes(8, "little")
        if data:
            changed: dict[str, Any] = {part: bytes(data)}
            saved = saved._replace(**changed)
    return saved
