from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest

from inspector.capture.errors import InputError
from inspector.capture.model import Area, Capture, Origin, Vcpu
from inspector.export.raw import write_raw
from inspector.readers.open import open_capture
from layouts.registry import size_bytes
from layouts.vocabulary import Layout
from layouts.x86.kvm import STRUCTS
from tests.support import SAMPLES, field, opened


def test_one_vcpu_for_each_prefix() -> None:
    assert [vcpu.name for vcpu in opened("amx").vcpus] == ["vcpu-permitted", "vcpu-unpermitted"]
    names = [vcpu.name for vcpu in opened("zen5-kvm").vcpus]
    assert names == ["vcpu0 set", "vcpu0_pattern", "vcpu0_reset", "vcpu0_reset_nocpuid", "vcpu1 set", "vcpu1_pattern"]


def test_all_structures_of_a_vcpu() -> None:
    vcpu = opened("zen5-kvm").vcpus[1]
    expected = {
        *("cpuid", "debugregs", "fpu", "lapic", "mp_state", "msr", "regs", "sregs", "sregs2"),
        *("vcpu_events", "xcr", "xsave", "kvm_xsave"),
    }
    assert {area.prefix for area in vcpu.areas} == expected
    assert field(vcpu, "mp_state.mp_state").text == "STATE=RUNNABLE"
    assert field(vcpu, "xcr.xcr0").value == 0xE7
    assert field(vcpu, "lapic.version").value is not None


def test_host_tables_are_context() -> None:
    prefixes = {area.prefix for area in opened("zen5-kvm").context}
    assert prefixes >= {"supported_cpuid", "emulated_cpuid", "feature_msrs", "msr_index_list"}


def test_vcpu_without_cpuid_takes_the_hosts_layout() -> None:
    vcpu = opened("zen5-kvm").vcpus[-1]
    assert vcpu.area("xsave").attributes["table"].origin == "CPUID of the host"


def test_packed_members_and_lone_sregs2(tmp_path: Path) -> None:
    for name in ("kvm_regs.bin", "kvm_sregs2.bin"):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress((SAMPLES / "zen5" / name).read_bytes()))
    (vcpu,) = open_capture(str(tmp_path)).vcpus
    assert {area.prefix for area in vcpu.areas} == {"regs", "sregs"}
    assert field(vcpu, "sregs.cr0").value == 0x60000010


def test_short_members_are_faults_and_the_rest_is_there(tmp_path: Path) -> None:
    shutil.copy(SAMPLES / "zen5/kvm_regs.bin", tmp_path)
    (tmp_path / "kvm_sregs.bin").write_bytes(b"\1" * 100)
    (tmp_path / "kvm_xsave.bin").write_bytes(bytes(700))
    (tmp_path / "kvm_fpu.bin").write_bytes(b"")
    capture = open_capture(str(tmp_path))
    assert len(capture.faults) == 3
    assert field(capture.vcpus[0], "regs.rip").value is not None
    assert field(capture.vcpus[0], "sregs.cr4").value is None


def test_nothing_known(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match=r"found holiday\.jpg"):
        open_capture(str(tmp_path))


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found nothing"):
        open_capture(str(tmp_path))


def test_a_lone_image_takes_the_layout_of_its_neighbour(tmp_path: Path) -> None:
    for name in ("vcpu-permitted.kvm_xsave2.bin", "vcpu-permitted.kvm_cpuid2.bin"):
        shutil.copy(SAMPLES / "amx" / name, tmp_path)
    capture = open_capture(str(tmp_path / "vcpu-permitted.kvm_xsave2.bin"))
    table = capture.vcpus[0].area("xsave").attributes["table"]
    assert table.origin == "CPUID in vcpu-permitted.kvm_cpuid2.bin"
    assert not capture.notices


@pytest.mark.parametrize("layout", STRUCTS, ids=lambda layout: layout.name)
def test_a_structure_written_as_a_file_is_known_by_its_name(layout: Layout, tmp_path: Path) -> None:
    """A structure's names are in its declaration only."""
    area = Area(layout.name, layout.prefix, layout.title, bytes(layout.construct.sizeof()), Origin("made", 8))
    regs = Area("kvm-regs", "regs", "", bytes(size_bytes("kvm-regs")), Origin("made", 8))
    areas = [area] if area.layout == "kvm-regs" else [regs, area]
    (tmp_path / "raw").mkdir()
    names = write_raw(str(tmp_path / "raw"), Capture("made", "vcpu", [Vcpu(0, "vcpu0", "x86", areas)]))
    assert f"vcpu0.kvm_{layout.file_names[0]}.bin" in names
    opened = open_capture(str(tmp_path / "raw"))
    found = [one.layout for one in (*opened.context, *(one for vcpu in opened.vcpus for one in vcpu.areas))]
    assert layout.name in found
