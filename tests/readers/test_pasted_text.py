"""Registers as people paste them: behind the prefixes of logs, from gdb, from the kernel's log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inspector.capture.errors import InputError
from inspector.capture.model import Capture
from inspector.readers.open import open_capture
from tests.support import fields, opened

X86 = """\
RAX=f00df00df00df00d RBX=1111111111111111 RCX=2222222222222222 RDX=3333333333333333
R8 =8888888888888888 R9 =9999999999999999 R10=aaaaaaaaaaaaaaaa R11=bbbbbbbbbbbbbbbb
RIP=0000000000101236 RFL=00000047 [---Z-PC] CPL=0 II=0 A20=1 SMM=0 HLT=0
FS =0018 00007f0011112222 ffffffff 00cff300 DPL=3 DS   [-WA]
GDT=     0000000000101450 00000037
CR0=80000013 CR2=0000000000000000 CR3=0000000000102000 CR4=00000620
FCW=037f FSW=0000 [ST=0] FTW=e0 MXCSR=00003f80
FPR0=8000000000000000 3fff FPR1=b8aa3b295c17f0bc 3fff
XMM00=6c655e575049423b 342d261f18110a03 XMM01=dcd5cec7c0b9b2ab a49d968f88817a73
"""
ARM = """\
 PC=ffff800080010000 X00=0000000000000001 X01=0000000000000002
X02=0000000000000003 X30=000000000000001f  SP=ffff800080020000
PSTATE=600003c5 -ZC- EL1h     FPCR=00000000 FPSR=0000000f
Z00[3-2]=0000000000000008:0000000000000007:0000000000000006:0000000000000005:
   [1-0]=0000000000000004:0000000000000003:0000000000000002:0000000000000001
Z01[2-1]=0000000000000006:0000000000000005:0000000000000004:0000000000000003
     [0]=0000000000000002:0000000000000001
