"""The CPUID table that QEMU makes for a guest: levels, names, features, address widths, XSAVE.

Source: QEMU target/i386/cpu.c, cpu_x86_cpuid, x86_cpu_expand_features (levels), x86_cpu_realizefn (widths) and
x86_cpu_enable_xsave_components. Caches, topology and the PMU are not here: they are the machine's and the host's.
"""

from __future__ import annotations

from inspector.capture.host import Cpuid, CpuidValues
from inspector.machine.x86.models.offer import AMD, KVM, TCG, offer_of_features
from inspector.machine.x86.models.realize import Realization, realize
from inspector.machine.x86.models.request import request
from layouts.light import NamedTuple
from layouts.x86.cpus import cpu_layouts
from layouts.x86.models.features import AMD_ALIASES, Word, features
from layouts.x86.models.qemu import numbers_of
from layouts.x86.xsave import EXTENDED_OFFSET

#: Leaves of which only a part is the model's: caches (2, 4, 0x8000_0005, 6, 1D), topology (0xB, 0x1F, 0x8000_001E),
#: MONITOR (5), the PMU (0xA, 0x8000_0022), SEV (0x8000_001F), the hypervisor's own.
NOT_TOLD = frozenset({2, 4, 5, 0xA, 0xB, 0x1F, 0x80000005, 0x80000006, 0x8000001D, 0x8000001E, 0x8000001F, 0x80000022})
#: Of those, what is the CPU's all the same; and what no guest has at the level of its model.
_OF_A_CPU = frozenset({0x1E, 0x24, 0x80000022, 0xC0000001})
_CENTAUR = 0xC0000000
#: TCG_PHYS_ADDR_BITS, the default of every accelerator.
_DEFAULT_PHYS_BITS = 40
#: Whose XSAVE areas the emulator has.
_INTEL = ("skylake-x", "sapphire-rapids")
#: Words whose features raise the highest leaf (x86_cpu_adjust_feat_level).
_RAISING = frozenset(
    (
        "1.edx",
        "1.ecx",
        "6.eax",
        "7.ebx",
        "7.ecx",
        "7.1.eax",
        "7.1.edx",
        "7.2.edx",
        "80000001.edx",
        "80000001.ecx",
        "80000007.edx",
        "80000008.ebx",
        "c0000001.edx",
        "8000000a.edx",
        "d.1.eax",
    )
)
_LEAF_OF = {"svm": 0x8000000A, "sgx": 0x12, "intel-pt": 0x14, "avx10": 0x24, "apxf": 0x29}
#: User and supervisor components, and the features that bring each (x86_ext_save_areas).
_COMPONENTS = {
    2: ("avx",),
    3: ("mpx",),
    4: ("mpx",),
    5: ("avx512f", "avx10"),
    6: ("avx512f", "avx10"),
    7: ("avx512f", "avx10"),
    9: ("pku",),
    17: ("amx-tile",),
    18: ("amx-tile",),
    19: ("apxf",),
}
_SUPERVISOR = {11: ("cet-ss", "cet-ibt"), 12: ("cet-ss", "cet-ibt"), 15: ("arch-lbr",)}


class Levels(NamedTuple):
    """The highest leaves: basic, sub-leaf of 7, extended, Centaur's."""

    basic: int
    leaf_7: int
    extended: int
    centaur: int


def levels_of(made: Realization) -> Levels:
    """As asked for (``level=``), else the model's minimums raised by what the guest was to have."""
    asked, model = made.request, made.request.model
    basic = asked.number("min-level", model.level if model else 0)
    extended = asked.number("min-xlevel", model.xlevel if model else 0)
    centaur = asked.number("min-xlevel2", model.xlevel2 if model else 0)
    leaf_7 = 0
    # QEMU raises before it filters: a feature that the host lacks raises the level all the same.
    for feature in made.expansion.features:
        for bit in features()[feature]:
            if not _raises(bit.word):
                continue
            leaf = bit.word.at
            basic = max(basic, leaf) if leaf < 0x40000000 else basic
            extended = max(extended, leaf) if leaf >> 28 == 8 else extended
            centaur = max(centaur, leaf) if leaf >> 28 == 0xC else centaur
            leaf_7 = max(leaf_7, bit.word.subleaf or 0) if leaf == 7 else leaf_7
        leaf = _LEAF_OF.get(feature, 0)
        if leaf >> 31:
            extended = max(extended, leaf)
        else:
            basic = max(basic, leaf)
    return Levels(
        asked.number("level", basic),
        asked.number("level-func7", leaf_7),
        asked.number("xlevel", extended),
        asked.number("xlevel2", centaur),
    )


