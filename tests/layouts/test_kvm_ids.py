"""KVM register ids of x86, arm64 and riscv: explained, and read from lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from inspector.cli.main import main
from inspector.readers.open import open_capture
from layouts.kvm_ids import explain
from tests.support import fields


@pytest.mark.parametrize(
    ("register_id", "path", "size_bytes"),
    [
        (0x2030_0003_0000_0000, "shstk.ssp", 8),
        (0x2030_0002_0000_01C4, "msr.IA32_XFD", 8),
        (0x2030_0002_C000_0080, "msr.IA32_EFER", 8),
        (0x2030_0003_0000_0001, "reg.0x2030000300000001", 8),
        (0x2020_0002_0000_01C4, "reg.0x20200002000001c4", 4),
        (0x8030_0000_0100_0000, "riscv.config.isa", 8),
        (0x8030_0000_0200_0000, "riscv.core.pc", 8),
        (0x8030_0000_0200_0020, "riscv.core.mode", 8),
        (0x8030_0000_0300_0003, "riscv.csr.sscratch", 8),
        (0x8030_0000_0301_0001, "riscv.csr.aia.iprio1", 8),
        (0x8030_0000_0302_0000, "riscv.csr.smstateen.sstateen0", 8),
        (0x8030_0000_0400_0003, "riscv.timer.state", 8),
        (0x8020_0000_0500_0020, "riscv.fp_f.fcsr", 4),
        (0x8030_0000_0600_0001, "riscv.fp_d.f1", 8),
        (0x8030_0000_0700_0005, "riscv.isa_ext.i", 8),
        (0x8030_0000_0701_0000, "riscv.isa_ext.multi_en.0", 8),
        (0x8030_0000_0800_000D, "riscv.sbi_ext.mpxy", 8),
        (0x8040_0000_0900_0005, "riscv.vector.v0", 16),
        (0x8030_0000_0A01_0005, "riscv.sbi_state.fwft.pointer_masking.value", 8),
        (0x8030_0000_0B00_0000, "reg.0x803000000b000000", 8),
        (0x6030_0000_0013_C020, "sysreg.ID_AA64PFR0_EL1", 8),
        (0x6020_0000_0011_0000, "demux.CCSIDR[0]", 4),
        (0x6040_0000_0010_0054, "core.v[0]", 16),
        (0x6080_0000_0015_0000, "sve.z[0]", 256),
        (0x6050_0000_0015_0400, "sve.p[0]", 32),
        (0x6060_0000_0015_FFFF, "sve.vls", 64),
    ],
)
def test_an_id_names_its_register(register_id: int, path: str, size_bytes: int) -> None:
    known = explain(register_id)
    assert (known.path, known.size_bytes) == (path, size_bytes)


@pytest.mark.parametrize(
    ("register_id", "wanted"),
    [
        (0x6080_0000_0014_0000, 8),
        (0x6020_0000_0013_C020, 8),
        (0x6030_0000_0011_0000, 4),
        (0x6030_0000_0010_0054, 16),
        (0x6030_0000_0015_0000, 256),
        (0x6020_0000_0016_0000, 8),
    ],
)
def test_an_id_of_another_size_is_no_register(register_id: int, wanted: int) -> None:
    known = explain(register_id)
    assert known.path == f"reg.{register_id:#018x}"
    assert f"size must be {wanted} bytes" in known.title


def test_layouts_show_explains_ids(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layouts", "show", "0x2030000300000000"]) == 0
    assert "KVM_REG_GUEST_SSP" in capsys.readouterr().out
    assert main(["layouts", "show", "0x6080000000140000"]) == 0
    shown = capsys.readouterr().out
    assert "size must be 8 bytes" in shown
    assert "merged as 0x15" in shown
    assert main(["layouts", "show", "0x8030000003000003"]) == 0
    assert "KVM_REG_RISCV_CSR" in capsys.readouterr().out


def test_lists_of_x86_and_riscv_open(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("0x2030000300000000 0x7ffff000\n0x20300002000001c4 0x40000\n")
    (vcpu,) = open_capture(str(path)).vcpus
    found = fields(vcpu)
    assert vcpu.arch == "x86"
    assert found["shstk.ssp"].value == 0x7FFFF000
    assert found["msr.IA32_XFD"].text == "xtiledata"
    path.write_text('{"0x8030000002000000": "0x80200000", "0x8030000003000003": 5}')
    capture = open_capture(str(path))
    assert capture.vcpus[0].arch == "riscv"
    assert fields(capture.vcpus[0])["riscv.core.pc"].value == 0x80200000
    assert "not decoded" in capture.notices[0]
