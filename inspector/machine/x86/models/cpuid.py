"""The CPUID table that QEMU makes for a guest: levels, names, features, address widths, XSAVE.

Source: QEMU target/i386/cpu.c, cpu_x86_cpuid, x86_cpu_expand_features (levels), x86_cpu_realizefn (widths) and
x86_cpu_enable_xsave_components. Caches, topology and the PMU are not here: they are the machine's and the host's.
"""

from __future__ import annotations

from collections import defaultdict

from inspector.capture.host import Cpuid, CpuidValues
from inspector.machine.x86.models.offer import AMD, KVM, TCG, offer_of_features
from inspector.machine.x86.models.realize import Realization, realize
from inspector.machine.x86.models.request import request
from layouts.light import NamedTuple
from layouts.x86.cpus import cpu_layouts
from layouts.x86.models.features import AMD_ALIASES, features
from layouts.x86.models.qemu import numbers_of
from layouts.x86.xsave import EXTENDED_OFFSET

#: Leaves of which only a part is the model's: caches (2, 4, 0x8000_0005, 6, 1D), topology (0xB, 0x1F, 0x8000_001E),
#: MONITOR (5), the PMU (0xA, 0x8000_0022), SEV (0x8000_001F), the hypervisor's own.
NOT_TOLD = frozenset({2, 4, 5, 0xA, 0xB, 0x1F, 0x80000005, 0x80000006, 0x8000001D, 0x8000001E, 0x8000001F, 0x80000022})
_CENTAUR, _PERFMON = 0xC0000000, 0x80000022
#: TCG_PHYS_ADDR_BITS, the default of every accelerator.
_DEFAULT_PHYS_BITS = 40
#: Whose XSAVE areas the emulator has.
_INTEL = ("skylake-x", "sapphire-rapids")
#: Words whose features raise the highest leaf (x86_cpu_expand_features, x86_cpu_adjust_feat_level).
_RAISING = frozenset(
    (
        (1, 0, "edx"),
        (1, 0, "ecx"),
        (6, 0, "eax"),
        (7, 0, "ebx"),
        (7, 0, "ecx"),
        (7, 1, "eax"),
        (7, 1, "edx"),
        (7, 2, "edx"),
        (0x80000001, 0, "edx"),
        (0x80000001, 0, "ecx"),
        (0x80000007, 0, "edx"),
        (0x80000008, 0, "ebx"),
        (0x80000021, 0, "eax"),
        (0xC0000001, 0, "edx"),
        (0x8000000A, 0, "edx"),
        (0xD, 1, "eax"),
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
_Rows = defaultdict[tuple[int, int], list[int]]


class Levels(NamedTuple):
    """The highest leaves: basic, sub-leaf of 7, extended, Centaur's."""

    basic: int
    leaf_7: int
    extended: int
    centaur: int


def levels_of(made: Realization) -> Levels:
    """As asked for (``level=``), else the model's minimums raised by what the guest was to have."""
    asked, model = made.request, made.request.model
    # QEMU raises before it filters: a feature that the host lacks raises the level all the same.
    wanted = [bit.word for feature in made.expansion.features for bit in features()[feature]]
    raising = {word.leaf for word in wanted if (*word.leaf, word.register) in _RAISING}
    leaves = {leaf for leaf, _ in raising} | {_LEAF_OF[name] for name in made.expansion.features & _LEAF_OF.keys()}

    def highest(region: int, least: int) -> int:
        return max([least, *(leaf for leaf in leaves if leaf >> 28 == region)])

    return Levels(
        asked.number("level", highest(0, asked.number("min-level", model.level if model else 0))),
        asked.number("level-func7", max([0, *(subleaf for leaf, subleaf in raising if leaf == 7)])),
        asked.number("xlevel", highest(8, asked.number("min-xlevel", model.xlevel if model else 0))),
        asked.number("xlevel2", highest(0xC, asked.number("min-xlevel2", 0))),
    )


def components_of(made: Realization) -> tuple[int, int]:
    """User and supervisor components of the guest, as masks of XCR0 and XSS; none without XSAVE, or XSAVES."""
    on = made.features
    if "xsave" not in on:
        return 0, 0
    user = sum(1 << number for number, needed in _COMPONENTS.items() if on & set(needed))
    supervisor = sum(1 << number for number, needed in _SUPERVISOR.items() if on & set(needed))
    return user | 3, supervisor if "xsaves" in on else 0


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
    return _shown(made, NOT_TOLD)


def cpuid_of_model(name: str) -> Cpuid:
    """The CPUID of a CPU that has what a model has, no more: as if it were a processor, Linux runs on it."""
    asked = request(name)
    assert asked.model is not None
    made = realize(asked, offer_of_features(name, features(), accelerator=TCG))
    return _shown(made._replace(features=asked.model.features), NOT_TOLD - {_PERFMON})


def _shown(made: Realization, left_out: frozenset[int]) -> Cpuid:
    """The rows up to the highest leaf of each region."""
    levels = levels_of(made)
    highest = {0: levels.basic, 8: levels.extended, 0xC: levels.centaur}
    rows = _rows_of(made, levels)
    return Cpuid(
        {
            key: _row(rows[key])
            for key in sorted(rows)
            if key[0] not in left_out and key[0] <= highest.get(key[0] >> 28, key[0])
        }
    )


def _rows_of(made: Realization, levels: Levels) -> _Rows:
    rows: _Rows = defaultdict(lambda: [0, 0, 0, 0])
    for feature in made.features:
        for bit in features()[feature]:
            if not bit.word.is_msr:
                rows[bit.word.leaf][bit.word.register_number] |= 1 << bit.number
    vendor = made.expansion.vendor
    ebx, edx, ecx, _ = _registers(vendor.encode())
    rows[0, 0] = [levels.basic, ebx, ecx, edx]
    rows[0x80000000, 0] = [levels.extended, *((0, 0, 0) if _is_intels(made) else (ebx, ecx, edx))]
    rows[_CENTAUR, 0][0] = levels.centaur
    for leaf in (1, 0x80000001, _CENTAUR + 1):
        rows[leaf, 0][0] = version_of(made)
    rows[1, 0][1] = 8 << 8
    if vendor == AMD:
        rows[0x80000001, 0][3] = rows[0x80000001, 0][3] & ~AMD_ALIASES | rows[1, 0][3] & AMD_ALIASES
    rows[7, 0][0] = levels.leaf_7
    for write in (_names, _widths, _svm, _xsave, _amx, _avx10):
        write(rows, made)
    return rows


def _row(row: list[int]) -> CpuidValues:
    eax, ebx, ecx, edx = row
    return eax, ebx, ecx, edx


def _registers(raw: bytes) -> list[int]:
    """The first four."""
    return [int.from_bytes(raw[at : at + 4], "little") for at in (0, 4, 8, 12)]


def version_of(made: Realization) -> int:
    """Leaf 1's EAX: family, model and stepping (x86_cpuid_version_set_family and so on).

    The emulator's max has its own where the user gives no family (max_x86_cpu_realize, from 8.1 on); base has none.
    """
    asked, model, signature = made.request, made.request.model, made.offer.signature
    default = (model.family, model.model, model.stepping) if model else (0, 0, 0)
    if asked.of_host and made.expansion.accelerator == KVM and signature:
        default = signature[1:]
    elif asked.of_host and "family" not in asked.properties:
        default = (6, 6, 3)
    family = asked.number("family", default[0])
    number = asked.number("model", default[1])
    stepping = asked.number("stepping", default[2])
    return max(family - 15, 0) << 20 | number >> 4 << 16 | min(family, 15) << 8 | (number & 0xF) << 4 | stepping


def model_id_of(made: Realization) -> str:
    """The brand string: the user's, the model's, or the host's."""
    asked = made.request
    model_id = made.offer.model_id if asked.of_host else (asked.model.model_id if asked.model else "")
    return asked.properties.get("model-id", model_id)


def _names(rows: _Rows, made: Realization) -> None:
    # The bytes that QEMU gets, whatever they are.
    raw = model_id_of(made).encode(errors="surrogateescape")
    for number in (2, 3, 4):
        rows[0x80000000 + number, 0] = _registers(raw[16 * (number - 2) :])


def _widths(rows: _Rows, made: Realization) -> None:
    row = rows[0x80000008, 0]
    row[0] = phys_bits_of(made)
    if "lm" in made.features:
        guest = made.request.number("guest-phys-bits", 0)
        row[0] |= (57 if "la57" in made.features else 48) << 8 | (guest if guest < 0x100 else 0) << 16


def _svm(rows: _Rows, made: Realization) -> None:
    if "svm" in made.features:
        rows[0x8000000A, 0][:2] = 1, 0x10


def _xsave(rows: _Rows, made: Realization) -> None:
    """Leaf 0xD. Sizes and offsets are the host's, under TCG Intel's (x86_ext_save_areas)."""
    user, supervisor = components_of(made)
    if not user:
        rows.pop((0xD, 1), None)
        return
    host = made.offer.cpuid.xsave_table() if made.offer.cpuid else _emulators_areas()
    room = {number: row for number, row in sorted(host.items()) if number > 1 and (user | supervisor) >> number & 1}
    # A supervisor component has no offset, and ends nowhere.
    end = max([EXTENDED_OFFSET, *(size + offset for size, offset, _, _ in room.values())])
    # Under KVM EBX is ECX at first, under TCG it follows XCR0, which is 1 at reset.
    first = end if made.expansion.accelerator == KVM else EXTENDED_OFFSET
    rows[0xD, 0] = [user, first, end, 0]
    compacted = EXTENDED_OFFSET
    for size, _, flags, _ in room.values():
        compacted = (-(-compacted // 64) * 64 if flags & 2 else compacted) + size
    rows[0xD, 1][1:3] = compacted, supervisor
    for number, (size, offset, flags, _) in room.items():
        rows[0xD, number] = [size, offset, flags, 0]


def _is_intels(made: Realization) -> bool:
    """From 10.1 on leaf 0x8000_0000 of Intel and Zhaoxin names no vendor (x-vendor-cpuid-only-v2)."""
    since = numbers_of(made.request.models.version) >= (10, 1)
    is_intel = made.expansion.vendor in ("GenuineIntel", "CentaurHauls", "  Shanghai  ")
    return is_intel and made.request.flag("x-vendor-cpuid-only-v2", otherwise=since)


def _emulators_areas() -> dict[int, CpuidValues]:
    """TCG's XSAVE areas: Intel's, bound registers too."""
    return {number: row for name in _INTEL for number, row in cpu_layouts()[name].leaf_0xd.items()}


def _amx(rows: _Rows, made: Realization) -> None:
    """Leaves 0x1D and 0x1E as QEMU writes them for every CPU: Sapphire Rapids', the highest sub-leaf the host's."""
    if "amx-tile" not in made.features:
        return
    rows[0x1D, 0], rows[0x1D, 1] = [1, 0, 0, 0], [0x04002000, 0x00080040, 16, 0]
    host = made.offer.cpuid.get(0x1E) if made.offer.cpuid else None
    highest = host[0] if host else int((0x1E, 1) in rows)
    rows[0x1E, 0] = [highest if _knows(made, "amx-fp8") else 0, 0x4010, 0, 0]


def _avx10(rows: _Rows, made: Realization) -> None:
    """Leaf 0x24: the version, which also decides the highest sub-leaf (builtin_avx10_defs).

    It is the model's or the user's, where the host's is lower that one; for host and max it is the host's. Every CPU
    of version 2 has AVX10_VNNI_INT (Intel AVX10.2 specification), by which one without a table is told.
    """
    if "avx10" not in made.features:
        return
    model, host = made.request.model, made.offer.cpuid.get(0x24) if made.offer.cpuid else None
    highest = host[1] & 0xFF if host else 1 + bool(made.offer.has("avx10-vnni-int"))
    version = made.request.number("avx10-version", model.avx10_version if model else highest)
    rows[0x24, 0][0] = int(version > 1 and _knows(made, "avx10-vnni-int"))
    rows[0x24, 0][1] |= min(version, highest)


def _knows(made: Realization, feature: str) -> bool:
    """Whether that QEMU has the sub-leaf of which the feature is."""
    return feature not in made.request.models.lacks