def _raises(word: Word) -> bool:
    if word.is_msr:
        return False
    sub = f".{word.subleaf:x}" if word.subleaf else ""
    return f"{word.at:x}{sub}.{word.register}" in _RAISING or word.at == 0x80000021


def components_of(made: Realization) -> tuple[int, int]:
    """User and supervisor components of the guest, as masks of XCR0 and XSS; none without XSAVE."""
    on = made.features
    if "xsave" not in on:
        return 0, 0
    user = sum(1 << number for number, needed in _COMPONENTS.items() if on & set(needed))
    supervisor = sum(1 << number for number, needed in _SUPERVISOR.items() if on & set(needed))
    return user | 3, supervisor


def phys_bits_of(made: Realization) -> int:
    """Physical address bits of the guest; 0 where they are the host's, which is not known.

    ``host-phys-bits`` takes the host's, up to ``host-phys-bits-limit``; host and max have it on under KVM
    (host_cpu_realizefn, target/i386/host-cpu.c).
    """
    asked = made.request
    if "lm" not in made.features:
        return 36 if made.features & {"pse36", "pae"} else 32
    of_host = asked.flag("host-phys-bits", otherwise=asked.of_host and made.expansion.accelerator == KVM)
    if of_host:
        limit = asked.number("host-phys-bits-limit", 0)
        return min(made.offer.phys_bits, limit) if limit else made.offer.phys_bits
    return asked.number("phys-bits", 0) or _DEFAULT_PHYS_BITS


def guest_cpuid(made: Realization) -> Cpuid:
    """The leaves that the model decides, on one vCPU; those of :data:`NOT_TOLD` are left out."""
    rows: dict[tuple[int, int], list[int]] = {}
    levels = levels_of(made)
    for feature in made.features:
        for bit in features()[feature]:
            if not bit.word.is_msr:
                rows.setdefault(bit.word.leaf, [0, 0, 0, 0])[bit.word.register_number] |= 1 << bit.number
    vendor = _registers(made.expansion.vendor.ljust(12, "\0")[:12])
    extended = rows.setdefault((0x80000001, 0), [0, 0, 0, 0])
    basic = rows.setdefault((1, 0), [0, 0, 0, 0])
    basic[0] = extended[0] = version_of(made)
    basic[1] |= 8 << 8
    if made.expansion.vendor == AMD:
        extended[3] = extended[3] & ~AMD_ALIASES | basic[3] & AMD_ALIASES
    rows[0, 0] = [levels.basic, vendor[0], vendor[2], vendor[1]]
    rows[0x80000000, 0] = [levels.extended, *((0, 0, 0) if _is_intels(made) else (vendor[0], vendor[2], vendor[1]))]
    rows.setdefault((7, 0), [0, 0, 0, 0])[0] = levels.leaf_7
    _names(rows, made)
    _widths(rows, made)
    _svm(rows, made)
    _xsave(rows, made)
    _amx(rows, made)
    return Cpuid({key: _row(row) for key, row in sorted(rows.items()) if _is_shown(key, levels)})


def cpuid_of_model(name: str) -> Cpuid:
    """The CPUID of a CPU that has what a model has, no more: as if it were a processor, Linux runs on it."""
    asked = request(name)
    model = asked.model
    assert model is not None
    made = realize(asked, offer_of_features(name, features(), accelerator=TCG))
    rows = {key: list(row) for key, row in guest_cpuid(made._replace(features=model.features)).leaves.items()}
    for bit in (bit for feature in model.features for bit in features()[feature] if bit.word.at in _OF_A_CPU):
        row = rows.setdefault(bit.word.leaf, [0, 0, 0, 0])
        row[bit.word.register_number] |= 1 << bit.number
    for leaf in (0x1E, 0x24):
        if (leaf, 1) in rows:
            rows.setdefault((leaf, 0), [0, 0, 0, 0])[0] = 1
    if _CENTAUR + 1 in {leaf for leaf, _ in rows}:
        rows[_CENTAUR, 0] = [_CENTAUR + 4, 0, 0, 0]
    extended = rows.setdefault((0x80000000, 0), [0, 0, 0, 0])
    extended[0] = max(0, *(leaf for leaf, _ in rows if leaf >> 16 == 0x8000))
    return Cpuid({key: _row(row) for key, row in sorted(rows.items())})


def _row(row: list[int]) -> CpuidValues:
    eax, ebx, ecx, edx = row
    return eax, ebx, ecx, edx


def _is_shown(key: tuple[int, int], levels: Levels) -> bool:
    leaf = key[0]
    highest = {0: levels.basic, 8: levels.extended, 0xC: levels.centaur}.get(leaf >> 28)
    return leaf not in NOT_TOLD and (highest is None or leaf <= highest)


