"""The small rules under arm64's ID registers, one by one: safe values, vector lengths, SVE's ids, caches.

What is expected is read from Linux: arm64_ftr_safe_value, init_cpu_ftr_reg and update_cpu_ftr_reg (cpufeature.c);
set_sve_vls and sve_reg_to_region (kvm/guest.c); reset_clidr (kvm/sys_regs.c).
"""

from __future__ import annotations

import errno

import pytest

from inspector.machine.arm64 import caches, sve
from inspector.machine.arm64.policy import is_safe, safe_value, sanitise, unsafe_text
from layouts.arm64.ids import SVE_FFR, SVE_P0, SVE_STEP, SVE_VLS, SVE_Z0
from layouts.arm64.kernels import FieldPolicy


def field(policy: str, lsb: int = 0, *, safe: int = 0, signed: bool = False) -> FieldPolicy:
    return FieldPolicy(name="F", lsb=lsb, width=4, policy=policy, signed=signed, strict=True, safe_value=safe)


@pytest.mark.parametrize(
    ("policy", "new", "current", "safe"),
    [
        ("lower", 1, 2, 1),
        ("lower", 2, 1, 1),
        ("higher", 1, 2, 2),
        ("higher", 2, 1, 2),
        ("higher", 0, 1, 1),
        ("higher_or_zero", 1, 2, 2),
        ("higher_or_zero", 3, 2, 3),
        ("higher_or_zero", 0, 2, 0),
        ("higher_or_zero", 2, 0, 0),
        ("higher_or_zero", 0, 0, 0),
        ("exact", 1, 2, 7),
        ("exact", 2, 1, 7),
    ],
)
def test_the_safe_value_of_two(policy: str, new: int, current: int, safe: int) -> None:
    assert safe_value(field(policy, safe=7), new, current) == safe


@pytest.mark.parametrize(
    ("policy", "limit", "safe"),
    [
        ("lower", 2, {0, 1, 2}),
        ("higher", 2, {2, 3, 4}),
        ("higher_or_zero", 2, {0, 2, 3, 4}),
        # Higher than nothing is nothing.
        ("higher_or_zero", 0, {0}),
        ("exact", 2, {2, 4}),
    ],
)
def test_what_a_guest_may_have_under_a_limit(policy: str, limit: int, safe: set[int]) -> None:
    assert {value for value in range(5) if is_safe(field(policy, safe=4), value, limit)} == safe


@pytest.mark.parametrize(
    ("policy", "safe", "text"),
    [
        ("lower", 0, "F is at most 2 (found 5)"),
        ("higher", 0, "F is at least 2 (found 5)"),
        ("higher_or_zero", 0, "F is 0 or at least 2 (found 5)"),
        ("exact", 0, "F is 2 or 0 (found 5)"),
        ("exact", 2, "F is 2 (found 5)"),
    ],
)
def test_what_should_have_held(policy: str, safe: int, text: str) -> None:
    assert unsafe_text(field(policy, safe=safe), 5, 2) == text


def test_a_register_of_one_cpu_is_its_fields() -> None:
    assert sanitise([field("lower"), field("exact", 8)], [0xABCD]) == 0xB0D
    assert sanitise([field("exact", 8)], [0xABCD]) == 0xB00
    assert sanitise([field("lower")], []) == 0


def test_a_register_of_many_cpus_is_the_safe_value_of_all() -> None:
    fields = [field("lower"), field("higher", 4), field("exact", 8, safe=9), field("higher_or_zero", 12)]
    assert sanitise(fields, [0x3421, 0x1412]) == 0x3421 & ~0xF | 0x1
    assert sanitise(fields, [0x3421, 0x1412, 0x0530]) == 0x0930
    # Fields that agree keep their value: an exact one is not its safe value then.
    assert sanitise([field("exact", safe=9)], [4, 4, 4]) == 4
    assert sanitise([field("exact", safe=9)], [4, 4, 5]) == 9


def test_signed_fields_are_compared_as_signed() -> None:
    assert sanitise([field("lower", signed=True)], [0x0, 0xF]) == 0xF
    assert sanitise([field("lower")], [0x0, 0xF]) == 0x0


def test_lengths_of_a_set() -> None:
    assert sve.lengths_bytes(0b1011) == [16, 32, 64]
    assert sve.lengths_bytes(1 << 15) == [256]
    # There is no vq above 16.
    assert sve.lengths_bytes(1 << 16) == []


