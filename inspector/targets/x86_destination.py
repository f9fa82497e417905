"""The x86 host that a vCPU is to arrive on, by a word: a chip, a model, a capture, CPUID text, words about a host."""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import takewhile

from inspector.capture.errors import InputError, UsageError
from inspector.capture.host import Cpuid, CpuidValues
from inspector.capture.model import Capture
from inspector.machine.x86.host import booted
from inspector.machine.x86.kvm.msrs import features
from inspector.machine.x86.migrate.destination import Destination, destination
from inspector.readers.cpuid_table import cpuid_of
from inspector.readers.options import NO_OPTIONS, Options
from inspector.targets.kernels import kernel_named, release_of
from inspector.targets.samples import x86_records
from inspector.targets.schemes import capture_of, scheme_of
from inspector.targets.x86_cpuid import guest_table
from inspector.targets.x86_guest import tsc_khz_of
from layouts.kernels import DEFAULT_RELEASE, release_numbers
from layouts.light import TYPE_CHECKING, NamedTuple
from layouts.x86.kernels import profile_for
from layouts.x86.models.qemu import TCG, VERSIONS, qemu_models
from layouts.x86.msr_rules import FEATURE_VMX_RANGE, FEATURES
from layouts.x86.xsave import EXTENDED_OFFSET

if TYPE_CHECKING:
    from inspector.machine.x86.models.offer import Offer

HELP = "an x86 host, as `inspector models --host` takes it: a capture, CPUID text, a model, a chip; @RELEASE its kernel"
#: The areas where components of XSAVE lie, where only names of features are known: CPUs of the vendor's, the last one
#: first. MPX lies where it always does: an emulator has it with AMD's name.
_AREAS = {"AuthenticAMD": ("skylake", "zen5"), "HygonGenuine": ("skylake", "zen5")}
_DEFAULT_AREAS = ("skylake-x", "sapphire-rapids")
_COMPONENTS = {
    2: (1, 2, 28),
    **dict.fromkeys((3, 4), (7, 1, 14)),
    **dict.fromkeys((5, 6, 7), (7, 1, 16)),
    9: (7, 2, 3),
    **dict.fromkeys((17, 18), (7, 3, 24)),
}


def destination_of(word: str, kernel: str, options: Options) -> Destination:
    """A host by a word. Raises UsageError for a word that is none, InputError for a file that is none."""
    name, release = release_of(word, kernel)
    sample = _sample_of_chip(name, release)
    if sample and qemu_models().named(name) is None:
        return _of_capture(capture_of(sample, options), release, options, name)
    from inspector.targets.x86_offers import offer_named, offer_of_text

    if name.partition(":")[0] == TCG:
        return _emulator(name, offer_named(name, options), release)
    if os.path.exists(name) or scheme_of(name).prefix:
        offer = offer_of_text(name, options)
        if offer is None:
            return _of_capture(capture_of(name, options), release, options, name)
        return destination_of_offer(offer, release, options)
    return destination_of_offer(offer_named(name, options), release, options)


def is_x86_destination(word: str) -> bool:
    """A word that can only be an x86 host."""
    from layouts.x86.cpus import cpu_layouts

    name, _ = release_of(word, "")
    return (
        name.partition(":")[0] == TCG
        or qemu_models().named(name) is not None
        or bool(_sample_of_chip(name, ""))
        or name in cpu_layouts()
    )


def _sample_of_chip(name: str, release: str) -> str:
    """The shipped capture of a chip (``milan``, ``sapphire-rapids``): of that kernel, else of the newest."""
    plain = name.replace("-", "")
    if not (name.isascii() and plain.isalnum() and name[0].isalpha() and len(name) > 1) or os.path.exists(name):
        return ""
    wanted = name.lower()
    found = x86_records(wanted)
    if not found:
        return "sample:zen5" if wanted == "zen5" else ""
    return found.get(release) or found[max(found, key=lambda text: tuple(map(int, text.split("."))))]