"""
PREFIXES = (
    "",
    "Nov 21 15:20:01 host QEMU[1234]: ",
    "2026-11-21T15:20:01.123456Z ",
    "2026-11-21 15:20:01.123+0000: 4242: ",
    "[  123.456789] ",
    "virt-launcher | ",
)


def opened_text(tmp_path: Path, text: str) -> Capture:
    path = tmp_path / "pasted"
    path.write_text(text)
    return open_capture(str(path))


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("text", [X86, ARM])
def test_a_prefix_changes_nothing(tmp_path: Path, prefix: str, text: str) -> None:
    plain = opened_text(tmp_path, text)
    logged = opened_text(tmp_path, "".join(f"{prefix}{line}\n" for line in ("something else", *text.splitlines())))
    assert logged.format == "info-registers"
    (ours,), (theirs,) = logged.vcpus, plain.vcpus
    assert ours.arch == theirs.arch
    assert {p: f.value for p, f in fields(ours).items()} == {p: f.value for p, f in fields(theirs).items()}


def test_x86_and_arm64_values(tmp_path: Path) -> None:
    found = fields(opened_text(tmp_path, X86).vcpus[0])
    assert found["regs.r8"].value == 0x8888888888888888
    assert found["sregs.fs.base"].value == 0x7F0011112222
    assert found["sregs.gdt.limit"].value == 0x37
    assert found["xsave.st[0]"].text == "1"
    found = fields(opened_text(tmp_path, ARM).vcpus[0])
    assert found["sve.z[0]"].data == b"".join(n.to_bytes(8, "little") for n in range(1, 9))
    assert found["sve.z[1]"].data == b"".join(n.to_bytes(8, "little") for n in range(1, 7))


OOPS_X86 = """\
[  123.456789] BUG: kernel NULL pointer dereference, address: 0000000000000010
[  123.456821] CPU: 1 PID: 321 Comm: insmod Tainted: G           OE      6.1.0-28-amd64 #1
[  123.456841] RIP: 0010:foo_init+0x10/0x1000 [foo]
[  123.456851] Code: Unable to access opcode bytes at 0xffffffffc0a3afe6.
[  123.456861] RSP: 0018:ffffa1e640b6fc20 EFLAGS: 00010246
[  123.456871] RAX: 0000000000000001 RBX: 0000000000000002 RCX: 0000000000000003
[  123.456891] RBP: ffffffffc0a3b010 R08: 0000000000000008 R09: ffffa1e640b6fab0
[  123.456921] FS:  00007f6bf4e6e740(0000) GS:ffff9d4d7bd00000(0000) knlGS:0000000000000000
[  123.456931] CS:  0010 DS: 0000 ES: 0000 CR0: 0000000080050033
[  123.456941] CR2: 0000000000000010 CR3: 0000000104f2a000 CR4: 0000000000350ee0
[  123.456942] PKRU: 55555554
[  123.457000] Call Trace:
[  123.457001]  do_syscall_64+0x5b/0xc0
[  123.457002] RIP: 0033:0x7f6bf4f8e3b9
[  123.457003] RSP: 002b:00007ffd5d3b7b48 EFLAGS: 00000246 ORIG_RAX: 0000000000000139
[  123.457004] RAX: ffffffffffffffda RBX: 000055a0c0a3b010 RCX: 00007f6bf4f8e3b9
[  123.457005] ---[ end trace 0000000000000000 ]---
[  123.457006] RIP: 0010:foo_init+0x10/0x1000 [foo]
[  123.457007] RSP: 0018:ffffa1e640b6fc20 EFLAGS: 00010246
[  123.457008] RAX: 0000000000000001 RBX: 0000000000000002 RCX: 0000000000000003
[  123.457009] RBP: ffffffffc0a3b010 R08: 0000000000000008 R09: ffffa1e640b6fab0
[  123.457010] FS:  00007f6bf4e6e740(0000) GS:ffff9d4d7bd00000(0000) knlGS:0000000000000000
[  123.457011] CS:  0010 DS: 0000 ES: 0000 CR0: 0000000080050033
[  123.457012] CR2: 0000000000000010 CR3: 0000000104f2a000 CR4: 0000000000350ee0
[  123.457013] PKRU: 55555554
"""
OOPS_ARM = """\
[   12.345690] CPU: 3 UID: 0 PID: 1 Comm: swapper/0 Not tainted 6.12.0 #1
[   12.345700] pstate: 60400009 (nZCv daif +PAN -UAO)
[   12.345710] pc : foo+0x10/0x20
[   12.345715] lr : bar+0x20/0x40
[   12.345720] sp : ffff80001003bd50
[   12.345725] x29: ffff80001003bd50 x28: 0000000000000028
[   12.345735] x1 : 0000000000000001 x0 : 0000000000000010
"""


@pytest.mark.parametrize("stamped", [True, False])
def test_oops_of_x86(tmp_path: Path, stamped: bool) -> None:
    text = OOPS_X86 if stamped else "\n".join(line[15:] for line in OOPS_X86.splitlines())
    capture = opened_text(tmp_path, text)
    assert capture.format == "kernel-oops"
    assert [vcpu.name for vcpu in capture.vcpus] == ["cpu 1, insmod 321", "cpu 1, insmod 321, user registers"]
    kernel, user = map(fields, capture.vcpus)
    assert kernel["regs.r8"].value == 8
    assert kernel["regs.rflags"].value == 0x10246
    assert kernel["sregs.cr4.OSXSAVE" if "sregs.cr4.OSXSAVE" in kernel else "sregs.cr4"].value
    assert kernel["sregs.fs.base"].value == 0x7F6BF4E6E740
    assert kernel["xsave.pkru.pkru"].value == 0x55555554
    assert "regs.rip" not in kernel
    assert user["regs.rip"].value == 0x7F6BF4F8E3B9
    assert user["regs.rax"].value == 0xFFFFFFFFFFFFFFDA
    assert "foo_init+0x10/0x1000" in capture.notices[0]


def test_oops_of_arm64(tmp_path: Path) -> None:
    (vcpu,) = (capture := opened_text(tmp_path, OOPS_ARM)).vcpus
    found = fields(vcpu)
    assert vcpu.name == "cpu 3, swapper/0 1"
    assert found["core.pstate"].value == 0x60400009
    assert found["core.sp"].value == 0xFFFF80001003BD50
    assert found["core.x[28]"].value == 0x28
    assert found["core.x[1]"].value == 1
    assert not {"core.pc", "core.x[30]"} & set(found)
    assert "foo+0x10/0x20" in capture.notices[0]


def test_a_long_log_is_searched_for_its_oops(tmp_path: Path) -> None:
    noise = "".join(f"[{n:5}.000000] usb 1-{n}: new device\n" for n in range(4000))
    assert opened_text(tmp_path, noise + OOPS_ARM).vcpus[0].arch == "arm64"
    with pytest.raises(InputError, match="a kernel log without any"):
        opened_text(tmp_path, noise)


def test_json_lists_are_no_kernel_log(tmp_path: Path) -> None:
    rows = [{"name": "max", "typename": "max-cpu", "unavailable-features": []}]
    assert opened_text(tmp_path, json.dumps(rows)).format == "qmp-definitions"
    with pytest.raises(InputError, match="JSON"):
        opened_text(tmp_path, "[1.5, 2]")


GDB_X86 = """\
0x00000000004019bf in ?? ()

