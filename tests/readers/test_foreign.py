"""Files that QEMU, gdb, makedumpfile and libvirt wrote, against what QEMU printed of the same stop.

They stand beside the checkout; `info registers` of the same machine is the truth, read here by a few regular
expressions of their own.
"""

from __future__ import annotations

import lzma
import re
import tarfile
from pathlib import Path

import pytest

from inspector.capture.errors import InputError
from inspector.capture.model import Capture
from inspector.readers.open import open_capture
from tests.shared import SHARED, needs
from tests.support import fields

ARCHIVE = SHARED / "captures/foreign.tar.xz"

pytestmark = needs(ARCHIVE)


@pytest.fixture(scope="session")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("foreign")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


Printed = dict[str, int]
SEGMENTS = ("ES", "CS", "SS", "DS", "FS", "GS", "LDT", "TR")
GPRS = ("AX", "BX", "CX", "DX", "SI", "DI", "BP", "SP", "IP")
SINGLE_X86 = {
    **{f"{wide}{name}": f"regs.r{name.lower()}" for name in GPRS for wide in "RE"},
    "RFL": "regs.rflags",
    "EFL": "regs.rflags",
    "EFER": "sregs.efer",
    "MXCSR": "xsave.legacy.mxcsr",
    **{name: f"xsave.legacy.{name.lower()}" for name in ("FCW", "FSW", "FTW")},
    **{f"R{n}": f"regs.r{n}" for n in range(8, 16)},
    **{f"CR{n}": f"sregs.cr{n}" for n in range(5)},
    **{f"DR{n}": f"debugregs.db[{n}]" for n in range(4)},
    **{f"DR{n}": f"debugregs.dr{n}" for n in (6, 7)},
}


def printed(text: str) -> list[Printed]:
    """Path -> value of each CPU, as QEMU printed them; FPRn stays ``FPRn``."""
    blocks = re.split(r"^CPU#\d+$", text, flags=re.MULTILINE)[1:] or [text]
    return [_arm64(block) if "PSTATE=" in block else _x86(block) for block in blocks]


def _x86(block: str) -> Printed:
    found: Printed = {}
    for name, value in re.findall(r"\b([A-Z]+[0-9]*) ?=([0-9a-f]+)(?![0-9a-f ]*\b[0-9a-f]{8} )", block):
        if name in SINGLE_X86:
            found[SINGLE_X86[name]] = int(value, 16)
    for name, selector, base, limit in re.findall(
        r"^([A-Z]{2,3}) *=([0-9a-f]{4}) ([0-9a-f]+) ([0-9a-f]+)", block, re.M
    ):
        if name in SEGMENTS:
            path = f"sregs.{name.lower()}"
            found |= {f"{path}.selector": int(selector, 16), f"{path}.base": int(base, 16)}
            found[f"{path}.limit"] = int(limit, 16)
    for name, base, limit in re.findall(r"^([GI]DT)= +([0-9a-f]+) ([0-9a-f]+)", block, re.M):
        found |= {f"sregs.{name.lower()}.base": int(base, 16), f"sregs.{name.lower()}.limit": int(limit, 16)}
    for name, number, words in re.findall(r"\b([XY]MM)(\d\d)=([0-9a-f]{16}(?: [0-9a-f]{16})+)", block):
        found[f"xsave.{name.lower()}[{int(number)}]"] = int(words.replace(" ", ""), 16)
    for number, mantissa, exponent in re.findall(r"FPR(\d)=([0-9a-f]{16}) ([0-9a-f]{4})", block):
        found[f"FPR{number}"] = int(exponent + mantissa, 16)
    return found


