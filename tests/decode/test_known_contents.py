"""The known contents of the real captures, field by field (samples/*/about.toml)."""

from __future__ import annotations

import json

import pytest

from inspector.decode.fields import FieldTable
from tests.support import SAMPLES, field, fields, opened, value_bytes

M64 = (1 << 64) - 1
ZMM0 = b"".join((0x1111111111111111 * n & M64).to_bytes(8, "little") for n in range(1, 9))
ZMM1 = b"".join((2 * 0x1111111111111111 * n & M64).to_bytes(8, "little") for n in range(1, 9))


def doubled(data: bytes) -> bytes:
    words = [int.from_bytes(data[at : at + 8], "little") for at in range(0, 64, 8)]
    return b"".join((2 * word & M64).to_bytes(8, "little") for word in words)


def test_process_core_vectors() -> None:
    found = fields(opened("amx/process.core").vcpus[0])
    assert value_bytes(found["xsave.zmm[0]"]) == ZMM0
    assert value_bytes(found["xsave.zmm[1]"]) == doubled(ZMM0) == ZMM1
    assert value_bytes(found["xsave.zmm[17]"]) == ZMM0
    assert value_bytes(found["xsave.zmm[31]"]) == ZMM1
    assert value_bytes(found["xsave.ymm[5]"]) == ZMM0[:32]
    assert found["xsave.opmask.k[3]"].value == 0x0123456789ABCDEF
    assert found["xsave.opmask.k[7]"].value == 0xFEDCBA9876543210


def test_skylake_core_died_before_the_pattern() -> None:
    """No AMX: the program got SIGILL at its first tile instruction, before it filled the vectors."""
    found = fields(opened("skylake-x/process.core").vcpus[0])
    assert found["prstatus.cursig"].text == "SIGILL"
    assert found["xsave.header.xstate_bv"].text == "opmask hi16_zmm"
    assert found["xsave.zmm[0]"].state == "initial"
    assert value_bytes(found["xsave.zmm[17]"]) == bytes([0x25]) * 32 + bytes(32)
    assert found["xsave.opmask.k[2]"].value == 0x7DFFBF7F
    assert "xsave.xtiledata.tmm[0]" not in found


def test_process_core_tiles() -> None:
    capture = opened("amx/process.core")
    found = fields(capture.vcpus[0])
    for tile in range(8):
        assert value_bytes(found[f"xsave.xtiledata.tmm[{tile}]"]) == bytes((16 * tile + j) & 0xFF for j in range(1024))
        assert found[f"xsave.xtilecfg.rows[{tile}]"].value == 16
        assert found[f"xsave.xtilecfg.colsb[{tile}]"].value == 64
    assert found["xsave.xtilecfg.palette_id"].value == 1
    assert found["xsave.pkru.pkru"].value == 0x55555554
    assert found["xsave.legacy.sw_xcr0"].value == 0x602E7
    assert capture.vcpus[0].area("xsave").size_bytes == 11008
    assert capture.vcpus[0].area("xsave").attributes["table"].origin == "note NT_X86_XSAVE_LAYOUT"
    assert not capture.partial


def test_core_has_process_context() -> None:
    capture = opened("amx/process.core")
    assert [area.prefix for area in capture.context] == ["prpsinfo", "siginfo", "auxv", "file"]
    found = {field.path: field for area in capture.context for field in FieldTable(area)}
    assert found["prpsinfo.fname"].text == "init"
    assert found["siginfo.si_signo"].text == "SIGTRAP"
    assert found["auxv.AT_MINSIGSTKSZ"].value == 11952


def test_permitted_vcpu() -> None:
    permitted, _unpermitted = opened("amx").vcpus
    found = fields(permitted)
    for tile in range(8):
        expected = bytes((0x80 + 16 * tile + 3 * j) & 0xFF for j in range(1024))
        assert value_bytes(found[f"xsave.xtiledata.tmm[{tile}]"]) == expected
    assert value_bytes(found["xsave.zmm[0]"]) == bytes((0xC0 + j) & 0xFF for j in range(64))
    assert found["xcr.xcr0"].value == 0x602E7
    assert found["msr.IA32_XFD"].value == 0
    assert found["cpuid.d.0.eax"].value == 0x602E7


