"""Minidumps, CRIU's core images, libvirt's domain capabilities."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from inspector.capture.errors import InputError
from inspector.capture.model import Capture
from inspector.decode.fields import FieldTable
from inspector.export.report.redact import Redaction
from inspector.readers.open import open_capture
from tests.fuzz import checkpoint_seeds as seeds
from tests.fuzz.text_seeds import CAPABILITIES
from tests.support import fields


def opened(tmp_path: Path, data: bytes) -> Capture:
    path = tmp_path / "dump"
    path.write_bytes(data)
    return open_capture(str(path))


def test_a_minidump_with_xstate(tmp_path: Path) -> None:
    capture = opened(tmp_path, seeds.minidump())
    assert [vcpu.name for vcpu in capture.vcpus] == ["thread 7, the exception's", "thread 8"]
    first, second = (fields(vcpu) for vcpu in capture.vcpus)
    assert first["regs.rip"].value == 0x7FF612345678
    assert first["regs.r15"].value == 0xF15
    assert first["sregs.cs.selector"].value == 0x33
    assert first["xsave.header.xstate_bv"].value == 7
    assert first["xsave.ymm[1]"].value == 0x33 << 128 | 0x22
    assert not capture.faults
    # The other thread's context has neither floating point nor XSTATE.
    assert "regs.rip" in second
    assert not any(path.startswith("xsave") for path in second)


def test_the_dump_says_where_components_are(tmp_path: Path) -> None:
    table = opened(tmp_path, seeds.minidump()).vcpus[0].areas[1].attributes["table"]
    assert (table.origin, table.guessed) == ("the dump's XSTATE configuration", False)
    assert [tuple(room[:3]) for room in table.rooms] == [(2, 256, 576)]


def test_minidumps_of_arm64(tmp_path: Path) -> None:
    for old in (False, True):
        capture = opened(tmp_path, seeds.minidump_arm64(old=old))
        found = fields(capture.vcpus[0])
        assert capture.vcpus[0].arch == "arm64"
        assert found["core.pc"].value == 0x400100
        assert found["core.x[28]"].value == 0x1C1C
        assert found["core.v[31]"].value == 0x3131


def test_minidumps_that_are_not_whole(tmp_path: Path) -> None:
    whole = seeds.minidump()
    for data, said in (
        (whole[:20], "the header of a minidump"),
        (whole[:34], "the directory of streams"),
        (whole.replace(struct.pack("<HH", 9, 0xABCD), struct.pack("<HH", 0, 0xABCD)), "32-bit x86"),
    ):
        with pytest.raises(InputError, match=said):
            opened(tmp_path, data)
    # A context that is cut is a fault; the other thread is kept.
    capture = opened(tmp_path, whole[:-100])
    assert len(capture.vcpus) == 1
    assert capture.partial


def test_criu_of_x86(tmp_path: Path) -> None:
    (vcpu,) = opened(tmp_path, seeds.criu_x86()).vcpus
    found = fields(vcpu)
    assert vcpu.name == "vec"
    assert found["regs.rip"].value == 0x1010
    assert found["sregs.fs.base"].value == 0x1015
    assert found["xsave.header.xstate_bv"].value == 0xE7
    assert found["xsave.opmask.k[3]"].value == 0x1234
    assert found["xsave.zmm[17]"].value & 0xFFFF == 8
    assert found["xsave.xmm[1]"].value == 7 << 96 | 6 << 64 | 5 << 32 | 4


def test_criu_of_aarch64(tmp_path: Path) -> None:
    (vcpu,) = opened(tmp_path, seeds.criu_arm64()).vcpus
    found = fields(vcpu)
    assert found["core.pc"].value == 0x400000
    assert found["core.x[30]"].value == 30
    assert found["core.v[1]"].value == 3 << 64 | 2
    assert found["sysreg.TPIDR_EL0"].value == 0x7777
    assert found["sysreg.APIAKeyLo_EL1"].value == 0x1111
    assert found["sysreg.APDBKeyHi_EL1"].value == 0x8888
    assert found["sysreg.APGAKeyHi_EL1"].value == 0xB
    assert found["pac_enabled_keys.keys"].value == 0x9999
    # A report has none of them.
    kept = Redaction(()).capture(opened(tmp_path, seeds.criu_arm64()), [vcpu], "capture")
    (redacted,) = kept.vcpus
    assert fields(redacted)["sysreg.APIAKeyLo_EL1"].value is None


def test_criu_that_is_not_whole(tmp_path: Path) -> None:
    whole = seeds.criu_x86()
    with pytest.raises(InputError, match="an entry"):
        opened(tmp_path, whole[:-1])
    assert opened(tmp_path, whole + b"\1").faults
    with pytest.raises(InputError, match="a task of mips"):
        opened(tmp_path, whole[:8] + b"\x02\0\0\0\x08\x06")


def test_a_windows_crash_dump(tmp_path: Path) -> None:
    capture = opened(tmp_path, seeds.win_dump())
    assert (capture.format, [vcpu.name for vcpu in capture.vcpus]) == ("win-dmp", ["CPU 0", "CPU 1"])
    for number, vcpu in enumerate(capture.vcpus):
        assert fields(vcpu)["regs.rip"].value == 0xFFFFF80012345678 + number
        assert fields(vcpu)["xsave.header.xstate_bv"].value == 3
    assert {field.path: field.text for field in FieldTable(capture.context[0])}["dump.BugcheckCode"] == "0x161"


def test_a_windows_crash_dump_that_is_not_whole(tmp_path: Path) -> None:
    whole = bytearray(seeds.win_dump())
    # Nothing leads to the contexts, and the header has none: QEMU fills it with PAGE.
    whole[0x2000 + 0x1800 : 0x2000 + 0x1808] = bytes(8)
    with pytest.raises(InputError, match="no page at 0xffff8"):
        opened(tmp_path, bytes(whole))
    # Windows' own header has the context of the CPU that stopped.
    struct.pack_into("<I", whole, 0x348 + 0x30, 0x10000F)
    struct.pack_into("<Q", whole, 0x348 + 0xF8, 0x1234)
    capture = opened(tmp_path, bytes(whole))
    assert fields(capture.vcpus[0])["regs.rip"].value == 0x1234
    assert capture.faults
    # A kernel dump has no runs behind its header.
    struct.pack_into("<I", whole, 0xF98, 2)
    assert "without all memory" in str(opened(tmp_path, bytes(whole)).faults[0])
    struct.pack_into("<I", whole, 0x30, 0x14C)
    with pytest.raises(InputError, match="machine 0x14c"):
        opened(tmp_path, bytes(whole))


def test_domain_capabilities(tmp_path: Path) -> None:
    capture = opened(tmp_path, CAPABILITIES)
    (vcpu,) = capture.vcpus
    found = {path: field.text for path, field in fields(vcpu).items()}
    assert (vcpu.name, vcpu.arch) == ("EPYC", "model")
    assert found == {"props.vendor": "AMD", "props.x2apic": "on", "props.svm": "off"}
    models = {field.path: field.text for field in FieldTable(capture.context[0])}
    assert models == {"models.Broadwell": "not usable: hle, rtm", "models.EPYC": "usable"}
    for data, said in ((b"<domainCapabilities>", "no XML"), (b"<domainCapabilities/>", "without <cpu>")):
        with pytest.raises(InputError, match=said):
            opened(tmp_path, data)
