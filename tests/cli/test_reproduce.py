"""inspector reproduce: the program compiles, and where KVM is, it is refused as the log's call was."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from inspector.cli.main import main

SAMPLE = "sample:logs/refused-cpuid.strace.txt"
HOSTILE = (
    'ioctl(3</home/someone/x"; system("y">, KVM_CREATE_VM, 0) = 4\n'
    "ioctl(4, KVM_CREATE_VCPU, 0) = 5</secret*/>\n"
    'ioctl(5, KVM_*/system("x"), 5) = -1 EINVAL (Invalid argument)\n'
    "ioctl(5, KVM_SET_CPUID2, {nent=1, entries=[{function=0x80000008, index=0, flags=0, eax=0x3300, ebx=0, "
    "ecx=0, edx=0}]}) = -1 EINVAL (Invalid argument)\n"
)
_CC = shutil.which("cc")


def written(tmp_path: Path, target: str, *words: str) -> Path:
    path = tmp_path / "case.c"
    assert main(["reproduce", target, "-o", str(path), *words]) == 0
    return path


@pytest.mark.skipif(_CC is None, reason="no C compiler is installed")
@pytest.mark.parametrize("call", ["9", "10", "11", "18", "19"])
def test_the_program_is_refused_alike(tmp_path: Path, call: str) -> None:
    path = written(tmp_path, SAMPLE, "--call", call)
    program = tmp_path / "case"
    subprocess.run([str(_CC), "-Wall", "-Wextra", "-Werror", "-o", str(program), str(path)], check=True)
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return
    done = subprocess.run([str(program)], capture_output=True, text=True, check=False, timeout=20)
    # A host of another kind may take what this one refused; it says so, and it never breaks.
    assert done.returncode in (0, 1, 2)
    assert done.returncode == 2 or "the log's: E" in done.stdout


def test_nothing_of_the_log_but_numbers(tmp_path: Path) -> None:
    log = tmp_path / "private-name"
    log.write_text(HOSTILE)
    text = written(tmp_path, str(log)).read_text()
    for word in ("someone", "secret", "private-name", 'system("'):
        assert word not in text
    assert "bytes3" in text
    assert max(map(len, text.splitlines())) < 140
    if _CC is not None:
        subprocess.run([_CC, "-Wall", "-Werror", "-fsyntax-only", str(tmp_path / "case.c")], check=True)


def test_only_what_the_refused_call_is_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log"
    region = "{slot=0, flags=KVM_MEM_READONLY, guest_phys_addr=0, memory_size=12345, userspace_addr=0x7f00}"
    log.write_text(
        "ioctl(3, KVM_CREATE_VM, 0) = 4\nioctl(4, KVM_CREATE_VCPU, 0) = 5\nioctl(4, KVM_CREATE_VCPU, 1) = 6\n"
        "ioctl(4, KVM_ENABLE_CAP, 0x7ffc) = 0\nioctl(6, KVM_SET_REGS, {rax=1, rip=2}) = 0\n"
        f"ioctl(4, KVM_SET_USER_MEMORY_REGION, {region}) = -1 EINVAL (Invalid argument)\n"
    )
    assert main(["reproduce", str(log)]) == 0
    out, err = capsys.readouterr()
    assert re.findall(r"/\* (KVM_\w+) \*/", out) == ["KVM_CREATE_VM", "KVM_SET_USER_MEMORY_REGION"]
    assert "Left out: call 4, KVM_ENABLE_CAP" in out
    assert "KVM_ENABLE_CAP" in err
    assert "0x02, 0x00, 0x00, 0x00," in out


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        ("ioctl(3, KVM_CREATE_VM, 0) = 4\n", [], "no call of KVM in this log was refused"),
        ("ioctl(3, KVM_CREATE_VM, 0) = 4\n", ["--call", "1"], "--call 1: no refused call"),
        ("ioctl(5, KVM_SET_XCRS, 0x7ffc) = -1 EINVAL (x)\n", [], "bytes are not in the log"),
        ("ioctl(5, KVM_NMI, 0) = -1 EINVAL (x)\nioctl(5, KVM_NMI, 0) = -1 EWHAT (x)\n", [], "EWHAT"),
    ],
)
def test_what_cannot_be_reproduced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: list[str], said: str
) -> None:
    log = tmp_path / "log"
    log.write_text(text)
    assert main(["reproduce", str(log), *words]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("call", "data"),
    [
        ("KVM_SET_MSRS, {nmsrs=1, entries=[{index=0xda0, data=0x1800}]}", "01000000 00000000 a00d0000 00000000 0018"),
        ("KVM_SET_XCRS, {nr_xcrs=1, flags=0, xcrs=[{xcr=0, value=0x2}]}", "01000000 00000000 00000000 00000000 02"),
        ("KVM_ENABLE_CAP, {cap=KVM_CAP_SPLIT_IRQCHIP, flags=0, args=[24]}", "79000000 00000000 18"),
        ("KVM_SET_MP_STATE, {mp_state=9}", "09"),
        ("KVM_SET_DEBUGREGS, {db=[1, 2, 3, 4], dr6=0, dr7=0x100000000, flags=0}", "01"),
        ("KVM_SET_SREGS2, {cr0=0x1, cr4=0x2, efer=0x8000000000000000, flags=2}", ""),
        ("KVM_SET_VCPU_EVENTS, {exception={injected=1, nr=14}, flags=0x80}", ""),
        ("KVM_SET_FPU, {fcw=0x37f, mxcsr=0x1ff80}", ""),
    ],
)
def test_structures_that_a_line_carries(tmp_path: Path, call: str, data: str) -> None:
    log = tmp_path / "log"
    log.write_text(
        "ioctl(3, KVM_CREATE_VM, 0) = 4\nioctl(4, KVM_CREATE_VCPU, 0) = 5\n"
        f"ioctl(5, {call}) = -1 EINVAL (Invalid argument)\n"
    )
    text = written(tmp_path, str(log)).read_text()
    found = bytes(int(byte, 16) for byte in re.findall(r"0x([0-9a-f]{2}),", text))
    assert found.startswith(bytes.fromhex(data))
    assert any(found)
    if _CC is not None:
        subprocess.run([_CC, "-Wall", "-Werror", "-fsyntax-only", str(tmp_path / "case.c")], check=True)


@pytest.mark.parametrize(
    ("target", "calls"),
    [
        (
            "sample:kvm-vcpus/milan-nested-linux-7.3",
            (
                "CPUID2",
                "SREGS2",
                "NESTED_STATE",
                "REGS",
                "XSAVE",
                "XCRS",
                "MSRS",
                "VCPU_EVENTS",
                "MP_STATE",
                "DEBUGREGS",
            ),
        ),
        ("sample:amx", ("CPUID2", "SREGS2", "XSAVE", "MSRS")),
        ("sample:arm64-kvm/max-linux-7.2.13.regs", ()),
    ],
)
def test_a_captured_vcpu_is_given_to_kvm(tmp_path: Path, target: str, calls: tuple[str, ...]) -> None:
    path = written(tmp_path, target)
    text = path.read_text()
    made = re.findall(r'\{"KVM_SET_(\w+)", 0x', text)
    assert [name for name in made if name in calls] == list(calls)
    assert not {"SREGS", "FPU"} & set(made)
    assert ("SYS_arch_prctl, 0x1025, 18UL" in text) == (target == "sample:amx")
    if not made:
        # The lengths first, then KVM_ARM_VCPU_FINALIZE, then the rest.
        assert re.findall(r"\{(0x[0-9a-f]+)ULL", text)[0] == "0x606000000015ffff"
        assert "i == 1 && " in text
    if _CC is None:
        return
    program = tmp_path / "case"
    subprocess.run([_CC, "-Wall", "-Wextra", "-Werror", "-o", str(program), str(path)], check=True)
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        done = subprocess.run([str(program)], capture_output=True, text=True, check=False, timeout=20)
        assert done.returncode in (0, 1, 2)
        assert done.stdout
        assert (done.returncode == 1) == ("refused: 0;" in done.stdout)


@pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK) or _CC is None, reason="no /dev/kvm or no compiler")
def test_what_kvm_gave_it_takes(tmp_path: Path) -> None:
    state = tmp_path / "mine.vcpu"
    if main(["convert", "kvm:", "--to", "vcpu", "-o", str(state)]):
        pytest.skip("no KVM of x86 here")
    path = written(tmp_path, str(state))
    program = tmp_path / "case"
    subprocess.run([str(_CC), "-o", str(program), str(path)], check=True)
    done = subprocess.run([str(program)], capture_output=True, text=True, check=False, timeout=20)
    # MSRs that hang on what the VM has not (an irqchip) may stay out; structures may not.
    assert "KVM_SET_MSRS" not in done.stdout or "MSR 0x" in done.stdout
    assert not re.findall(r"refused: KVM_SET_(?!MSRS)\w+", done.stdout)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sample:amx", "--call", "1"], "is no log of calls"),
        (["sample:amx", "--vcpu", "9"], "has 2 vCPUs"),
        ([SAMPLE, "--vcpu", "0"], "is a log of calls"),
        (["sample:logs/vmcs.dmesg.txt"], "no structure that KVM takes"),
    ],
)
def test_words_for_captures(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", *words]) == 2
    assert said in capsys.readouterr().err