Thread 1 (Thread 1.1 (CPU#0 [running])):
rax            0xffffffffa8c6ab00  -1463375104
rbx            0x3cb36a            3978090
rip            0xffffffffa8c633cc  0xffffffffa8c633cc
eflags         0x6                 [ IOPL=0 PF ]
cs             0x10                16
st4            0.693147180559945309429 (raw 0x3ffeb17217f7d1cf79ac)
fctrl          0x37f               895
ftag           0x0                 0
cr4            0x751eb0            [ PKE SMAP ]
xmm0           {v4_float = {0x1, 0x2}, uint128 = 0x69625b544d463f38312a231c150e0700}
ymm0           {v8_float = {0x1}, v2_int128 = {0x69625b544d463f38312a231c150e0700, 0x1}}
k1             0xff                255

Thread 2 (Thread 1.2 (CPU#1 [halted ])):
rax            0x2                 2
rbx            0x3                 3
"""
GDB_ARM = """\
x0             0xf00               3840
x1             0x1111111111111111  1229782938247303441
sp             0xffffc356d130      0xffffc356d130
pc             0x4008ac            0x4008ac
cpsr           0x60001000          [ EL=0 BTYPE=0 SSBS C Z ]
v0             {d = {f = {0x0, 0x0}, u = {0x1, 0x2}}, q = {u = {0x20000000000000001}, s = {0x20000000000000001}}}
z0             {q = {u = {0x1, 0x2}, s = {0x1, 0x2}}, d = {u = {0x1, 0x0, 0x2, 0x0}}}
p0             {0xff, 0x0 <repeats 2 times>, 0x1}
fpsr           0xf                 15
TCR_EL1        0x5000f5b5503510    22519053445772560
"""


def test_gdb_of_x86(tmp_path: Path) -> None:
    capture = opened_text(tmp_path, GDB_X86)
    assert [vcpu.name for vcpu in capture.vcpus] == ["thread 1", "thread 2"]
    found = fields(capture.vcpus[0])
    assert found["regs.rax"].value == 0xFFFFFFFFA8C6AB00
    assert found["regs.rflags"].value == 6
    assert found["sregs.cs.selector"].value == 0x10
    assert found["sregs.cr4"].value == 0x751EB0
    assert found["xsave.st[4]"].value == 0x3FFEB17217F7D1CF79AC
    assert found["xsave.legacy.fcw"].value == 0x37F
    assert found["xsave.ymm[0]"].value == 1 << 128 | 0x69625B544D463F38312A231C150E0700
    assert found["xsave.opmask.k[1]"].value == 0xFF
    assert "xsave.legacy.ftw" not in found
    assert fields(capture.vcpus[1])["regs.rbx"].value == 3


def test_gdb_of_arm64(tmp_path: Path) -> None:
    (vcpu,) = opened_text(tmp_path, GDB_ARM).vcpus
    found = fields(vcpu)
    assert vcpu.arch == "arm64"
    assert found["core.pc"].value == 0x4008AC
    assert found["core.v[0]"].value == 0x20000000000000001
    assert found["sve.z[0]"].data == (1).to_bytes(16, "little") + (2).to_bytes(16, "little")
    assert found["sve.p[0]"].data == b"\xff\0\0\x01"
    assert found["sysreg.TCR_EL1"].value == 0x5000F5B5503510


def test_bomb_of_repeats_stays_small(tmp_path: Path) -> None:
    text = GDB_ARM.replace("0x0 <repeats 2 times>", "0x0 <repeats 99999999999 times>")
    assert fields(opened_text(tmp_path, text).vcpus[0])["sve.p[0]"].bits <= 2048


def test_the_samples_still_say_info_registers() -> None:
    assert opened("qemu-turin/info-registers.txt.gz").format == "info-registers"


def test_repeats_of_thousands_of_digits(tmp_path: Path) -> None:
    path = tmp_path / "gdb.txt"
    path.write_text(f"x0   0x1  1\nx1   0x2  2\nx2   0x3  3\np0  {{0x1 <repeats {'9' * 5000} times>}}\n")
    assert fields(open_capture(str(path)).vcpus[0])["core.x[2]"].value == 3
