"""The commands as a user runs them: output, one-line errors, exit codes, what is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from inspector.cli.main import COMMANDS, main
from tests.support import SAMPLES


def run(*words: str, stdin: bytes | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "inspector", *words],
        capture_output=True,
        text=stdin is None,
        input=stdin,
        env={**os.environ, **environment},
        timeout=60,
        check=False,
    )


def test_show_json_has_the_documented_shape() -> None:
    done = run("show", "sample:amx/process.core", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["schema"] == 2
    assert found["format"] == "elf-core"
    assert found["partial"] is None
    (vcpu,) = found["vcpus"]
    assert (vcpu["index"], vcpu["name"], vcpu["arch"]) == (0, "thread 105", "x86")
    by_path = {field["path"]: field for field in vcpu["fields"]}
    pkru = by_path["xsave.pkru.pkru"]
    assert pkru["value"] == "0x55555554"
    assert pkru["bytes"] == "54555555"
    assert pkru["bits"] == 32
    assert set(pkru) == {"path", "value", "bytes", "bits", "text", "meaning", "note"}
    meanings = found["meanings"]
    said = meanings[pkru["meaning"]]
    assert set(said) == {"title", "source", "area", "span"}
    assert (said["area"], said["span"]) == ("xsave", {"offset": 2688, "bit": 0, "width": 32})
    assert vcpu["areas"]["xsave"] == 0x9DC
    core = (SAMPLES / "amx/process.core").read_bytes()
    for field in vcpu["fields"]:
        area, span = meanings[field["meaning"]]["area"], meanings[field["meaning"]]["span"]
        if span and field["bytes"] and "pieces" not in span:
            at = vcpu["areas"][area] + span["offset"]
            assert core[at : at + len(field["bytes"]) // 2].hex() == field["bytes"], field["path"]


def test_show_field_and_vcpu() -> None:
    done = run("show", "sample:zen5-threads/xcore.core.gz", "--vcpu", "2", "--field", "xsave.zmm[*]", "--json")
    found = json.loads(done.stdout)
    assert [vcpu["index"] for vcpu in found["vcpus"]] == [2]
    assert [field["path"] for field in found["vcpus"][0]["fields"]] == [f"xsave.zmm[{n}]" for n in range(32)]


def test_show_bits_and_elements() -> None:
    done = run("show", "sample:amx/process.core", "--field", "xsave.legacy.mxcsr.*", "--field", "xsave.zmm[0].u64[7]")
    assert "xsave.legacy.mxcsr.IM" in done.stdout
    assert "0x8888888888888888" in done.stdout


def test_show_list() -> None:
    lines = run("show", "sample:zen5-threads/xcore.core.gz", "--list").stdout.splitlines()
    assert len(lines) == 5
    assert "thread 30403" in lines[1]
    assert "SIGILL" in lines[1]


def test_show_reads_standard_input() -> None:
    done = run("show", "-", "--field", "xsave.pkru.pkru", stdin=(SAMPLES / "amx/process.core").read_bytes())
    assert done.returncode == 0
    assert b"0x55555554" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["show", "/does/not/exist"], 3, "no such file"),
        (["show", "/dev/null"], 3, "a character device"),
        (["show", str(SAMPLES / "amx/about.toml")], 3, "a format that inspector knows"),
        (["show", str(SAMPLES)], 3, "files named after KVM structures"),
        (["show", "sample:amx/process.core", "--layout", "i386"], 2, "no such CPU layout"),
        (["show", "sample:amx/process.core", "--as", "soup"], 2, "no such structure"),
        (["show", "sample:amx/process.core", "--vcpu", "1"], 2, "has vCPUs 0 to 0"),
        (["show", "sample:amx/process.core", "--field", "nothing.*"], 1, "no field matches nothing.*"),
        (["show", "sample:amx/vcpu-permitted.kvm_regs.bin"], 3, "could be --as kvm-regs"),
        (["open", "sample:amx/process.core"], 2, "open needs a terminal"),
        (["dance"], 2, "no command 'dance'"),
        (["layouts", "show", "nobody"], 2, "no such name"),
        (["screenshot", "sample:amx", "-o", "x.bmp"], 2, "has to end in"),
        (["screenshot", "sample:amx", "--size", "big", "-o", "x.svg"], 2, "columns x lines"),
        (["convert", "sample:amx", "--to", "core", "-o", "-"], 2, "only what came from an ELF core"),
        (["convert", "sample:amx/process.core", "--to", "cpuid", "-o", "-"], 2, "no CPUID"),
    ],
)
def test_errors_are_one_line(words: list[str], code: int, message: str) -> None:
    done = run(*words)
    assert done.returncode == code, done.stderr
    errors = [line for line in done.stderr.splitlines() if "not part of the vCPU" not in line]
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in done.stderr


def test_partial_file_shows_the_rest_and_exits_3(tmp_path: Path) -> None:
    path = tmp_path / "cut"
    path.write_bytes((SAMPLES / "amx/process.core").read_bytes()[:6000])
    done = run("show", str(path), "--json")
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    found = json.loads(done.stdout)
    assert found["partial"]["offset"] is not None
    by_path = {field["path"]: field for field in found["vcpus"][0]["fields"]}
    assert by_path["xsave.zmm[0]"]["value"] is not None
    assert by_path["xsave.xtiledata.tmm[7]"]["value"] is None


@pytest.mark.parametrize(
    ("words", "not_needed"),
    [
        (["show", "sample:amx/process.core", "--json"], ["textual", "rich", "asyncio", "tomllib"]),
        (["diff", "sample:amx/process.core", "sample:amx/process.core"], ["textual", "rich", "asyncio", "tomllib"]),
        # The hosts that it lists are TOML.
        (["layouts", "list"], ["textual", "rich", "asyncio"]),
        (["--help"], ["textual", "rich", "asyncio", "tomllib"]),
    ],
)
def test_textual_is_not_imported(words: list[str], not_needed: list[str]) -> None:
    code = (
        "import sys; from inspector.cli.main import main; main(sys.argv[1:]);"
        f"bad = [m for m in {not_needed} if m in sys.modules];"
        "sys.exit(f'imported {bad}' if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert "usage: inspector" in capsys.readouterr().out


def test_broken_pipe_is_silent() -> None:
    done = subprocess.run(
        f"{sys.executable} -m inspector show sample:zen5-kvm 2>/dev/null | head -1",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""


@pytest.mark.parametrize("suffix", ["svg", "png", "html", "txt"])
def test_screenshot_formats(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture.{suffix}"
    done = run("screenshot", "sample:amx/process.core", "--field", "tmm[1]", "--size", "80x24", "-o", str(path))
    assert done.returncode == 0, done.stderr
    data = path.read_bytes()
    marks = {"svg": b"<svg", "png": b"\x89PNG", "html": b"<html", "txt": b"xtiledata"}
    assert marks[suffix] in data
    if suffix == "svg":
        assert b"url(http" not in data


@pytest.mark.parametrize(
    ("targets", "mark"),
    [((), "L: its lab"), (("sample:zen5-kvm", "sample:amx"), "2 captures")],
)
def test_the_start_screen_and_several_captures_are_pictured(
    tmp_path: Path, targets: tuple[str, ...], mark: str
) -> None:
    path = tmp_path / "picture.txt"
    assert main(["screenshot", *targets, "--size", "100x30", "-o", str(path)]) == 0
    assert mark in path.read_text()


def test_no_color_screens_carry_no_colour(tmp_path: Path) -> None:
    import re

    path = tmp_path / "mono.svg"
    run("screenshot", "sample:amx/process.core", "--field", "tmm[1]", "-o", str(path), NO_COLOR="1")
    body = path.read_text().split("<g transform", 1)[1]
    styles = re.findall(r"#([0-9a-f]{6})", path.read_text().split("<style>")[1].split("</style>")[0])
    fills = re.findall(r'fill="#([0-9a-f]{6})"', body)
    window_frame = {"ff5f57", "febc2e", "28c840", "c5c8c6"}
    for colour in set(styles + fills) - window_frame:
        assert colour[:2] == colour[2:4] == colour[4:], colour


def test_layouts_list_and_show() -> None:
    listed = run("layouts", "list").stdout
    assert "sapphire-rapids" in listed
    assert "xtiledata" in listed
    for name in ("sapphire-rapids", "zen5", "apx", "xtilecfg", "18", "x87", "kvm-sregs", "elf-prstatus-x86-64"):
        done = run("layouts", "show", name)
        assert done.returncode == 0
        assert "source:" in done.stdout


def test_samples_open(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["samples"]) == 0
    targets = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert len(targets) > 100
    for target in targets:
        assert main(["show", target, "--list"]) == 0, target
