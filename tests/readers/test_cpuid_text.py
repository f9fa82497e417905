"""CPUID text of every style: leaves, MSRs and ID registers are taken, and what is not is named."""

from __future__ import annotations

import re
import tarfile
from functools import cache
from pathlib import Path

import pytest

from inspector.capture.errors import InputError
from inspector.capture.model import Capture
from inspector.cli.main import main
from inspector.readers.cpuid_subleaves import numbered
from inspector.readers.open import open_capture
from tests.readers.support import LIBCPUID_TEXT
from tests.shared import LIBCPUID, needs
from tests.support import fields


def dump(tmp_path: Path, text: str | bytes) -> Capture:
    path = tmp_path / "dump.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return open_capture(str(path))


def leaves(capture: Capture, vcpu: int = 0) -> dict[str, int | None]:
    found = fields(capture.vcpus[vcpu])
    return {path: field.value for path, field in found.items() if re.fullmatch(r"cpuid\.\w+\.\w+\.e[abcd]x", path)}


def test_libcpuid_arrays(tmp_path: Path) -> None:
    capture = dump(tmp_path, LIBCPUID_TEXT)
    found = leaves(capture)
    assert found["cpuid.d.0.eax"] == 7
    assert found["cpuid.4.1.edx"] == 4
    assert found["cpuid.b.1.ecx"] == 0x201
    assert found["cpuid.12.0.edx"] == 0x241F
    assert found["cpuid.80000001.0.eax"] == 5
    assert not capture.notices
    assert "version 0.4.1" in capture.host.about
    headless = dump(tmp_path, LIBCPUID_TEXT.split("\n", 2)[2])
    assert leaves(headless) == found
    assert [vcpu.name for vcpu in headless.vcpus] == ["CPU"]


OLD = """\
CPUID 00000000: 0000000D-756E6547-6C65746E-49656E69 [GenuineIntel]
CPUID 00000001: 000206A7-00100800-1FBAE3FF-BFEBFBFF
CPUID 00000004: 1C004121-01C0003F-0000003F-00000000
CPUID 00000004: 1C004122-01C0003F-0000003F-00000000
CPUID 0000000B: 00000001-00000002-00000100-00000003
CPUID 0000000B: 00000004-00000008-00000201-00000003
CPUID 0000000D: 00000007-00000340-00000340-00000000
CPUID 0000000D: 00000100-00000240-00000000-00000000
"""


def test_sub_leaves_without_numbers(tmp_path: Path) -> None:
    capture = dump(tmp_path, OLD)
    found = leaves(capture)
    assert found["cpuid.4.1.eax"] == 0x1C004122
    assert found["cpuid.b.1.ecx"] == 0x201
    assert found["cpuid.d.2.ebx"] == 0x240
    assert "cpuid.d.1.eax" not in found
    assert capture.host.cpuid is not None
    assert capture.host.cpuid.xsave_table()[2] == (0x100, 0x240, 0, 0)
    assert not capture.notices


@pytest.mark.parametrize(
    "heading",
    [
        "------[ CPUID Registers / Logical CPU #{n} ]------",
        "------[ Logical CPU #{n} ]------",
        "CPU#{n:03} AffMask: 0x000000000000000{m}",
        "CPU #{n}",
        "------[ CPU #{n} ]------",
        "CPU {n}:",
        "CPUID Registers (CPU #{n} Virtual):",
        "Group: 0x00 Affinity mask: 0x000000000000000{m}",
        "Group: 0x00  AffMask 0x{m}",
        "Group: 0x0000\tAffinity Mask:  0x000000000000000{m}   (some words)",
        "",
    ],
)
def test_headings_of_cpus(heading: str, tmp_path: Path) -> None:
    text = "".join(heading.format(n=n, m=1 << n) + "\r\n\r\n" + OLD for n in range(3))
    capture = dump(tmp_path, text)
    names = [vcpu.name for vcpu in capture.vcpus]
    assert names == ["CPU 0" if heading else "CPU", "CPU 1", "CPU 2"]
    assert len({str(leaves(capture, n)) for n in range(3)}) == 1
    assert not capture.notices


def test_words_behind_a_leaf(tmp_path: Path) -> None:
    text = "CPUID 00000007: 00000001-00000000-00000000-00000000 [some words] [SL 00]\n"
    text += "CPUID 00000007: 00000002-00000000-00000000-00000000 [SL 01] more\n"
    assert leaves(dump(tmp_path, text))["cpuid.7.1.eax"] == 2


def test_processor_groups_and_other_encodings(tmp_path: Path) -> None:
    text = "Group: 0x01 Affinity mask: 0x4\n" + OLD
    assert [vcpu.name for vcpu in dump(tmp_path, text).vcpus] == ["CPU 66"]
    assert leaves(dump(tmp_path, text.encode("utf-16"))) == leaves(dump(tmp_path, OLD))
    assert leaves(dump(tmp_path, text.encode("utf-8-sig"))) == leaves(dump(tmp_path, OLD))


