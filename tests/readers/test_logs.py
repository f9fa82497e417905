"""Logs: strace, trace events, QEMU's messages, dumps of VMCS and VMCB, /proc/cpuinfo."""

from __future__ import annotations

from pathlib import Path

import pytest

from inspector.capture.errors import InputError
from inspector.capture.model import Capture
from inspector.decode.fields import FieldTable
from inspector.readers.open import open_capture
from tests.support import SAMPLES, fields, opened

PREFIXES = (
    "",
    "Nov 21 15:20:01 node7 kernel: ",
    "[ 1204.311000] ",
    "2026-11-21T15:20:01.123456Z ",
    "<4>[    0.1] kvm: ",
)
FEATURES = """\
qemu-system-x86_64: warning: host doesn't support requested feature: CPUID.07H:EBX.fsgsbase [bit 0]
qemu-kvm: warning: host doesn't support requested feature: CPUID[eax=07h,ecx=00h].EBX.avx2 [bit 5]
warning: TCG doesn't support requested feature: CPUID.0DH:EAX.xsavec [bit 1]
warning: host doesn't support requested feature: CPUID[eax=0Dh,ecx=01h].EAX.xsaves [bit 3]
warning: host doesn't support requested feature: CPUID.0DH:EAX [bit 17]
warning: host doesn't support requested feature: MSR(48BH).vmx-apicv-xapic [bit 32]
error: failed to set MSR 0x48b to 0x1582e00000000
qemu: error: failed to get MSR 0x345
kvm [4711]: vcpu0, guest rIP: 0xffffffff8106 Unhandled WRMSR(0x1a4) = 0x5
Failed to put registers after init: Invalid argument
"""
TRACE = """\
       CPU 0/KVM-4371    [005] d....   156.017001: kvm_entry: vcpu 1, rip 0xfff0
       CPU 0/KVM-4371    [005] .....   156.017120: kvm_cpuid: func d idx 1 rax 1f rbx 988 rcx 1900 rdx 0, cpuid entry found
       CPU 0/KVM-4371    [005] .....   156.017140: kvm_msr: msr_write 1c4 = 0x40000
       CPU 0/KVM-4371    [005] .....   156.017141: kvm_msr: msr_write 1c5 = 0x1 (#GP)
CPU 1/KVM  4371/4372  [007] 156.018000:            kvm:kvm_entry: vcpu 2, rip 0x7c00
CPU 1/KVM  4371/4372  [007] 156.018100:       kvm:kvm_cr: cr_write 4 = 0x40620
CPU 1/KVM  4372 [007] 156.0182: x86_fpu:x86_fpu_after_save: x86/fpu: 0xffff88810345 load: 0 xfeatures: 3 xcomp_bv: 8000000000000003
     qemu-system-aar-999     [000] d...1   277.360: kvm_exit: TRAP: HSR_EC: 0x0018 (SYS64), PC: 0xffff800080010000
"""  # noqa: E501 - as they are printed


def opened_text(tmp_path: Path, text: str) -> Capture:
    path = tmp_path / "log"
    path.write_text(text)
    return open_capture(str(path))


def context(capture: Capture) -> dict[str, str]:
    return {field.path: field.text for area in capture.context for field in FieldTable(area)}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_features_that_qemu_is_refused(tmp_path: Path, prefix: str) -> None:
    capture = opened_text(tmp_path, "".join(f"{prefix}{line}\n" for line in FEATURES.splitlines()))
    told = context(capture)
    assert told["refused.CPUID.7.0.EBX[0]"] == "fsgsbase: not given by the host"
    assert "refused.CPUID.7.0.EBX[5]" in told
    assert told["refused.CPUID.D.1.EAX[1]"] == "xsavec: not given by TCG"
    assert "refused.CPUID.D.1.EAX[3]" in told
    assert "refused.CPUID.D.0.EAX[17]" in told
    assert "refused.MSR.48B[32]" in told
    # Bit 0 and bit 5 of leaf 7's EBX are 0, nothing else of it is known.
    assert told["host.7.0.ebx"].endswith("x" * 26 + "0xxxx0")
    assert "set IA32_VMX_PROCBASED_CTLS2 (0x48b) refused: 0x1582e00000000" in told.values()
    assert any("unhandled wrmsr" in text for text in told.values())
    assert any("Failed to put registers after init" in text for text in told.values())
    assert any("unknown" in notice for notice in capture.notices)