def _registers(text: str) -> list[int]:
    raw = text.encode("latin-1", "replace")
    return [int.from_bytes(raw[at : at + 4], "little") for at in range(0, len(raw), 4)]


def version_of(made: Realization) -> int:
    """Leaf 1's EAX: family, model and stepping (x86_cpuid_version_set_family and so on)."""
    asked, model, signature = made.request, made.request.model, made.offer.signature
    if asked.of_host and made.expansion.accelerator == KVM and signature:
        default = signature[1:]
    else:
        default = (model.family, model.model, model.stepping) if model else (6, 6, 3)
    family = asked.number("family", default[0])
    number = asked.number("model", default[1])
    stepping = asked.number("stepping", default[2])
    family_bits = (0xF00 | (family - 15) << 20) if family > 15 else family << 8
    return family_bits | (number & 0xF) << 4 | number >> 4 << 16 | stepping


def model_id_of(made: Realization) -> str:
    """The brand string: the user's, the model's, or the host's."""
    asked = made.request
    model_id = made.offer.model_id if asked.of_host else (asked.model.model_id if asked.model else "")
    return asked.properties.get("model-id", model_id)


def _names(rows: dict[tuple[int, int], list[int]], made: Realization) -> None:
    words = _registers(model_id_of(made).ljust(48, "\0")[:48])
    for number in range(3):
        rows[0x80000002 + number, 0] = words[4 * number : 4 * number + 4]


def _widths(rows: dict[tuple[int, int], list[int]], made: Realization) -> None:
    row = rows.setdefault((0x80000008, 0), [0, 0, 0, 0])
    row[0] = phys_bits_of(made)
    if "lm" in made.features:
        guest = made.request.number("guest-phys-bits", 0)
        row[0] |= (57 if "la57" in made.features else 48) << 8 | (guest if guest < 0x100 else 0) << 16


def _svm(rows: dict[tuple[int, int], list[int]], made: Realization) -> None:
    if "svm" in made.features:
        row = rows.setdefault((0x8000000A, 0), [0, 0, 0, 0])
        row[0], row[1] = 1, 0x10


def _xsave(rows: dict[tuple[int, int], list[int]], made: Realization) -> None:
    """Leaf 0xD. Sizes and offsets are the host's, under TCG Intel's (x86_ext_save_areas)."""
    user, supervisor = components_of(made)
    if not user:
        rows.pop((0xD, 1), None)
        return
    host = made.offer.cpuid.xsave_table() if made.offer.cpuid else _emulators_areas()
    room = {number: host[number] for number in range(2, 63) if (user | supervisor) >> number & 1 and number in host}
    end = max((row[0] + row[1] for number, row in room.items() if user >> number & 1), default=EXTENDED_OFFSET)
    # Under KVM EBX is ECX at first, under TCG it follows XCR0, which is 1 at reset.
    first = end if made.expansion.accelerator == KVM else EXTENDED_OFFSET
    rows[0xD, 0] = [user & 0xFFFFFFFF, first, end, user >> 32]
    one = rows.setdefault((0xD, 1), [0, 0, 0, 0])
    one[1] = EXTENDED_OFFSET
    for row in (room[number] for number in sorted(room)):
        one[1] = (-(-one[1] // 64) * 64 if row[2] & 2 else one[1]) + row[0]
    one[2], one[3] = supervisor & 0xFFFFFFFF, supervisor >> 32
    for number, (size, offset, flags, _) in room.items():
        is_user = user >> number & 1
        rows[0xD, number] = [size, offset if is_user else 0, flags & 6 if is_user else 1, 0]


def _is_intels(made: Realization) -> bool:
    """From 10.1 on leaf 0x8000_0000 of Intel and Zhaoxin names no vendor (x-vendor-cpuid-only-v2)."""
    since = numbers_of(made.request.models.version) >= (10, 1)
    is_intel = made.expansion.vendor in ("GenuineIntel", "CentaurHauls", "  Shanghai  ")
    return is_intel and made.request.flag("x-vendor-cpuid-only-v2", otherwise=since)


def _emulators_areas() -> dict[int, CpuidValues]:
    """TCG's XSAVE areas: Intel's, bound registers too."""
    return {number: row for name in _INTEL for number, row in cpu_layouts()[name].leaf_0xd.items()}


def _amx(rows: dict[tuple[int, int], list[int]], made: Realization) -> None:
    """Leaves 0x1D and 0x1E as QEMU writes them for every CPU: Sapphire Rapids'."""
    if "amx-tile" in made.features:
        rows[0x1D, 0], rows[0x1D, 1] = [1, 0, 0, 0], [0x04002000, 0x00080040, 16, 0]
        rows.setdefault((0x1E, 0), [0, 0, 0, 0])[1] = 0x4010