def _arm64(block: str) -> Printed:
    found: Printed = {}
    block = re.sub(r":?\n +\[[0-9a-f](?:-[0-9a-f])?\]=", ":", re.sub(r"(Z\d\d)\[.*?\]=", r"\1=", block))
    for name, value in re.findall(r"\b([A-Z]+[0-9]*)=([0-9a-f]+(?:[:][0-9a-f]+)*)", block):
        number = int(value.replace(":", ""), 16)
        single = {"PC": "core.pc", "SP": "core.sp", "PSTATE": "core.pstate", "FPCR": "core.fpcr", "FPSR": "core.fpsr"}
        letter, digits = name.rstrip("0123456789"), name.lstrip("XQZP")
        path = single.get(name) or {"FFR": "sve.ffr"}.get(name)
        if path is None and digits.isdigit():
            path = {"X": "core.x[{}]", "Q": "core.v[{}]", "Z": "sve.z[{}]", "P": "sve.p[{}]"}[letter].format(
                int(digits)
            )
        if path:
            found[path] = number
    return found


STREAMS = (
    *("x86-host-tcg-fx", "x86-host-kvm-fx", "x86-host-max", "x86-host-novmdesc", "x86-host-kvm-novmdesc"),
    *("a64-host-max", "a64-trixie-n2"),
)


def stream_of(folder: Path) -> Path:
    return folder / "mig.plain.xz"


def check(capture: Capture, truth: list[Printed], *, physical: bool) -> int:
    """Every printed register has this value in the capture; how many were compared."""
    assert len(capture.vcpus) == len(truth)
    compared = 0
    for vcpu, cpu in zip(capture.vcpus, truth, strict=True):
        found = fields(vcpu)
        top = cpu.get("xsave.legacy.fsw", 0) >> 11 & 7
        for name, value in cpu.items():
            number = int(name[3:]) if name.startswith("FPR") else 0
            stack = (number - top) & 7 if physical else number
            path = f"xsave.st[{stack}]" if name.startswith("FPR") else name
            assert found[path].value == value, (vcpu.name, path)
            compared += 1
    return compared


@pytest.mark.parametrize("name", STREAMS)
def test_stream_has_what_qemu_printed(foreign: Path, name: str) -> None:
    path = stream_of(foreign / name)
    truth = printed((foreign / name / "mig.plain.regs").read_text())
    capture = open_capture(str(path))
    assert not capture.faults
    assert check(capture, truth, physical="kvm" not in name) >= 60 * len(truth)


@pytest.mark.parametrize(
    "name", ["x86-host-tcg-fx", "x86-host-kvm-fx", "x86-host-max", "a64-host-max", "a64-trixie-n2"]
)
def test_text_and_stream_of_one_machine_never_disagree(foreign: Path, name: str) -> None:
    stream = stream_of(foreign / name)
    text, binary = open_capture(str(foreign / name / "mig.plain.regs")), open_capture(str(stream))
    for printed_vcpu, vcpu in zip(text.vcpus, binary.vcpus, strict=True):
        ours, theirs = fields(printed_vcpu), fields(vcpu)
        assert len(ours) > 60
        for path, field in ours.items():
            if path.endswith(".flags"):  # QEMU prints the attributes, bits 8 to 23 of the descriptor's upper word
                assert field.value == theirs[path].value & 0xFFFF00, path
            else:
                assert path.startswith("fpr[") or field.value == theirs[path].value, path
        assert ("fpr[0]" in ours) == (
            theirs.get("xsave.legacy.fsw") is not None and ours["xsave.legacy.fsw"].value != 0
        )


def test_fprn_of_a_text_is_st_where_kvm_is_known(foreign: Path, tmp_path: Path) -> None:
    text = (foreign / "x86-host-kvm-fx/info-registers.txt").read_text()
    path = tmp_path / "log"
    path.write_text(text)
    unsure = open_capture(str(path))
    assert "xsave.st[0]" not in fields(unsure.vcpus[0])
    assert "fpr[n] is ST(n) if this is from KVM" in unsure.notices[0]
    path.write_text("KVM internal error. Suberror: 1\n" + text)
    sure = open_capture(str(path))
    assert fields(sure.vcpus[0])["xsave.st[2]"].text.startswith("3.14159")
    assert not sure.notices