def test_the_whole_log_is_looked_through(tmp_path: Path) -> None:
    capture = opened_text(tmp_path, "something else\n" * 20_000 + FEATURES)
    assert capture.format == "log"
    with pytest.raises(InputError, match="a format that inspector knows"):
        opened_text(tmp_path, "something else\n" * 20_000)


@pytest.mark.parametrize("prefix", PREFIXES[:2])
def test_trace_events(tmp_path: Path, prefix: str) -> None:
    capture = opened_text(tmp_path, "".join(f"{prefix}{line}\n" for line in TRACE.splitlines()))
    found = {vcpu.name: {path: field.value for path, field in fields(vcpu).items()} for vcpu in capture.vcpus}
    assert found["vcpu 1"]["regs.rip"] == 0xFFF0
    assert found["vcpu 1"]["msr.IA32_XFD"] == 0x40000
    assert "msr.IA32_XFD_ERR" not in found["vcpu 1"]
    assert found["vcpu 1"]["cpuid.d.1.ebx"] == 0x988
    assert found["vcpu 2"]["sregs.cr4"] == 0x40620
    assert found["fpu 0xffff88810345"]["xsave.header.xcomp_bv"] == 1 << 63 | 3
    assert [vcpu.name for vcpu in capture.vcpus if vcpu.arch == "arm64"] == ["thread 999"]
    assert len(capture.calls) == 8


def test_strace_of_refused_calls() -> None:
    capture = opened("logs/refused-cpuid.strace.txt")
    answers = [(call.name, call.answer) for call in capture.calls]
    assert answers[:2] == [("KVM_CREATE_VM", "4"), ("KVM_CREATE_VCPU", "5")]
    assert answers[8:11] == [
        ("KVM_SET_CPUID2", "EINVAL"),
        ("KVM_SET_CPUID2", "EPERM"),
        ("ARCH_REQ_XCOMP_GUEST_PERM", "EOPNOTSUPP"),
    ]
    assert ("ioctl_0x4008aefe", "ENOTTY") in answers
    (vcpu,) = capture.vcpus
    found = fields(vcpu)
    # The table that was accepted, not those that were refused.
    assert found["cpuid.7.0.ebx"].value == 0x1800002
    assert found["regs.rax"].value == 5
    assert found["sregs.cs.base"].value == 0xFFFF0000
    assert any("KVM_SET_XCRS" in notice for notice in capture.notices)


#: Options of strace -> the same two calls as it prints them then.
SPELLINGS = (
    "ioctl(4, KVM_CREATE_VCPU, 0) = 5\nioctl(5, KVM_SET_REGS, {rax=0x5, ..., rip=0xfff0, rflags=0x2}) = 0\n",
    "ioctl(4<anon_inode:kvm-vm>, KVM_CREATE_VCPU, 0) = 5<anon_inode:kvm-vcpu:0>\n"
    "ioctl(5<anon_inode:kvm-vcpu:0>, KVM_SET_REGS, {rax=0x5, ..., rip=0xfff0, rflags=0x2}) = 0\n",
    "[pid 12] 21:58:11.969683 ioctl(4, KVM_CREATE_VCPU, 0) = 5 <0.000420>\n"
    "[pid 12] 21:58:11.970504 ioctl(5, KVM_SET_REGS, {rax=0x5, ..., rip=0xfff0, rflags=0x2}) = 0 <0.000021>\n",
    "12 ioctl(4, KVM_CREATE_VCPU <unfinished ...>\n13 ioctl(9, KVM_RUN, 0) = 0 (KVM_EXIT_IO)\n"
    "12 <... ioctl resumed>, 0) = 5\n12 ioctl(5, KVM_SET_REGS, {rax=0x5, ..., rip=0xfff0, rflags=0x2}) = 0\n",
    "ioctl(0x4, 0xae41, 0) = 0x5\nioctl(0x5, KVM_SET_REGS, {rax=0x5, ..., rip=0xfff0, rflags=0x2}) = 0\n",
)


@pytest.mark.parametrize("text", SPELLINGS)
def test_spellings_of_strace(tmp_path: Path, text: str) -> None:
    (vcpu,) = opened_text(tmp_path, text).vcpus
    found = {path: field.value for path, field in fields(vcpu).items()}
    assert found == {"regs.rax": 5, "regs.rip": 0xFFF0, "regs.rflags": 2}


def test_what_strace_leaves_out_is_not_known_any_more(tmp_path: Path) -> None:
    text = SPELLINGS[0].replace("...", "rbx=7") + SPELLINGS[0].splitlines()[1] + "\n"
    assert "regs.rbx" not in fields(opened_text(tmp_path, text).vcpus[0])


