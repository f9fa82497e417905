"""arm64 cores: every note of every thread, against how each was decoded when it was made."""

from __future__ import annotations

import json

import pytest

from tests.support import SAMPLES, core64, fields, note, opened

PATTERN = bytes((0x11 + 7 * i + (i >> 8)) & 0xFF for i in range(4096))
CORES = ("max-72", "max-mte-72", "max-612", "neoverse-v1-72", "cortex-a57-72")


@pytest.mark.parametrize(("name", "vl_bytes"), [("sve-default.core", 64), ("sve-vl32.core", 32)])
def test_sve_process(name: str, vl_bytes: int) -> None:
    found = fields(opened(f"arm64-process/{name}").vcpus[0])
    assert found["sve.vl_bytes"].value == vl_bytes
    for nth, register in enumerate((0, 1, 2, 3, 15, 31)):
        assert found[f"sve.z[{register}]"].data == PATTERN[nth * vl_bytes : (nth + 1) * vl_bytes]
    lanes = {0: "all .b", 2: "all .h", 3: "all .s", 4: "no lane", 15: "all .d"}
    assert {n: found[f"sve.p[{n}]"].text for n in lanes} == lanes
    assert found["sve.p[1]"].value.bit_count() == min(16, vl_bytes)
    assert found["svcr"].value == 0


def test_za_process() -> None:
    found = fields(opened("arm64-process/sme-za.core").vcpus[0])
    assert found["za.vl_bytes"].value == 32
    for row in range(32):
        start = 256 * row
        assert found[f"za.row[{row}]"].data == bytes((3 * n + (n >> 8)) & 0xFF for n in range(start, start + 32))
    assert found["svcr"].value & 2
    assert "za1.h[0]" in found["za.row[1]"].spec.title


@pytest.mark.parametrize("name", CORES)
def test_five_threads(name: str) -> None:
    decoded = json.loads((SAMPLES / f"arm64-threads/{name}.decoded.json").read_text())
    capture = opened(f"arm64-threads/{name}.core.gz")
    vcpus = {vcpu.name: vcpu for vcpu in capture.vcpus}
    assert len(vcpus) == 5
    assert not capture.faults
    for thread in decoded.values():
        found = fields(vcpus[f"thread {thread['tid']}"])
        assert hex(found["core.x[9]"].value) == thread["x9"]
        assert hex(found["core.pstate"].value) == thread["pstate"]
        fpsr, fpcr = thread["fpsr/fpcr"]
        assert (hex(found["core.fpsr"].value), hex(found["core.fpcr"].value)) == (fpsr, fpcr)
        raw = bytes.fromhex(thread["TLS"])
        assert found["sysreg.TPIDR_EL0"].data == raw[:8]
        if len(raw) == 16:
            assert found["sysreg.TPIDR2_EL0"].data == raw[8:]
        check_system(found, thread)
        check_vectors(found, thread)


def check_system(found: dict, thread: dict) -> None:
    pairs = {
        "FPMR": "sysreg.FPMR",
        "SYSTEM_CALL": "system_call.number",
        "PAC_ENABLED_KEYS": "pac_enabled_keys.keys",
        "TAGGED_ADDR_CTRL": "tagged_addr_ctrl.ctrl",
        "ZT0": "zt0",
    }
    for key, path in pairs.items():
        if key in thread:
            assert found[path].data.hex().startswith(thread[key]), key
    if "PACA_KEYS" in thread:
        names = [f"sysreg.AP{key}Key{half}_EL1" for key in ("IA", "IB", "DA", "DB") for half in ("Lo", "Hi")]
        assert b"".join(found[name].data for name in names).hex() == thread["PACA_KEYS"]
        both = found["sysreg.APGAKeyLo_EL1"].data + found["sysreg.APGAKeyHi_EL1"].data
        assert both.hex() == thread["PACG_KEYS"]
        masks = found["pac_mask.data_mask"].data + found["pac_mask.insn_mask"].data
        assert masks.hex() == thread["PAC_MASK"]
    if "GCS" in thread:
        members = ("features_enabled", "features_locked", "gcspr_el0")
        assert b"".join(found[f"gcs.{name}"].data for name in members).hex() == thread["GCS"]


def check_vectors(found: dict, thread: dict) -> None:
    for key, prefix in (("SVE", "sve"), ("SSVE", "ssve"), ("ZA", "za")):
        if key not in thread:
            continue
        header = thread[key]
        assert found[f"{prefix}.size"].value == header["size"]
        assert found[f"{prefix}.vl_bytes"].value == header["vl"]
        assert found[f"{prefix}.max_vl_bytes"].value == header["maxvl"]
        assert hex(found[f"{prefix}.flags"].value) == header["flags"]
        has_registers = f"{prefix}.z[0]" in found
        if "ffr" in header:
            assert has_registers
            assert found[f"{prefix}.ffr"].data.hex() == header["ffr"]
            assert len(found[f"{prefix}.z[31]"].data) == header["vl"]
        if header["size"] == 16:
            assert not has_registers
            assert f"{prefix}.row[0]" not in found


def test_threads_have_their_own_vector_lengths() -> None:
    lengths = {fields(vcpu)["sve.vl_bytes"].value for vcpu in opened("arm64-threads/max-72.core.gz").vcpus}
    assert len(lengths) > 1


def test_tls_without_tpidr2(tmp_path) -> None:
    status = bytearray(392)
    notes = note("CORE", 1, bytes(status)) + note("LINUX", 0x401, (7).to_bytes(8, "little"))
    path = tmp_path / "core"
    path.write_bytes(core64(notes, machine=183))
    from inspector.readers.open import open_capture

    found = fields(open_capture(str(path)).vcpus[0])
    assert found["sysreg.TPIDR_EL0"].value == 7
    assert found["sysreg.TPIDR2_EL0"].value is None


@pytest.mark.parametrize("vl", [0, 1, 17, 272, 0xFFFF])
def test_impossible_vector_lengths(tmp_path, vl: int) -> None:
    from inspector.readers.open import open_capture

    header = (64).to_bytes(4, "little") * 2 + vl.to_bytes(2, "little") * 2 + b"\1\0\0\0"
    notes = note("CORE", 1, bytes(392)) + note("LINUX", 0x405, header + bytes(48)) + note("LINUX", 0x40C, header)
    path = tmp_path / "core"
    path.write_bytes(core64(notes, machine=183))
    found = fields(open_capture(str(path)).vcpus[0])
    assert found["sve.vl_bytes"].value == vl
    assert "sve.z[0]" not in found


def test_za_by_tile() -> None:
    from inspector.decode.fields import FieldTable

    table = FieldTable(opened("arm64-process/sme-za.core").vcpus[0].area("za"))
    found = table.find("za.s[1].row[*]")
    assert len(found) == 8
    assert table.decode(found[2]).data == table.get("za.row[9]").data