class Told(NamedTuple):
    """What a capture tells of its host: its CPUID, KVM's table, a guest's table, feature MSRs, the kernel's release.

    ``emulator`` is ``tcg`` or ``bochs`` where the CPU is no silicon's, ``tsc_khz`` its TSC's frequency, 0: unknown.
    """

    raw: Cpuid | None
    supported: Cpuid | None
    guest: Cpuid | None
    msrs: Mapping[int, int]
    kernel: str = ""
    emulator: str = ""
    tsc_khz: int = 0


def told_by(capture: Capture) -> Told:
    """All that a capture tells of the host that it was made on. Raises InputError where it has no CPUID."""
    emulator = "tcg" if "TCG" in capture.host.about else "bochs" if "Bochs" in capture.host.about else ""
    tables = {area.prefix: cpuid_of(bytes(area.data)) for area in capture.context if area.layout == "kvm-cpuid2"}
    supported, raw = tables.get("supported_cpuid"), tables.get("host_cpuid")
    if raw is None and supported is None:
        raw = capture.host.cpuid
    khz = tsc_khz_of(capture.vcpus[0]) if capture.vcpus else 0
    found = Told(raw, supported, guest_table(capture), _feature_msrs(capture), capture.host.kernel, emulator, khz)
    if not (raw is not None and raw.xsave_table()) and found.supported is None and found.guest is None:
        raise InputError(capture.target, "an x86 host: CPUID in a capture, or words about one", capture.format)
    return found


def destination_told(name: str, told: Told, release: str, options: Options) -> Destination:
    """By what was captured of the host, the best first: its CPUID, KVM's table, a guest's table.

    Raises UsageError for a kernel that has no number.
    """
    kernel = kernel_named(profile_for, release or told.kernel or DEFAULT_RELEASE, options.note)
    same = not release or not told.kernel or release_numbers(told.kernel) == release_numbers(release)
    exact = told.kernel if told.kernel and same else release
    msrs = told.msrs if same else _shown_by(release, told.msrs)
    if told.raw is not None and told.raw.xsave_table():
        because = "the host's own CPUID was captured"
        supported = told.supported if same else None
        return destination(
            name,
            booted(told.raw),
            kernel,
            release=exact,
            supported=supported,
            msrs=msrs,
            because=because,
            tsc_khz=told.tsc_khz,
        )
    guest = told.supported or told.guest
    assert guest is not None
    because = "the table of a guest stands in for the host's"
    if told.supported:
        because = "KVM_GET_SUPPORTED_CPUID was captured"
    return destination(
        name,
        booted(guest),
        kernel,
        release=exact,
        is_raw=False,
        # A guest's own table is what its KVM gives at least, on the kernel that it was captured on.
        supported=guest if same else None,
        msrs=msrs,
        because=because,
        emulator=told.emulator,
        is_guests=told.supported is None,
        tsc_khz=told.tsc_khz,
    )


def _of_capture(capture: Capture, release: str, options: Options, name: str) -> Destination:
    return destination_told(name, told_by(capture), release, options)


def _feature_msrs(capture: Capture) -> dict[int, int]:
    """Feature MSRs of the host, else as its first guest has them."""
    wanted = {index for row in (FEATURE_VMX_RANGE, *FEATURES) for index in row.indexes}
    areas = [area for area in capture.context if area.layout == "kvm-msrs"]
    areas += [area for vcpu in capture.vcpus[:1] for area in vcpu.areas if area.layout == "kvm-msrs" and not areas]
    found: dict[int, int] = {}
    for area in areas:
        data = bytes(area.data)
        for at in range(8, len(data) - 15, 16):
            index = int.from_bytes(data[at : at + 4], "little")
            if index in wanted:
                found.setdefault(index, int.from_bytes(data[at + 8 : at + 16], "little"))
    return found


def _shown_by(release: str, msrs: Mapping[int, int]) -> dict[int, int]:
    """Feature MSRs of another kernel, with the bits that this one shows; its newest update where none is named."""
    numbers = release_numbers(release) or (0, 0)
    update = "".join(takewhile(str.isdecimal, release.split(".", 2)[-1])) if release.count(".") > 1 else ""
    exact = (*numbers[:2], int(update) if update else 1 << 16)
    return {index: value & features.shown(exact, index) for index, value in msrs.items()}


