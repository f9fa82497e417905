"""Whether the guest can notice: what of its state shows that it uses a bit (``layouts/x86/evidence.py``)."""

from __future__ import annotations

from collections.abc import Iterable

from inspector.machine.x86.migrate.bits import Difference
from inspector.machine.x86.migrate.guest import Guest
from inspector.machine.x86.migrate.places import names_of
from layouts.x86.evidence import USES, WITH, XSS_MSRS, Use, component


def noticed(guest: Guest, difference: Difference) -> str:
    """The evidence in words; empty where nothing of its state shows the use."""
    place = difference.place
    if place.kind == "xcr0":
        return _shown(guest, (component(place.low), Use("xcr0", 1 << place.low, f"XCR0[{place.low}]")))
    if place.kind == "xss":
        msrs = (Use(index, (1 << 64) - 1, f"MSR {index:#x}") for index in XSS_MSRS.get(place.low, ()))
        return _shown(guest, (Use(0xDA0, 1 << place.low, f"IA32_XSS[{place.low}]"), *msrs))
    if place.kind == "xstate":
        return _shown(guest, (component(place.subleaf),))
    for name in names_of(place):
        uses = USES.get(WITH.get(name, name))
        if uses:
            return _shown(guest, uses)
    return ""


def _shown(guest: Guest, uses: Iterable[Use]) -> str:
    found = []
    for use in uses:
        value = guest.msrs.get(use.register) if isinstance(use.register, int) else guest.facts.get(use.register)
        if value is not None and value & use.mask:
            found.append(f"{use.called} is set" if use.mask.bit_count() < 64 else f"{use.called} is {value:#x}")
    return ", ".join(found)