@pytest.mark.parametrize("name", ["x86-host-tcg-fx", "x86-host-kvm-fx"])
@pytest.mark.parametrize("dump", ["dump.elf.zst", "dump.kdump-zlib.zst"])
def test_guest_dump_has_what_qemu_printed(foreign: Path, name: str, dump: str) -> None:
    (truth,) = printed((foreign / name / "info-registers.txt").read_text())
    (vcpu,) = open_capture(str(foreign / name / dump)).vcpus
    found = fields(vcpu)
    same = [path for path in truth if path in found]
    assert len(same) >= 40
    for path in same:
        assert found[path].value == truth[path], path


def test_streams_cut_before_their_description_keep_every_cpu(foreign: Path, tmp_path: Path) -> None:
    for name in ("x86-host-kvm-fx", "x86-host-max"):
        folder = foreign / name
        data = lzma.decompress((folder / "mig.plain.xz").read_bytes())
        path = tmp_path / name
        path.write_bytes(data[:-200])
        truth = printed((folder / "mig.plain.regs").read_text())
        capture = open_capture(str(path))
        check(capture, truth, physical="kvm" not in name)
        assert f"{len(truth)} cpu sections found" in capture.notices[0]


@pytest.mark.parametrize("unknown", [b"cpu/svm_gues", b"cpu/brand_new_and_longer"])
def test_an_unknown_subsection_costs_no_cpu(foreign: Path, tmp_path: Path, unknown: bytes) -> None:
    data = lzma.decompress((foreign / "x86-host-novmdesc/mig.plain.xz").read_bytes())
    old, new = b"\x05\x0dcpu/svm_guest", b"\x05" + bytes([len(unknown)]) + unknown
    at = data.index(old)
    path = tmp_path / "stream"
    path.write_bytes(data[:at] + new + data[at + len(old) :])
    capture = open_capture(str(path))
    check(capture, printed((foreign / "x86-host-novmdesc/mig.plain.regs").read_text()), physical=True)
    (fault,) = capture.faults
    assert "cpu 0" in str(fault)
    assert unknown.decode() in str(fault)
    assert fault.offset == at


def test_subsection_headers_are_no_gaps(foreign: Path) -> None:
    found = fields(open_capture(str(foreign / "x86-host-kvm-fx/mig.plain.xz")).vcpus[0])
    assert not [path for path in found if ".gap" in path]
    assert found["qemu.msr_tsx_ctrl.header"].spec.is_structure


def test_mce_and_mtrr_are_msrs(foreign: Path) -> None:
    found = fields(open_capture(str(foreign / "x86-host-kvm-fx/mig.plain.xz")).vcpus[0])
    names = ("IA32_MC0_CTL", "IA32_MC9_MISC", "IA32_MTRR_PHYSBASE0", "IA32_MTRR_PHYSMASK7")
    names += ("IA32_MTRR_FIX64K_00000", "IA32_MTRR_FIX16K_A0000", "IA32_MTRR_FIX4K_F8000")
    for name in names:
        assert found[f"msr.{name}"].value is not None, name
    assert not [path for path in found if path.startswith(("qemu.mce", "qemu.mtrr"))]


def test_xstate_bv_is_told_once(foreign: Path) -> None:
    notices = open_capture(str(foreign / "x86-host-max/mig.plain.xz")).notices
    assert [notice for notice in notices if "xstate_bv" in notice] == notices
    assert len(notices) == 1


def test_vector_length_of_a_host_at_el2(foreign: Path) -> None:
    for vcpu in open_capture(str(foreign / "a64-trixie-n2/mig.plain.xz")).vcpus:
        assert fields(vcpu)["sve.vl_bytes"].value == 32


