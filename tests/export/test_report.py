"""Reports: what they say, what they leave out, and that they open again."""

from __future__ import annotations

import base64
import gzip
import re
from html.parser import HTMLParser
from pathlib import Path
from shutil import copytree

import pytest

from inspector.capture.model import Capture
from inspector.cli.main import main
from inspector.decode.fields import FieldTable
from inspector.export.report.case import folded_paths
from inspector.export.report.page import PAGE_LIMIT_BYTES
from inspector.export.report.redact import Redaction
from inspector.readers.open import open_capture
from inspector.readers.report import BLOCK_BEGIN, BLOCK_END
from layouts.secrets import KINDS, SECRETS, secret_of
from tests.hostile import INJECTED, write_all
from tests.support import SAMPLES, fields, opened

_SAMPLES = (
    *("amx", "amx/process.core", "arm64-process/sme-za.core", "arm64-kvm/max-linux-6.12.107.regs", "zen5-kvm"),
    *("logs/vmcs.dmesg.txt", "logs/vmcb.journal.txt", "logs/trace.txt", "logs/refused-cpuid.strace.txt"),
    *("qemu-x86-max/migration-stream.gz", "qemu-arm64-max/migration-stream.gz", "pasted/oops-x86.txt"),
)
_KNOWN = [name for name in _SAMPLES if (SAMPLES / name).exists()]


