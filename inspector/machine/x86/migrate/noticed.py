"""Whether the guest can notice: what of its state shows that it uses a bit (``layouts/x86/evidence.py``)."""

from __future__ import annotations

from collections.abc import Sequence

from inspector.machine.x86.kvm.msrs.access import name_of
from inspector.machine.x86.migrate.bits import Difference
from inspector.machine.x86.migrate.guest import Guest
from inspector.machine.x86.migrate.places import names_of
from layouts.light import NamedTuple
from layouts.x86.evidence import ALL, READ_AT_START, USES, WITH, XSS_MSRS, Use, component


class Noticed(NamedTuple):
    """``evidence`` in words, empty where nothing of its state shows the use.

    ``use`` is the evidence; else why there is none: what would show it is 0, was not captured, or does not exist.
    """

    evidence: str
    use: str


def noticed(guest: Guest, difference: Difference) -> Noticed:
    """Whether the guest's state shows that it uses a bit."""
    found, told, uses = [], [], _uses(difference)
    for use in uses:
        value = _value(guest, use)
        if value is not None:
            told.append(use)
            if value & use.mask:
                found.append(f"{use.called} is set" if use.mask.bit_count() < 64 else f"{use.called} is {value:#x}")
    evidence = ", ".join(found)
    return Noticed(evidence, evidence or _not_in_use(difference, uses, told))


def _not_in_use(difference: Difference, uses: Sequence[Use], told: Sequence[Use]) -> str:
    if told:
        clear = ", ".join(dict.fromkeys(use.called for use in told))
        return f"not in use now: {clear} {'is 0' if len(told) == 1 else 'are 0'}"
    if uses:
        missing = dict.fromkeys(_register(use) for use in uses)
        return f"not known whether it is in use: {', '.join(missing)} not captured"
    return _without_evidence(difference)


def _without_evidence(difference: Difference) -> str:
    place = difference.place
    if place.kind == "msr":
        return "every guest has read it: its kernel chose by it when it started"
    if place.kind == "cpuid" and place.high > place.low:
        return READ_AT_START.get(difference.name, "no state of a vCPU shows its use: a guest reads it when it starts")
    return "no state of a vCPU shows its use"


def _uses(difference: Difference) -> Sequence[Use]:
    """The registers whose bits would show the use."""
    place = difference.place
    if place.kind == "xcr0":
        return (component(place.low), Use("xcr0", 1 << place.low, f"XCR0[{place.low}]"))
    if place.kind == "xss":
        msrs = (Use(index, ALL, name_of(index)) for index in XSS_MSRS.get(place.low, ()))
        return (Use(0xDA0, 1 << place.low, f"IA32_XSS[{place.low}]"), *msrs)
    if place.kind == "xstate":
        return (component(place.subleaf),)
    if place.high > place.low:
        return USES.get(difference.name, ())
    return next((uses for name in names_of(place) if (uses := USES.get(WITH.get(name, name)))), ())


def _value(guest: Guest, use: Use) -> int | None:
    return guest.msrs.get(use.register) if isinstance(use.register, int) else guest.facts.get(use.register)


def _register(use: Use) -> str:
    return name_of(use.register) if isinstance(use.register, int) else use.register.upper()
