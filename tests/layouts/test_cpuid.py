"""CPUID bit tables: whole, without overlap, and where the world says that the bits are."""

from __future__ import annotations

import gzip
import json
import re
import struct

import pytest

from layouts.vocabulary import Bits
from layouts.x86.cpuid import KVM_SIGNATURE, cpuid_register, cpuid_sections, known_leaf, kvm_base
from layouts.x86.cpuid_subleaves import SUBLEAVES
from tests.shared import SHARED, needs

Place = tuple[int, int, str, int, int]

#: Names of the public table that were wrong: sub-leaf 2 of leaf 0x10 is the L2's.
_OTHERWISE: dict[Place, str | None] = {
    (0x10, 2, "ecx", 1, 1): None,
    (0x10, 2, "ecx", 2, 1): "cdp_l2",
}


def every_bit() -> dict[Place, Bits]:
    found: dict[Place, Bits] = {}
    for (leaf, register), sections in cpuid_sections().items():
        for section in sections:
            for bits in section.bits:
                for subleaf in section.subleaves:
                    found[leaf, subleaf, register, bits.lsb, bits.width] = bits
    return found


def test_sections_do_not_overlap() -> None:
    taken: dict[tuple[int, int, str], int] = {}
    for (leaf, subleaf, register, _, _), bits in every_bit().items():
        key = leaf, subleaf, register
        assert bits.mask < 1 << 32
        assert not taken.get(key, 0) & bits.mask, (key, bits)
        taken[key] = taken.get(key, 0) | bits.mask
    for (leaf, register), sections in cpuid_sections().items():
        numbers = [number for section in sections for number in section.subleaves]
        assert len(set(numbers)) == len(numbers), (leaf, register)


def test_every_bit_is_told_shortly() -> None:
    for place, bits in every_bit().items():
        assert re.fullmatch(r"[a-z0-9_]{1,32}", bits.name), place
        assert 1 < len(bits.meaning) < 75, place
        assert all(0 <= value < 1 << bits.width for value in bits.values), place
    sources = {section.source for sections in cpuid_sections().values() for section in sections}
    assert all(re.search(r"SDM|APM|319433|355828|56375|TDX|Linux|Transmeta|VIA", source) for source in sources)


@pytest.mark.parametrize(
    ("leaf", "subleaf", "register", "name", "lsb"),
    [
        (0x1E, 1, "eax", "amx_fp8", 4),
        (0x1E, 1, "eax", "amx_tf32", 6),
        (0x1E, 1, "eax", "amx_avx512", 7),
        (0x1E, 1, "eax", "amx_movrs", 8),
        (0x24, 0, "ebx", "avx10_512", 18),
        (0x24, 1, "ecx", "avx10_vnni_int", 2),
        (7, 1, "edx", "apx_f", 21),
        (7, 1, "ecx", "msr_imm", 5),
        (7, 2, "edx", "bhi_ctrl", 4),
        (0xD, 17, "ecx", "xfd_faulting", 2),
        (0x80000021, 0, "ecx", "tsa_sq_no", 1),
        (0x80000026, 2, "ecx", "domain_type", 8),
        (0x40000001, 0, "eax", "kvm_clocksource_stable", 24),
    ],
)
def test_what_kernels_learned_lately(leaf: int, subleaf: int, register: str, name: str, lsb: int) -> None:
    found = cpuid_register(leaf, subleaf, register)
    assert found is not None
    assert next(bits.lsb for bits in found.bits if bits.name == name) == lsb


def test_leaves_with_sub_leaves_say_how_many() -> None:
    several = {leaf for leaf, subleaf, *_ in every_bit() if subleaf}
    assert several <= SUBLEAVES.keys()


def test_leaves_of_hypervisors_are_those_of_the_one_that_is_there() -> None:
    kvm, hyper_v = b"KVMKVMKVM\0\0\0", b"Microsoft Hv"
    assert known_leaf(0x40000001, {0x40000000: kvm}) == 0x40000001
    assert known_leaf(0x40000001, {0x40000000: hyper_v}) is None
    assert known_leaf(0x40000101, {0x40000000: hyper_v, 0x40000100: kvm}) == 0x40000001
    assert known_leaf(0x40000010, {0x40000000: b"VMwareVMware"}) == 0x40000010
    assert known_leaf(0x40000000, {}) == 0x40000000
    assert known_leaf(7, {}) == 7


def test_where_kvm_has_its_leaves() -> None:
    kvm, hyper_v = ((0, *struct.unpack("<3I", name)) for name in (KVM_SIGNATURE, b"Microsoft Hv"))
    first, second, last, behind = ((leaf, 0) for leaf in (0x40000000, 0x40000100, 0x4000FF00, 0x40010000))
    assert [kvm_base(rows) for rows in ({}, {first: kvm}, {first: kvm, second: kvm})] == [0x40000000] * 3
    assert [kvm_base({first: hyper_v, at: kvm}) for at in (second, last, behind)] == [0x40000100, 0x4000FF00, None]
    assert kvm_base({first: hyper_v, (0x40000080, 0): kvm}) is None


@needs(SHARED / "data/cpuid.csv")
def test_places_agree_with_a_public_table() -> None:
    ours = every_bit()
    for line in (SHARED / "data/cpuid.csv").read_text("utf-8").splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        leaf, subleaves, register, place, name, _ = (part.strip() for part in line.split(",", 5))
        high, _, low = place.partition(":")
        last, _, first = subleaves.partition(":")
        for subleaf in range(int(first or last), int(last) + 1):
            key = int(leaf, 16), subleaf, register, int(low or high), int(high) - int(low or high) + 1
            found = ours.get(key)
            assert (found.name if found else None) == _OTHERWISE.get(key, name), key


@needs(SHARED / "data/x86-cpu-models")
def test_every_feature_bit_of_qemu_has_a_name() -> None:
    path = SHARED / "data/x86-cpu-models/feature-bits-qemu-11.1.3.json.gz"
    features = json.loads(gzip.decompress(path.read_bytes()))["features"]
    bits = [bit for feature in features.values() for bit in feature.get("bits", ())]
    assert len(bits) > 300
    for leaf, subleaf, register, number in bits:
        found = cpuid_register(leaf, subleaf or 0, register.lower())
        assert found is not None
        assert found.known_mask >> number & 1, (hex(leaf), subleaf, register, number)