def test_arguments_that_are_none_are_a_fault(tmp_path: Path) -> None:
    capture = opened_text(tmp_path, SPELLINGS[0] + "ioctl(5, KVM_SET_REGS, {rax=0x5, rbx}) = 0\n")
    (fault,) = capture.faults
    assert "arguments as strace prints them" in str(fault)
    assert fault.offset == len(SPELLINGS[0])


@pytest.mark.parametrize("prefix", PREFIXES)
def test_vmcs(tmp_path: Path, prefix: str) -> None:
    lines = (SAMPLES / "logs/vmcs.dmesg.txt").read_text().splitlines()
    capture = opened_text(tmp_path, "".join(f"{prefix}{line.partition('kvm_intel: ')[2]}\n" for line in lines))
    (vcpu,) = capture.vcpus
    found = {path: field.value for path, field in fields(vcpu).items()}
    assert vcpu.name == "VMCS 00000000a1b2c3d4, CPU 3"
    assert found["sregs.cr4"] == 0x26F0
    assert found["vmcs.cr4_read_shadow"] == 0x6F0
    assert found["sregs.cs.l"] == 1
    assert found["sregs.ds.unusable"] == 1
    assert found["vmcs.host.cr4"] == 0x772EF0
    assert found["vmcs.control.vmexit_reason"] == 0x80000021
    assert found["vmcs.control.entrycontrols"] == 0xD3FF
    assert found["msr.IA32_SYSENTER_EIP"] == 0xFFFFFFFF82001240


@pytest.mark.parametrize("prefix", PREFIXES)
def test_vmcb(tmp_path: Path, prefix: str) -> None:
    lines = (SAMPLES / "logs/vmcb.journal.txt").read_text().splitlines()
    capture = opened_text(tmp_path, "".join(f"{prefix}{line.partition('kernel: ')[2]}\n" for line in lines))
    (vcpu,) = capture.vcpus
    found = {path: field.value for path, field in fields(vcpu).items()}
    assert found["sregs.efer"] == 0x1000
    assert found["vmcb.cpl"] == 3
    assert found["sregs.cs.selector"] == 0xF000
    assert found["sregs.cs.type"] == 0xB
    assert found["vmcb.intercepts[1]"] == 0x724F
    assert found["vmcb.pause_filter_count"] == 3000
    assert found["sregs.gdt.limit"] == 0xFFFF


def test_registers_beside_messages_are_both_told(tmp_path: Path) -> None:
    registers = (SAMPLES / "pasted/kvm-internal-error.journal.txt").read_text()
    capture = opened_text(tmp_path, FEATURES + registers)
    assert len(capture.vcpus) == 1
    assert "refused.CPUID.7.0.EBX[0]" in context(capture)


def test_cpuinfo_and_lscpu(tmp_path: Path) -> None:
    flags = "fpu vme de pse msr avx2 avx512f constant_tsc xsaves"
    cpuinfo = "".join(
        f"processor\t: {n}\nvendor_id\t: GenuineIntel\nflags\t\t: {flags}{' hle' * n}\n\n" for n in range(2)
    )
    for text in (cpuinfo, f"Architecture:  x86_64\nFlags:         {flags}\n"):
        capture = opened_text(tmp_path, text)
        told = context(capture)
        assert told["host.7.0.ebx"].count("1") == 2
        assert told["host.d.1.eax"].endswith("1xxx")
        assert told["cpuinfo.other_words"] == "constant_tsc"
    assert "not of every processor: hle" in opened_text(tmp_path, cpuinfo).notices
    arm = "processor : 0\nFeatures : fp asimd sve\nCPU implementer : 0x41\nCPU part : 0xd40\nCPU variant : 0x1\n"
    capture = opened_text(tmp_path, arm)
    assert fields(capture.vcpus[0])["sysreg.MIDR_EL1"].value == 0x411FD400
    assert context(capture)["cpuinfo.hwcap.sve"] == "on"


def test_the_printks_of_a_patched_kernel(tmp_path: Path) -> None:
    text = "[  158.5] kvm_set_msr_common set MSR_IA32_XFD to 0x40000 on vcpu1 cpu1\n"
    text += "[  0.6] write xfd to cpu0 with 0x40000\n"
    capture = opened_text(tmp_path, text)
    assert [(vcpu.name, fields(vcpu)["msr.IA32_XFD"].value) for vcpu in capture.vcpus] == [
        ("vcpu 1", 0x40000),
        ("host cpu 0", 0x40000),
    ]