MSRS = """\
------[ Versions ]------
Program : some 1.0
------[ CPUID Registers / Logical CPU #0 ]------
CPUID 00000000: 00000001-756E6547-6C65746E-49656E69
------[ CPUID Registers / Logical CPU #1 ]------
CPUID 00000000: 00000001-756E6547-6C65746E-49656E69
MSR 0000001B: 0000-0000-FEE0-0800
------[ MSR Registers / Logical CPU #0 ]------
MSR 00000048: 0000-0000-0000-0001
MSR 0000010A: 0000-0000-0C08-E0EB [some words]
MSR 00000035: < FAILED >
MSR 000001A0: 0000-0000-0085-0089 S200
MSR C0000080: 00000000-00000D01
"""


def test_msrs_with_the_number_of_their_cpu(tmp_path: Path) -> None:
    capture = dump(tmp_path, MSRS)
    found = fields(capture.vcpus[0])
    assert found["msr.IA32_SPEC_CTRL"].value == 1
    assert found["msr.IA32_ARCH_CAPABILITIES"].value == 0xC08E0EB
    assert found["msr.IA32_EFER"].value == 0xD01
    assert found["msr.IA32_MISC_ENABLE"].value == 0x850089
    assert fields(capture.vcpus[1])["msr.IA32_APIC_BASE"].value == 0xFEE00800
    assert not any("0x35" in path for path in found)
    assert "MSRs that could not be read there, so not captured: 0x35" in capture.notices
    assert any(text.startswith("lines 1-2: not understood") for text in capture.notices)
    shared = dump(tmp_path, MSRS.replace("MSR Registers / Logical CPU #0", "MSR Registers"))
    assert fields(shared.vcpus[0])["msr.IA32_SPEC_CTRL"].value == 1
    assert any("does not say of which CPU" in text for text in shared.notices)


def test_what_is_not_understood_is_named(tmp_path: Path) -> None:
    text = OLD + "CPUID 00000002: 00000001-0-0-0\n\nhello\nintel_fnx[0]=1 2 3 4\n"
    text += "CPUID 00000003: 00000001-00000002-00000003-00000004\nCPUID 00000003: 0000000F-00000002-00000003-00000004\n"
    text += "CPUID 00000001: 000206A7-00100800-1FBAE3FF-BFEBFBFE [SL 00]\nbye\x1b[2J\n"
    capture = dump(tmp_path, text)
    assert "expected a CPUID leaf or register" in str(capture.faults[0])
    told = " ".join(capture.notices)
    assert "lines 9, 11-12, 16: not understood, not read; the first is 'CPUID 00000002: 00000001-0-0-0'" in told
    assert "line 14: which sub-leaf it is cannot be told; left out" in told
    assert "says another value than an earlier line" in told
    assert "\x1b" not in told


def test_numbers_where_only_one_fits() -> None:
    head = (0x2E7, 0x980, 0x988, 0)
    avx, opmask, zmm, hi16, pkru = (0x100, 0x240), (0x40, 0x340), (0x200, 0x380), (0x400, 0x580), (8, 0x980)
    rows = [head, *((size, offset, 0, 0) for size, offset in (avx, opmask, zmm, hi16, pkru))]
    assert numbered(0xD, rows) == [0, 2, 5, 6, 7, 9]
    assert numbered(0xD, [rows[0], (0xF, 0x988, 0x1800, 0), *rows[1:], (0x10, 0, 1, 0)]) == [0, 1, 2, 5, 6, 7, 9, 11]
    everything = [(0x207, 0x988, 0x988, 0), (1, 0, 0, 0), rows[1], *[(0, 0, 0, 0)] * 6, rows[-1]]
    assert numbered(0xD, everything) == list(range(10))
    assert numbered(0xD, [rows[0], (1, 2, 3, 4), rows[1]]) == [0, None, 2]
    assert numbered(0x7, [(1, 0, 0, 0), (2, 0, 0, 0), (3, 0, 0, 0)]) == [0, 1, None]
    assert numbered(0x10, [(0, 0xA, 0, 0), (1, 1, 0, 0), (2, 2, 0, 0)]) == [0, 1, 3]
    assert numbered(0xB, [(0, 0, 0x101, 9), (0, 0, 0x100, 9), (0, 0, 0x100, 9)]) == [1, 0, None]
    assert numbered(0x12, [(1, 0, 0, 0), (0x36, 0, 0, 0), (1, 2, 3, 4), (0, 0, 0, 0)]) == [0, 1, 2, 3]
    assert numbered(0x1234, [(1, 0, 0, 0), (1, 0, 0, 0), (2, 0, 0, 0)]) == [0, 0, None]
    assert numbered(0x7, [(0, 1, 0, 0)] * 100_000)[1:] == [None] * 99_999


ARM = """\
_________________ Logical CPU #0 _________________
arm_midr=00000000410fd493
arm_id_aa64pfr0=1101001120111112
arm_id_aa64mmfr0={mmfr0}
arm_id_aa64isar0=1221111110212120
arm_mvfr0=10110222
arm_id_of_the_future=1
"""