def destination_of_offer(offer: Offer, release: str, options: Options) -> Destination:
    """By names of features: what nobody tells is open."""
    if offer.accelerator == TCG:
        return _emulator(offer.name, offer, release)
    kernel = kernel_named(profile_for, release or offer.kernel or DEFAULT_RELEASE, options.note)
    because = "by names of features: what nothing names is open"
    return destination(
        offer.name,
        _cpuid_of_offer(offer),
        kernel,
        release=release or offer.kernel,
        is_raw=False,
        supported=offer.cpuid,
        offer=offer,
        because=because,
    )


def _emulator(name: str, offer: Offer, release: str) -> Destination:
    """QEMU's TCG: what max has there. No KVM, so no calls; QEMU sets the registers of its own CPU."""
    if release:
        raise UsageError(f"{name}@{release}: {name} is an emulator without KVM, so no kernel decides")
    version = name.partition(":")[2] or VERSIONS[0]
    title = f"TCG of QEMU {version}" if name.partition(":")[0] == TCG else "TCG of QEMU"
    kernel = kernel_named(profile_for, DEFAULT_RELEASE, NO_OPTIONS.note)
    kvm = destination(name, _cpuid_of_offer(offer), kernel, is_raw=False).kvm
    return Destination(
        name,
        kvm,
        is_raw=False,
        offer=offer,
        because="what -cpu max has there, by names of features; an emulator takes no calls of KVM",
        emulator=title,
    )


def _cpuid_of_offer(offer: Offer) -> Cpuid:
    """A CPU that has what is known to be there, with its vendor's places of components."""
    if offer.cpuid is not None:
        return booted(offer.cpuid)
    rows: dict[tuple[int, int], list[int]] = {}
    for word, value in offer.values.items():
        if not word.is_msr:
            rows.setdefault(word.leaf, [0, 0, 0, 0])[word.register_number] |= value
    vendor = (offer.vendor or "GenuineIntel").encode().ljust(12, b"\0")
    ebx, edx, ecx = (int.from_bytes(vendor[at : at + 4], "little") for at in (0, 4, 8))
    rows[0, 0] = [0x24, ebx, ecx, edx]
    rows[0x80000000, 0] = [0x80000022, ebx, ecx, edx]
    rows.setdefault((7, 0), [0, 0, 0, 0])[0] = 2
    rows.setdefault((0x80000008, 0), [0, 0, 0, 0])[0] = (57 if _has(rows, (7, 2, 16)) else 48) << 8 | (
        offer.phys_bits or 52
    )
    _xstate(rows, offer.vendor)
    leaves: dict[tuple[int, int], CpuidValues] = {key: (row[0], row[1], row[2], row[3]) for key, row in rows.items()}
    return booted(Cpuid(leaves))


def _has(rows: dict[tuple[int, int], list[int]], bit: tuple[int, int, int]) -> bool:
    leaf, register, number = bit
    return bool(rows.get((leaf, 0), [0, 0, 0, 0])[register] >> number & 1)


def _xstate(rows: dict[tuple[int, int], list[int]], vendor: str) -> None:
    """Leaf 0xD from the features that bring components."""
    from layouts.x86.cpus import cpu_layouts

    if not _has(rows, (1, 2, 26)):
        return
    names = _AREAS.get(vendor, _DEFAULT_AREAS)
    areas = {number: row for name in names for number, row in cpu_layouts()[name].leaf_0xd.items()}
    mask = 3 | sum(1 << number for number, bit in _COMPONENTS.items() if _has(rows, bit) and number in areas)
    xss = sum(1 << number for number in (11, 12) if _has(rows, (7, 2, 7)) or _has(rows, (7, 3, 20)))
    end = max(
        (areas[number][0] + areas[number][1] for number in range(2, 63) if mask >> number & 1), default=EXTENDED_OFFSET
    )
    rows[0xD, 0] = [mask, end, end, 0]
    one = rows.setdefault((0xD, 1), [0, 0, 0, 0])
    one[1], one[2] = end, xss if one[0] & 8 else 0
    for number in range(2, 63):
        if (mask | one[2]) >> number & 1 and number in areas:
            rows[0xD, number] = list(areas[number])