def test_aarch32_shows_no_zeros_as_registers(foreign: Path) -> None:
    capture = open_capture(str(foreign / "a32-host-a15/mig.plain.xz"))
    assert "AArch32" in capture.notices[0]
    found = fields(capture.vcpus[0])
    assert not [path for path in found if path.startswith(("core.", "qemu.xregs", "qemu.pc"))]
    assert found["qemu.regs[15]"].value == 0x40100078
    assert found["qemu.regs[1]"].value == 0x11111111


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a32-host-a15/info-registers.txt", "32-bit Arm"),
        ("a32-host-a15/dump.kdump-zlib.zst", "32-bit Arm"),
        ("a32-host-a15/gdb-info-all.txt", "32-bit Arm"),
        ("texts/mini.dmp", "system information, which names the architecture"),
        ("texts/win.dmp", "a Windows crash dump"),
        ("texts/vbox.sav", "a VirtualBox saved state"),
        ("texts/vmware.vmss", "a VMware suspended state"),
        ("texts/xen.sav", "a Xen save image"),
        ("texts/vbox.txt", "VirtualBox's log"),
        ("cores/thr-min.kcore.lz4", "an LZ4 frame"),
        ("libvirt-x86t/partial.save", "never finished"),
        ("libvirt-x86t/dom.xml", "libvirt domain XML"),
        ("capabilities.xml", "libvirt host capabilities"),
        ("cpuid-1-text.txt", "cpuid -r"),
        ("x86-host-caps/info-lapic.txt", "info lapic"),
        ("x86-host-max/query-cpus-fast.json", "query-cpus-fast: 2 CPUs"),
        ("a64-host-a57/expansion.cortex-a57.static.json", "expansion type is not supported"),
    ],
)
def test_what_is_not_read_is_named(foreign: Path, name: str, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        open_capture(str(foreign / name))


@pytest.mark.parametrize("name", ["journald", "libvirt-log", "hmp-session", "crlf", "oops-x86", "oops-arm64"])
def test_pasted_texts_open(foreign: Path, name: str) -> None:
    capture = open_capture(str(foreign / f"texts/{name}.txt"))
    assert not capture.faults
    assert len(fields(capture.vcpus[0])) >= 6


@pytest.mark.parametrize("name", ["x86-host-max", "a64-trixie-n2"])
def test_gdb_has_what_qemu_printed(foreign: Path, name: str) -> None:
    """gdb-info-all.txt and info-registers.txt are of the same stop."""
    truth = printed((foreign / name / "info-registers.txt").read_text())
    capture = open_capture(str(foreign / name / "gdb-info-all.txt"))
    assert len(capture.vcpus) == len(truth)
    for vcpu, cpu in zip(capture.vcpus, truth, strict=True):
        found = fields(vcpu)
        same = [path for path in cpu if path in found]
        assert len(same) >= 30
        for path in same:
            assert found[path].value == cpu[path], (vcpu.name, path)


def test_control_words_of_an_i386_core_are_as_gdb_shows_them(foreign: Path) -> None:
    """The kernel sets the upper half of FCW, FSW, FTW and FOS: it is no part of the registers."""
    capture = open_capture(str(foreign / "cores/thr32-min.kcore"))
    words = set()
    for vcpu in capture.vcpus:
        found = fields(vcpu)
        assert found["fpregs.fcw"].value == 0x37F
        assert "reserved 0x" not in found["fpregs.fcw"].text + found["fpregs.fsw"].text
        assert found["fpregs.fos"].value == 0x2B
        words.add((found["fpregs.fsw"].value, found["fpregs.ftw"].value))
    assert (0x2800, 0x03FF) in words
    loaded = next(vcpu for vcpu in capture.vcpus if fields(vcpu)["fpregs.ftw"].value == 0x3FF)
    assert "TAG4=empty" in fields(loaded)["fpregs.ftw"].text
    assert "TAG5=valid" in fields(loaded)["fpregs.ftw"].text