def test_unpermitted_vcpu() -> None:
    found = fields(opened("amx").vcpus[1])
    assert found["xcr.xcr0"].value == 0xE7
    assert found["xsave.header.xstate_bv"].value & 0x60000 == 0
    area = opened("amx").vcpus[1].area("xsave")
    assert area.size_bytes == 4096
    assert "xsave.xtiledata.tmm[0]" not in found or found["xsave.xtiledata.tmm[0]"].value is None


@pytest.mark.parametrize("thread", range(4))
def test_zen5_threads(thread: int) -> None:
    expected = json.loads((SAMPLES / "zen5-threads/expected.json").read_text())["threads"][thread]
    vcpus = {vcpu.name: vcpu for vcpu in opened("zen5-threads/xcore.core.gz").vcpus}
    found = fields(vcpus[f"thread {expected['tid']}"])
    for number, register in enumerate(expected["zmm"]):
        assert value_bytes(found[f"xsave.zmm[{number}]"]).hex() == register, number
    for number, mask in enumerate(expected["k"]):
        wanted = int(mask, 16) if isinstance(mask, str) else mask
        assert found[f"xsave.opmask.k[{number}]"].value == wanted, number
    if "mxcsr" in expected:
        wanted = int(expected["mxcsr"], 16) if isinstance(expected["mxcsr"], str) else expected["mxcsr"]
        assert found["xsave.legacy.mxcsr"].value == wanted


def test_zen5_four_threads() -> None:
    capture = opened("zen5/process-4-threads.core")
    assert len(capture.vcpus) == 4
    seen = set()
    for vcpu in capture.vcpus:
        found = fields(vcpu)
        k1 = found["xsave.opmask.k[1]"].value
        thread = k1 // 0x1111111111111111 - 1
        seen.add(thread)
        assert found["xsave.opmask.k[7]"].value == k1
        for register in (0, 1, 2, 15, 16, 31):
            expected = bytes((0x40 * thread + 3 * register + i) & 0xFF for i in range(64))
            assert value_bytes(found[f"xsave.zmm[{register}]"]) == expected
    assert seen == {0, 1, 2, 3}
    assert field(capture.vcpus[0], "xsave.opmask.k[1]").value == 0x1111111111111111


def test_zen5_layout_is_amds() -> None:
    found = fields(opened("zen5/process-4-threads.core").vcpus[0])
    offsets = {name: found[f"xstate.{name}.offset"].value for name in ("opmask", "zmm_hi256", "hi16_zmm")}
    assert offsets == {"opmask": 0x340, "zmm_hi256": 0x380, "hi16_zmm": 0x580}
    area = opened("zen5/process-4-threads.core").vcpus[0].area("xsave")
    assert area.size_bytes == 0x980


def test_zen5_kvm_before_and_after() -> None:
    vcpus = {vcpu.name: vcpu for vcpu in opened("zen5-kvm").vcpus}
    assert field(vcpus["vcpu1_pattern"], "xsave.header.xstate_bv").value == 3
    assert field(vcpus["vcpu0_pattern"], "xsave.header.xstate_bv").value & 0xE0 == 0xE0
    image = vcpus["vcpu0 set"].area("xsave").data
    now = vcpus["vcpu0_pattern"].area("xsave").data
    # Linux writes its XCR0 mask into the software area; nothing else differs.
    assert bytes(image[:464]) + bytes(image[472:]) == bytes(now[:464]) + bytes(now[472:])
    mask = field(vcpus["vcpu0_pattern"], "xsave.legacy.sw_xcr0").value
    assert mask == 0xE7
    assert field(vcpus["vcpu0_pattern"], "regs.rax").value == 0x0101010101010101


def test_zen5_folder_takes_layout_from_host() -> None:
    capture = opened("zen5")
    table = capture.vcpus[0].area("xsave").attributes["table"]
    assert table.origin == "CPUID of the host"
    assert capture.host.cpuid.vendor() == "AuthenticAMD"


def test_initial_is_shown_as_initial() -> None:
    found = field(opened("amx/process.core").vcpus[0], "xsave.legacy.fcw")
    assert (found.state, found.value) == ("initial", 0x37F)
    assert found.data == b"\x7f\x03"
