"""x86 hosts and guests as facts, and facts as the machine's destinations and guests."""

from __future__ import annotations

from collections.abc import Mapping

from inspector.capture.errors import InputError
from inspector.capture.host import Cpuid, CpuidValues
from inspector.capture.model import Capture
from inspector.fleet.facts import X86, Document, Table, cpuid_of_rows, release_of, rows_of
from inspector.machine.x86.migrate.bits import compared_msrs
from inspector.machine.x86.migrate.destination import Destination
from inspector.machine.x86.migrate.guest import NOTHING, Guest
from inspector.machine.x86.migrate.places import feature_words
from inspector.machine.x86.models.offer import Offer, offer_of_features
from inspector.readers.options import NO_OPTIONS
from inspector.targets.x86_destination import Told, destination_of_offer, destination_told, told_by
from inspector.targets.x86_guest import entries_of, guest_of_vcpu
from layouts.x86.combine import FEATURE_MSRS
from layouts.x86.features import REGISTERS
from layouts.x86.models.features import features

_VMX_MSRS = frozenset(range(0x480, 0x492))
_VALUES_KEPT = _VMX_MSRS | frozenset(FEATURE_MSRS)


def host_facts(capture: Capture) -> Document:
    """What a capture tells of its host. Raises InputError where it has no CPUID."""
    told = told_by(capture)
    stands_in = None if told.supported is not None or (told.raw is not None and told.raw.xsave_table()) else told.guest
    return {
        "arch": X86,
        "cpuid": rows_of(told.raw.leaves) if told.raw is not None else None,
        "supported": rows_of(told.supported.leaves) if told.supported is not None else None,
        "guest": rows_of(stands_in.leaves) if stands_in is not None else None,
        "msrs": sorted(map(list, told.msrs.items())),
        "kernel": release_of(told.kernel),
        "emulator": told.emulator,
    }


def offer_facts(offer: Offer) -> Document:
    """A host of which names of features are known."""
    has = {name: offer.has(name) for name in features()}
    return {
        "arch": X86,
        "there": sorted(name for name, found in has.items() if found),
        "not_there": sorted(name for name, found in has.items() if found is False),
        "signature": list(offer.signature) if offer.signature else None,
        "phys_bits": offer.phys_bits,
        "kernel": release_of(offer.kernel),
    }


def guest_facts(capture: Capture) -> Document | None:
    """What a captured vCPU was given: its CPUID, its feature MSRs, which others it has, XCR0; None without CPUID.

    The values of other MSRs change as it runs and are not kept.
    """
    for vcpu in capture.vcpus[:1]:
        try:
            guest = guest_of_vcpu(capture, vcpu, NO_OPTIONS)
        except InputError:
            return None
        if not guest.table or (capture.host.cpuid is not None and guest.table == capture.host.cpuid.leaves):
            # What a host's own CPUID says is nobody's guest.
            return None
        return {
            "arch": X86,
            "cpuid": rows_of(guest.table),
            "msrs": sorted([index, value] for index, value in guest.saved.msrs if index in _VALUES_KEPT),
            "other_msrs": sorted(index for index, _ in guest.saved.msrs if index not in _VALUES_KEPT),
            "kernel": release_of(capture.host.kernel),
        }
    return None


def destination_of(name: str, facts: Document, kernel: str = "") -> Destination:
    """The host of facts, on its own kernel or on another. Raises UsageError for a kernel that has no number."""
    if "there" in facts:
        return destination_of_offer(offer_of(name, facts), kernel, NO_OPTIONS)
    told = Told(
        cpuid_of_rows(facts["cpuid"]),
        cpuid_of_rows(facts["supported"]),
        cpuid_of_rows(facts["guest"]),
        dict(facts["msrs"]),
        facts["kernel"],
        facts["emulator"],
    )
    return destination_told(name, told, kernel, NO_OPTIONS)


def offer_of(name: str, facts: Document) -> Offer:
    """The offer of facts that are names of features."""
    signature = tuple(facts["signature"]) if facts["signature"] else None
    return offer_of_features(
        name,
        facts["there"],
        facts["not_there"],
        signature=signature,
        phys_bits=facts["phys_bits"],
        kernel=facts["kernel"],
    )


def guest_of(name: str, facts: Document) -> Guest:
    """The guest of facts: its CPUID and feature MSRs. The calls that need more state are not made."""
    table = cpuid_of_rows(facts["cpuid"])
    return _guest(name, table.leaves if table is not None else {}, dict(facts["msrs"]), facts["kernel"])


def guest_on(destination: Destination, *, most: bool = False) -> Guest:
    """A guest with all that a host's KVM is known to give; ``most``: also with what of a prediction is not known."""
    table = {key: _known(destination, key, row) for key, row in destination.supported.leaves.items()}
    for key, unknown in destination.unknown.items() if most else ():
        eax, ebx, ecx, edx = (value | more for value, more in zip(table.get(key, (0, 0, 0, 0)), unknown, strict=True))
        table[key] = eax, ebx, ecx, edx
    msrs = {}
    for index in compared_msrs(table):
        value = destination.feature_msr(index) if destination.has_feature_msr(index) else None
        if value is not None:
            msrs[index] = value
    return _guest(destination.name, table, msrs, destination.kernel.release)


def _known(destination: Destination, key: tuple[int, int], row: CpuidValues) -> CpuidValues:
    """A row with the feature bits that are known; its numbers are as KVM makes them."""
    eax, ebx, ecx, edx = (
        destination.shown(*key, register) & destination.known(*key, register)
        if (*key, register) in feature_words()
        else value
        for register, value in zip(REGISTERS, row, strict=True)
    )
    return eax, ebx, ecx, edx


def _guest(name: str, table: Table, msrs: Mapping[int, int], kernel: str) -> Guest:
    entries = entries_of(Cpuid(table))
    saved = NOTHING._replace(cpuid=entries, msrs=tuple(sorted(msrs.items())))
    return Guest(name, saved, frozenset(), {}, kernel)