def report(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What goes to standard error when a report is written."""
    assert main(["report", *words]) == 0
    return capsys.readouterr().err


def capture_inside(page: Path) -> bytes:
    """The first capture file in a report, unpacked."""
    return gzip.decompress(base64.b64decode(page.read_bytes().partition(BLOCK_BEGIN)[2].partition(BLOCK_END)[0]))


_FOLLOWS = ("file[", "sve.", "ssve.")
#: Masks of features and of lengths.
_NO_POINTERS = (
    "auxv.AT_HWCAP",
    "sve.vls",
    "vmcs.cr0_guest_host_mask",
    "vmcs.cr4_guest_host_mask",
    "vmcs.control.tsc_offset",
)


class _Marks(HTMLParser):
    """Elements and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[tuple[str, str]] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {(tag, name) for name, _ in attrs} | {(tag, "")}


def values(capture: Capture) -> dict[str, object]:
    """What every field of the first vCPU and of the machine says."""
    areas = [*capture.context, *(capture.vcpus[0].areas if capture.vcpus else ())]
    return {f.path: (f.value, f.text) for area in areas for f in FieldTable(area)}


def looks_like_pointer(value: int) -> bool:
    """An address of Linux on x86-64 or arm64: the kernel's half, or where programs, libraries and stacks are."""
    is_kernel = value >> 47 == 0x1FFFF and value < 0xFFFF_FFFF_FFFF_0000
    return is_kernel or value >> 44 in (5, 6, 7) or 0xAAAA_0000_0000 <= value < 0x1_0000_0000_0000


@pytest.mark.parametrize("name", _KNOWN)
def test_no_pointer_and_no_memory_is_left(name: str) -> None:
    """Not by the table of secrets: by what values look like, whatever their field is called."""
    capture = opened(name)
    redacted = Redaction().capture(capture, capture.vcpus[:2], "capture")
    for areas in (redacted.context, *(vcpu.areas for vcpu in redacted.vcpus)):
        for area in areas:
            for field in FieldTable(area):
                is_told = field.spec.fact is not None or field.spec.kind == "text" or field.spec.is_structure
                if field.value is None or is_told or field.path in _NO_POINTERS:
                    continue
                assert field.bits <= 128 or not field.value, field.path
                assert field.bits != 64 or not looks_like_pointer(field.value), f"{field.path} {field.value:#x}"


@pytest.mark.parametrize("name", _KNOWN)
def test_it_opens_again_as_what_was_kept(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "case.html"
    report(capsys, f"sample:{name}", "--lint", "-o", str(page))
    before, after = opened(name), open_capture(str(page))
    assert [vcpu.arch for vcpu in after.vcpus] == [vcpu.arch for vcpu in before.vcpus]
    was, now = values(before), values(after)
    for path, (value, text) in now.items():
        if "(dropped: " in text:
            assert value is None
        elif path.startswith(_FOLLOWS) or "(left out)" in text:
            # Follows from bytes that were left out: lengths of names, the vector length of a stream.
            continue
        else:
            assert was[path] == (value, text), path
    assert any("(dropped: " in text or "(left out)" in text for _, text in now.values())
    assert len(page.read_bytes()) - len(base64.b64encode(gzip.compress(capture_inside(page)))) < 1_000_000


def test_kept_whole_it_is_the_same_capture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "case.html"
    err = report(capsys, "sample:amx/process.core", "--keep", "all", "-o", str(page))
    assert "left out" not in err
    before, after = opened("amx/process.core"), open_capture(str(page))
    assert fields(after.vcpus[0]).keys() == fields(before.vcpus[0]).keys()
    assert values(after) == values(before)
    assert after.notices == before.notices


def test_keep_takes_kinds_and_paths(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "case.html"
    words = ["--keep", "pointer", "--keep", "xsave.zmm[17]", "--keep", "nothing.such"]
    err = report(capsys, "sample:amx/process.core", *words, "-o", str(page))
    assert "--keep nothing.such: nothing of it would have been left out" in err
    before, now = fields(opened("amx/process.core").vcpus[0]), fields(open_capture(str(page)).vcpus[0])
    assert now["regs.rip"].value == before["regs.rip"].value
    assert now["xsave.zmm[17]"].value == before["xsave.zmm[17]"].value
    assert now["xsave.zmm[18]"].value is None
    assert now["xsave.zmm[18]"].text == "not captured (dropped: memory)"


def test_no_secret_byte_is_anywhere_in_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The bytes of every field that is left out, in the page as hex and in the capture as they lie."""
    page = tmp_path / "case.html"
    report(capsys, "sample:amx/process.core", "--lint", "-o", str(page))
    text = page.read_text("utf-8")
    inside = capture_inside(page)
    blobs = b"".join(base64.b64decode(line) for line in inside.splitlines()[1:])
    before = opened("amx/process.core")
    checked = 0
    for area in (*before.context, *before.vcpus[0].areas):
        for field in FieldTable(area):
            if secret_of(field.path, area.layout) and field.data and len(field.data.strip(b"\0")) >= 6:
                checked += 1
                assert field.data not in blobs, field.path
                assert field.data.hex(" ") not in text, field.path
                if field.value is not None and field.value > 0xFFFFF:
                    assert f"{field.value:x}" not in text, field.path
    assert checked > 30


def test_names_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    core = tmp_path / "secret-customer.core"
    core.write_bytes((SAMPLES / "amx/process.core").read_bytes())
    page = tmp_path / "case.html"
    report(capsys, str(core), "--lint", "-o", str(page))
    assert main(["report", str(core), "--markdown"]) == 0
    for text in (page.read_text("utf-8"), capture_inside(page).decode(), capsys.readouterr().out):
        assert "customer" not in text
        assert str(tmp_path) not in text


def test_what_a_reader_says_of_other_files_is_left_out() -> None:
    capture = opened("amx/process.core")
    capture.target = "/home/user/secret/core.1"
    capture.notices = [
        "layout from /home/user/secret/cpuid.txt",
        "beside ../other/file: x",
        "and/or Linux arch/x86/x.c",
    ]
    redacted = Redaction().capture(capture, capture.vcpus, "capture")
    assert redacted.notices[:3] == ["layout from (left out)", "beside (left out): x", "and/or Linux arch/x86/x.c"]
    kept = Redaction(["name"]).capture(capture, capture.vcpus, "capture")
    assert kept.notices[:3] == capture.notices
    assert kept.target == capture.target


def test_sentences_of_lint_tell_no_value_that_was_left_out() -> None:
    capture = opened("amx/process.core")
    redaction = Redaction()
    redaction.capture(capture, capture.vcpus, "capture")
    rip = fields(capture.vcpus[0])["regs.rip"].value
    assert rip is not None
    for text in (f"RIP {rip:#x}", f"RIP 0x{rip:016x}", f"RIP 0x{rip:X}"):
        assert redaction.text(text) == "RIP (left out)"
    assert redaction.text("XCR0 0x602e7") == "XCR0 0x602e7"
    assert redaction.text(f"{rip:#x}0") == f"{rip:#x}0"


def test_lines_of_a_log_tell_no_registers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "case.html"
    report(capsys, "sample:logs/trace.txt", "-o", str(page))
    before, after = values(opened("logs/trace.txt")), values(open_capture(str(page)))
    assert "0xffffffff81045678" in str(before["calls.2.kvm_exit"])
    assert "reason CPUID rip (left out)" in str(after["calls.2.kvm_exit"])
    assert after["calls.3.kvm_cpuid"] == before["calls.3.kvm_cpuid"]
    assert "81045678" not in page.read_text("utf-8") + capture_inside(page).decode()


def test_a_sample_does_not_tell_where_the_tool_is_installed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, target in enumerate(("sample:amx", "sample:amx/process.core", "sim:guest-xfd")):
        page = tmp_path / f"{number}.html"
        report(capsys, target, "-o", str(page))
        assert str(SAMPLES.parent) not in page.read_text("utf-8") + capture_inside(page).decode()


def test_a_report_of_a_report_leaves_out_no_less(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = tmp_path / "a.html", tmp_path / "b.html"
    report(capsys, "sample:amx", "-o", str(first))
    report(capsys, str(first), "--keep", "all", "-o", str(second))
    assert values(open_capture(str(second))) == values(open_capture(str(first)))


def test_two_captures_come_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "case.html"
    targets = ["sample:emerald-rapids/full.core.gz", "sample:emerald-rapids/tilezero.core.gz"]
    report(capsys, *targets, "--diff", "-o", str(page))
    text = page.read_text("utf-8")
    assert "Different, and left out" in text
    assert "tmm[0..7]" in text
    opened_again = open_capture(str(page))
    assert [vcpu.name[:2] for vcpu in opened_again.vcpus] == ["1:", "2:"]
    assert main(["diff", str(page), str(page), "--vcpu", "0", "--vcpu", "1", "--field", "xsave.header.*"]) == 0


def test_a_migration_has_its_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "case.html"
    report(capsys, "sample:graviton3/linux-6.18", "--migrate", "neoverse-n1", "-o", str(page))
    assert "the destination refuses the vCPU" in page.read_text("utf-8")
    assert main(["report", "sample:amx", "--migrate", "neoverse-n1", "-o", str(tmp_path / "x.html")]) == 2


@pytest.mark.parametrize(
    ("target", "host", "words", "said"),
    [
        ("kvm-vcpus/genoa-linux-7.2", "milan@6.18", [], "QEMU: the destination refuses the vCPU"),
        ("kvm-vcpus/genoa-linux-7.2", "milan@6.18", ["--vmm", "firecracker"], "Firecracker: "),
        ("kvm-vcpus/milan-linux-6.18", "sample:kvm-vcpus/milan-linux-6.18", [], ": the vCPU arrives"),
    ],
)
def test_a_migration_of_x86_has_its_verdict(
    target: str, host: str, words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A copy under a name that is nobody's business: the report has neither it nor a path.
    copy = tmp_path / "private-name"
    copytree(SAMPLES / target, copy)
    page = tmp_path / "case.html"
    report(capsys, str(copy), "--migrate", host, *words, "-o", str(page))
    text = page.read_text("utf-8")
    assert said in text
    assert "<h2>Migration</h2>" in text
    assert "private-name" not in text


def test_markdown_is_short_and_no_markup_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "sample:amx", "--lint", "--markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("# sample:amx: lint: ")
    assert len(lines) < 100
    assert any(line.startswith("| vCPU 0 | `xsave.header.xstate_bv` | `0x") for line in lines)
    for target in write_all(tmp_path).values():
        main(["report", target, "--lint", "--markdown", "--keep", "all"])
        text = capsys.readouterr().out
        assert f"\n{INJECTED}" not in text
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2066]", text)
        assert not re.search(r"(?<![`\\\w\]\[ .])<i>", re.sub(r"`[^`]*`", "", text))


def test_hostile_files_make_pages_without_their_markup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours = {"html", "head", "meta", "title", "style", "body", "main", "p", "h1", "h2", "h3", "small", "dl", "dt", "dd"}
    ours |= {"ul", "li", "b", "span", "div", "table", "thead", "tbody", "tr", "th", "td", "code", "pre", "details"}
    ours |= {"summary", "footer", "script"}
    for number, target in enumerate(write_all(tmp_path).values()):
        page = tmp_path / f"{number}.html"
        main(["report", target, "--lint", "--keep", "all", "-o", str(page)])
        if not page.exists():
            continue
        text = page.read_text("utf-8")
        marks = _Marks()
        marks.feed(text)
        assert {tag for tag, _ in marks.found} <= ours
        assert not {name for _, name in marks.found} & {"href", "src", "style", "onload", "onerror"}
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2066\u2028]", text)


def test_no_network_in_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "case.html"
    report(capsys, "sample:amx", "-o", str(page))
    text = page.read_text("utf-8")
    assert "default-src 'none'" in text
    assert "http://" not in text
    assert "https://" not in text
    assert "@import" not in text
    assert "url(" not in text


def test_a_large_capture_stays_below_its_limit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capture = opened("amx")
    page, vcpu = tmp_path / "case.html", tmp_path / "many.vcpu"
    from inspector.export.files import save_new
    from inspector.export.vcpu import write_vcpu

    capture.vcpus = capture.vcpus[:1] * 40
    save_new(str(vcpu), lambda out: write_vcpu(out, capture))
    report(capsys, str(vcpu), "-o", str(page))
    data = page.read_bytes()
    begin = data.find(BLOCK_BEGIN)
    assert begin < PAGE_LIMIT_BYTES + 20_000
    assert b"more in the capture inside" in data
    assert len(open_capture(str(page)).vcpus) == 40


def test_nothing_is_overwritten_and_errors_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "case.html"
    page.write_text("mine")
    for words, code in (
        (["sample:amx", "-o", str(page)], 2),
        (["sample:amx"], 2),
        (["sample:amx", "--diff", "-o", "x"], 2),
        (["sample:nothing", "-o", "x"], 3),
        (["sample:amx", "--vcpu", "9", "-o", "x"], 2),
    ):
        assert main(["report", *words]) == code
        assert capsys.readouterr().err.count("\n") == 1
    assert page.read_text() == "mine"


def test_every_secret_is_of_a_kind_and_kinds_are_words() -> None:
    assert {secret.kind for secret in SECRETS} == set(KINDS)
    for path in ("regs.rip", "core.x[30]", "sregs.cr3", "sysreg.APIAKeyLo_EL1", "auxv.AT_RANDOM", "prpsinfo.psargs"):
        assert secret_of(path), path
    for path in ("regs.rflags", "sregs.cr4", "xcr.xcr0", "xsave.header.xstate_bv", "msr.IA32_XFD", "core.pstate"):
        assert secret_of(path) is None, path


def test_numbers_of_arrays_fold() -> None:
    assert folded_paths(["a[0]", "a[1]", "a[3]", "b", "c[2].d", "c[3].d"]) == ["a[0..1, 3]", "b", "c[2..3].d"]
