"""The tables of arm64: encodings both ways, fields that cover their registers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layouts.arm64 import ids, kvm_ids, sysregs
from layouts.arm64.features import FEATURES, feature_of
from layouts.arm64.registers import REGISTERS


def test_names_and_encodings_are_one_to_one() -> None:
    table = sysregs.encodings()
    assert len(table) > 700
    assert len(set(table.values())) == len(table)
    for name, op in table.items():
        assert sysregs.name_of(op) == name
        assert sysregs.encoding_of(name.lower()) == op
        assert kvm_ids.explain(ids.sysreg_id(ids.encoding_of_op(op))).name == name


@given(st.tuples(st.integers(0, 3), st.integers(0, 7), st.integers(0, 15), st.integers(0, 15), st.integers(0, 7)))
def test_every_encoding_has_a_name(op: tuple[int, int, int, int, int]) -> None:
    assert sysregs.encoding_of(sysregs.name_of(op)) == op


@given(st.integers(0, (1 << 64) - 1))
def test_every_id_is_explained(register_id: int) -> None:
    known = kvm_ids.explain(register_id)
    assert known.path
    assert known.id == register_id


@pytest.mark.parametrize("name", sysregs.id_registers())
def test_id_registers_cover_64_bits(name: str) -> None:
    covered = 0
    for field in sysregs.id_registers()[name]["fields"]:
        mask = ((1 << field["width"]) - 1) << field["lsb"]
        assert not covered & mask
        covered |= mask
    assert covered == (1 << 64) - 1
    assert name in sysregs.encodings()


def test_all_fields_fit_and_do_not_overlap() -> None:
    for name in sysregs.encodings():
        register = sysregs.register_of(name)
        covered = 0
        for bits in register.bits if register else ():
            assert bits.lsb + bits.width <= 64, name
            assert not covered & bits.mask, (name, bits)
            covered |= bits.mask


def test_features_name_fields_that_exist() -> None:
    for register, field in FEATURES:
        assert any(each["name"] == field for each in sysregs.id_registers()[register]["fields"]), (register, field)
    assert feature_of("ID_AA64ISAR0_EL1", "AES", 2) == "FEAT_PMULL"
    assert feature_of("ID_AA64PFR0_EL1", "FP", 15) == ""


def test_hand_written_registers_have_encodings() -> None:
    assert set(REGISTERS) <= set(sysregs.encodings())


@pytest.mark.parametrize(
    ("register_id", "path"),
    [
        (0x603000000013C020, "sysreg.ID_AA64PFR0_EL1"),
        (0x6030000000100000, "core.x[0]"),
        (0x603000000010003C, "core.x[30]"),
        (0x603000000010003E, "core.sp"),
        (0x6030000000100040, "core.pc"),
        (0x6030000000100042, "core.pstate"),
        (0x6030000000100048, "core.spsr[0]"),
        (0x6040000000100054, "core.v[0]"),
        (0x60400000001000D0, "core.v[31]"),
        (0x60200000001000D4, "core.fpsr"),
        (0x60200000001000D5, "core.fpcr"),
        (0x6080000000150000, "sve.z[0]"),
        (0x60800000001503E0, "sve.z[31]"),
        (0x6050000000150400, "sve.p[0]"),
        (0x6050000000150600, "sve.ffr"),
        (0x606000000015FFFF, "sve.vls"),
        (0x6030000000140000, "fw.PSCI_VERSION"),
        (0x6030000000160003, "fw.VENDOR_HYP_BMAP_2"),
        (0x603000000013C5A3, "sysreg.S3_0_C11_C4_3"),
    ],
)
def test_register_ids(register_id: int, path: str) -> None:
    assert kvm_ids.explain(register_id).path == path