@pytest.mark.parametrize(
    ("asked", "hosts", "answer"),
    [
        (0b0001, 0b1011, 1),
        (0b0011, 0b1011, 2),
        (0b1011, 0b1011, 4),
        # Hidden, added, above the host's largest, none at all.
        (0b1001, 0b1011, 0),
        (0b0111, 0b1011, 0),
        (0b1111, 0b1011, 0),
        (0b1_1011, 0b1011, 0),
        (0, 0b1011, 0),
    ],
)
def test_a_set_of_lengths_is_the_hosts_up_to_its_longest(asked: int, hosts: int, answer: int) -> None:
    outcome = sve.check_vls(asked, hosts)
    assert (outcome.value, outcome.code) == ((answer, 0) if answer else (0, errno.EINVAL))
    assert outcome.source == "set_sve_vls (guest.c)"


@pytest.mark.parametrize(
    ("asked", "because"),
    [
        (0b1_0000, "no vq above the host's largest (4)"),
        (0b1001, "up to the largest, exactly the host's: none hidden, none added"),
        (0, "at least one vector length"),
    ],
)
def test_why_lengths_are_refused(asked: int, because: str) -> None:
    assert sve.check_vls(asked, 0b1011).because == because


def test_regions_of_the_registers() -> None:
    region, code = sve.region_of(SVE_Z0, 2)
    assert (region, code) == (("z0", 256, 32), 0)
    assert sve.region_of(SVE_Z0 + 31 * SVE_STEP, 16) == (("z31", 256, 256), 0)
    assert sve.region_of(SVE_P0 + 15 * SVE_STEP, 2) == (("p15", 32, 4), 0)
    assert sve.region_of(SVE_P0, 16) == (("p0", 32, 32), 0)
    assert sve.region_of(SVE_FFR, 1) == (("ffr", 32, 2), 0)


@pytest.mark.parametrize(
    ("register_id", "code"),
    [
        (SVE_Z0 + 1, errno.ENOENT),
        (SVE_Z0 + 31, errno.ENOENT),
        (SVE_FFR + 1, errno.ENOENT),
        # P registers' ids have another size.
        (SVE_Z0 + 32 * SVE_STEP, errno.EINVAL),
        (SVE_VLS, errno.EINVAL),
        (SVE_FFR + SVE_STEP, errno.EINVAL),
        (SVE_Z0 - 1, errno.EINVAL),
    ],
)
def test_slices_that_no_length_reaches_and_ids_that_are_none(register_id: int, code: int) -> None:
    assert sve.region_of(register_id, 16) == (None, code)


@pytest.mark.parametrize(
    ("register_id", "is_one"),
    [
        *((one, True) for one in (SVE_Z0, SVE_Z0 + 32 * SVE_STEP - 1, SVE_P0, SVE_FFR, SVE_FFR + 31, SVE_VLS)),
        *((one, False) for one in (SVE_Z0 - 1, SVE_Z0 + 32 * SVE_STEP, SVE_P0 - 1, SVE_FFR + 32, SVE_VLS + 1)),
    ],
)
def test_ids_of_registers_of_any_slice(register_id: int, is_one: bool) -> None:
    assert sve.is_register(register_id) is is_one


def test_the_list_has_each_register_once() -> None:
    found = sve.register_ids()
    assert len(found) == len(set(found)) == 32 + 16 + 1 + 1
    assert found[0] == SVE_VLS


IDC, DIC = 1 << 28, 1 << 29


@pytest.mark.parametrize(
    ("ctr", "clidr"),
    [
        # LoUU 29:27, LoC 26:24, LoUIS 23:21, Ctype1 2:0, Ctype2 5:3.
        (0, 1 << 27 | 1 << 24 | 1 << 21 | 3),
        (DIC, 1 << 27 | 1 << 24 | 1 << 21 | 2),
        (IDC, 2 << 24 | 4 << 3 | 1),
        (IDC | DIC, 1 << 24 | 4),
    ],
)
def test_the_cache_hierarchy_that_guests_see(ctr: int, clidr: int) -> None:
    assert caches.reset_clidr(ctr) == clidr
    level = clidr >> 24 & 7
    # Ttype is two bits a level from 33 on: tags in the line (2).
    assert caches.reset_clidr(ctr, mte=True) == clidr | 2 << (33 + 2 * (level - 1))


@pytest.mark.parametrize(
    ("kind", "data", "instructions"),
    [(0, False, False), (1, False, True), (2, True, False), (3, True, True), (4, True, False)],
)
def test_which_caches_can_be_selected(kind: int, data: bool, instructions: bool) -> None:
    for level in range(7):
        clidr = kind << 3 * level
        assert caches.has_cache(clidr, level << 1) is data
        assert caches.has_cache(clidr, level << 1 | 1) is instructions
        assert not caches.has_cache(clidr, (level + 1) % 7 << 1)


@pytest.mark.parametrize(
    ("clidr", "none"),
    [(0, True), (1 << 24, True), (1 << 24 | 1 << 21, False), (1 << 24 | 1 << 27, False), (1 << 21 | 1 << 27, True)],
)
def test_what_needs_no_cleaning(clidr: int, none: bool) -> None:
    assert caches.needs_no_cleaning(clidr) is none