def test_arm_registers_are_a_host(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capture = dump(tmp_path, ARM.format(mmfr0="0000022200101125"))
    found = fields(capture.vcpus[0])
    assert capture.vcpus[0].arch == "arm64"
    assert "Neoverse N2" in found["sysreg.MIDR_EL1"].text
    assert found["sysreg.MVFR0_EL1"].value == 0x10110222
    assert "sysreg.ID_AA64PFR1_EL1" not in found
    assert [text for text in capture.notices if "line 7: not understood" in text] == capture.notices
    path = str(tmp_path / "dump.txt")
    assert main(["migrate", "cortex-a57", f"{path}@7.2"]) == 1
    assert "dump.txt" in capsys.readouterr().out
    dump(tmp_path, "arm_midr=410fc075\narm_id_pfr0=00001131\narm_id_aa64pfr0=0\n")
    assert main(["models", "check", "cortex-a57-v1", "--host", path]) == 3
    assert "expected an arm64 vCPU with ID registers" in capsys.readouterr().err
    view = dump(tmp_path, ARM.format(mmfr0="00000111ff000000"))
    assert any("as Linux shows them to programs" in text for text in view.notices)
    assert main(["models", "check", "cortex-a57-v1", "--host", path]) == 1
    assert "as Linux shows them to programs" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        "CPU 99999999999999999999:\n" + OLD,
        "basic_cpuid[99999999999]=0 0 0 0\n" + OLD,
        "basic_cpuid[0]=" + "0" * 9000 + " 0 0 0\n" + OLD,
        OLD * 200 + "\n" * 5_000_000 + "x",
        OLD + "x\n" * 1_050_000,
        OLD + "CPUID 00000007: 00000000-00000001-00000000-00000000\n" * 20_000,
        "".join(
            f"CPU {n}:\n   0x00000000 0x00: eax=0x00000001 ebx=0x00000000 ecx=0x00000000 edx=0x00000000\n"
            for n in range(20_000)
        )
        + OLD,
    ],
    ids=["cpu", "index", "digits", "breaks", "lines", "same", "cpus"],
)
def test_hostile_text(text: str, tmp_path: Path) -> None:
    capture = dump(tmp_path, text)
    assert capture.faults or capture.notices or len(capture.vcpus) > 20_000


def test_text_without_leaves(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a format that inspector knows"):
        dump(tmp_path, "CPU 0:\nhello\n")


@cache
def archive() -> dict[str, bytes]:
    with tarfile.open(LIBCPUID / "tests-200.tar.xz") as tar:
        members = [member for member in tar.getmembers() if member.isfile()]
        return {member.name: tar.extractfile(member).read() for member in members}  # type: ignore[union-attr]


def named_lines(capture: Capture) -> set[int]:
    """The numbers of the lines that notices name."""
    numbers: set[int] = set()
    for notice in capture.notices:
        if not notice.startswith("line"):
            continue
        assert " more" not in notice.partition(":")[0]
        for low, high in re.findall(r"(\d+)(?:-(\d+))?", notice.partition(":")[0]):
            numbers |= set(range(int(low), int(high or low) + 1))
    return numbers


@needs(LIBCPUID / "tests-200.tar.xz")
def test_every_dump_of_the_archive(tmp_path: Path) -> None:
    """Each non-empty line is a heading, or its numbers are in the capture, or a notice names it."""
    assert len(archive()) == 200
    for name, data in archive().items():
        capture = dump(tmp_path, data)
        assert not capture.faults, name
        named = named_lines(capture)
        tables: set[tuple[int, ...]] = set()
        registers: set[int] = set()
        for vcpu in capture.vcpus:
            for area in vcpu.areas:
                words = [int.from_bytes(area.data[at : at + 4], "little") for at in range(0, len(area.data), 4)]
                if area.layout == "kvm-cpuid2":
                    tables |= {(words[at], *words[at + 3 : at + 7]) for at in range(2, len(words), 10)}
                else:
                    registers |= {words[at] | words[at + 1] << 32 for at in range(0, len(words), 2)}
        for number, line in enumerate(data.decode("latin-1").splitlines(), 1):
            parts = [int(part, 16) for part in re.findall(r"\b[0-9A-Fa-f]{8,16}\b", line.partition(" [")[0])]
            if not line.strip() or number in named or re.search(r"CPU ?#", line):
                continue
            if line.startswith("CPUID "):
                assert tuple(parts) in tables, (name, number, line)
            elif line.startswith("arm_"):
                assert parts[0] in registers, (name, number, line)
            else:
                assert any(row[1:] == tuple(parts) for row in tables), (name, number, line)


@needs(LIBCPUID)
def test_a_dump_of_32_cpus() -> None:
    capture = open_capture(str(LIBCPUID / "amd-ryzen-9-9950x-16-core-processor.test"))
    assert len(capture.vcpus) == 32
    assert leaves(capture, 31)["cpuid.d.0.eax"] == 0x2E7
