"""A guest CPU on a host: what is missing there, with QEMU's words for it, and what the guest gets.

Source: QEMU target/i386/cpu.c, x86_cpu_filter_features, mark_unavailable_features and feature_word_description.
"""

from __future__ import annotations

from inspector.machine.x86.models.expand import Expansion, Setting, expand
from inspector.machine.x86.models.offer import AMD, KVM, Offer
from inspector.machine.x86.models.request import Request
from layouts.light import NamedTuple
from layouts.x86.models.features import Bit, features
from layouts.x86.models.qemu import numbers_of

#: From here on warnings name the sub-leaf too.
_SUBLEAF_IN_WARNINGS = (10, 1)
_AMD_MACHINE_CHECK = frozenset({"overflow-recov", "succor"})


class Missing(NamedTuple):
    """A feature that was asked for and cannot be: its bit, who asked, and what QEMU prints."""

    feature: str
    bit: Bit
    asked: Setting
    warning: str

    def __str__(self) -> str:
        return f"{self.feature} ({self.bit}): {self.asked}"


class Realization(NamedTuple):
    """A request on a host.

    ``unknown`` are features that were asked for and of which the host's record says nothing; ``dropped`` those that
    the user asked for and that hang on features that are off. ``features`` is what the guest gets, the unknown ones
    with it.
    """

    expansion: Expansion
    offer: Offer
    missing: tuple[Missing, ...]
    unknown: tuple[str, ...]
    dropped: tuple[Missing, ...]
    features: frozenset[str]

    @property
    def request(self) -> Request:
        """What was asked."""
        return self.expansion.request

    @property
    def complete(self) -> bool:
        """Whether the guest is known to get all that was asked for."""
        return not (self.missing or self.unknown or self.dropped)

    @property
    def verdict(self) -> str:
        """``yes``, ``no``, or ``depends`` where it hangs on what the host's record does not tell."""
        if self.missing or self.dropped:
            return "no"
        return "depends" if self.unknown else "yes"

    @property
    def starts(self) -> bool:
        """Whether QEMU starts the guest: without enforce it only warns, and the guest lacks what is missing."""
        return not (self.request.enforce and (self.missing or self.dropped))

    def why(self, feature: str) -> str:
        """Who turned a feature on or off for this guest, in words; empty where nobody named it and it is off."""
        if any(entry.feature == feature for entry in self.missing):
            return f"off: {self.offer.name} does not have it"
        setting = self.expansion.origin(feature)
        return str(setting) if setting else ""


def realize(request: Request, offer: Offer) -> Realization:
    """What comes of a request on a host."""
    found = expand(request, offer)
    missing, unknown = [], []
    for feature in features():
        if feature not in found.features or not _is_looked_at(feature, found):
            continue
        has = offer.has(feature)
        if has is None:
            unknown.append(feature)
        elif not has:
            missing += _missing(feature, found, _prefix(offer))
    dropped = [
        entry
        for feature in found.conflicts
        for entry in _missing(feature, found, "This feature depends on other features that were not requested")
    ]
    gone = {entry.feature for entry in missing}
    return Realization(found, offer, tuple(missing), tuple(unknown), tuple(dropped), found.features - gone)


def _is_looked_at(feature: str, found: Expansion) -> bool:
    """AMD's machine check bits are no one else's, and are not looked at for them."""
    return feature not in _AMD_MACHINE_CHECK or found.vendor == AMD


def _prefix(offer: Offer) -> str:
    who = "host" if offer.accelerator == KVM else "TCG"
    return f"{who} doesn't support requested feature"


def _missing(feature: str, found: Expansion, prefix: str) -> list[Missing]:
    asked = next(setting for setting in reversed(found.history[feature]) if setting.on)
    version = numbers_of(found.request.models.version)
    return [
        Missing(feature, bit, asked, f"{prefix}: {place_in_warning(bit, version)}.{feature} [bit {bit.number}]")
        for bit in features()[feature]
    ]


def place_in_warning(bit: Bit, version: tuple[int, ...]) -> str:
    """The word as that version of QEMU names it in warnings (feature_word_description)."""
    word, register = bit.word, bit.word.register.upper()
    if version < _SUBLEAF_IN_WARNINGS:
        return f"MSR({word.at:02X}H)" if word.is_msr else f"CPUID.{word.at:02X}H:{register}"
    if word.is_msr:
        return f"MSR({word.at:02X}h)"
    subleaf = "" if word.subleaf is None else f",ecx={word.subleaf:02X}h"
    return f"CPUID[eax={word.at:02X}h{subleaf}].{register}"
