"""What is accepted and lost all the same when a vCPU moves: registers, components, calls, MSRs that nobody saved."""

from __future__ import annotations

import pytest

from inspector.machine.outcome import Rule
from inspector.machine.x86.kvm.msrs import access
from inspector.machine.x86.migrate.bits import Difference
from inspector.machine.x86.migrate.calls import Call, Restored
from inspector.machine.x86.migrate.guest import Guest
from inspector.machine.x86.migrate.lost import Lost, has, lost
from layouts.lint.table import lint_rules
from layouts.x86.vmms import VMMS
from tests.machine.x86_moves import bit, feature, guest_with, silicon, zen5

PKU = (7, 0, "ecx", 3)


def losses(
    guest: Guest, vmm: str, *steps: str, bits: tuple[Difference, ...] = (), left_out: tuple[int, ...] = ()
) -> list[str]:
    """Of a vCPU that KVM has reset, after calls that were accepted."""
    host = silicon("6.18")
    calls = tuple(Call(step, step, Rule("r").ok()) for step in steps)
    found = lost(guest, host, VMMS[vmm], bits, Restored(calls, host.bare, (), left_out))
    return [f"{entry.kind} {entry.where}: {entry.text}" for entry in found]


@pytest.mark.parametrize("step", ["sregs", "sregs2"])
def test_control_registers_that_kvm_keeps_otherwise(step: str) -> None:
    guest = guest_with(facts={"cr0": 0x80000011, "cr4": 0x20, "efer": 0x500})
    assert losses(guest, "firecracker", step) == [
        "sregs sregs.cr0: CR0 0x80000011 is accepted and reads 0x60000010",
        "sregs sregs.cr4: CR4 0x20 is accepted and reads 0x0",
        "sregs sregs.efer: EFER 0x500 is accepted and reads 0x0",
    ]
    assert losses(guest, "firecracker", "regs") == losses(guest_with(facts={"cr0": 0x60000010}), "qemu", step) == []


def test_components_that_are_not_given_back() -> None:
    guest = guest_with(
        None, None, {"xstate_bv": 0x287 | 1 << 40, "xcr0": 0x207 | 1 << 40}, xcrs=b"\0" * 8, xsave=b"\0" * 8
    )
    assert losses(guest, "firecracker", "xsave") == [
        f"xsave xsave.header.xstate_bv[{number}]: {name} in use is accepted and not given back: "
        "the guest's CPUID has it not"
        for number, name in ((2, "avx"), (9, "pkru"), (40, "component 40"))
    ]
    assert losses(guest, "firecracker", "regs") == []
    assert losses(guest._replace(captured=frozenset(("xsave",))), "firecracker", "xsave") == []


@pytest.mark.parametrize(
    ("size", "eax", "cut"), [(4096, 1 << 18, True), (4097, 1 << 18, False), (4096, 7, False), (0, 1 << 18, False)]
)
def test_an_image_with_tiles_is_longer_than_a_page(size: int, eax: int, cut: bool) -> None:
    guest = guest_with({(0xD, 0): (eax, 0, 0, 0)}, xsave=b"\0" * size)
    text = f"xsave xsave: the image is cut at {size} bytes: a guest with tiles has 11008 (KVM_GET_XSAVE2)"
    assert losses(guest, "firecracker") == ([text] if cut else [])


@pytest.mark.parametrize(
    ("vmm", "state", "said"),
    [
        (
            "firecracker",
            b"\x01\0\0\0",
            ["nested nested_state: Firecracker does not set nested state, and the vCPU is in L2"],
        ),
        ("firecracker", b"\x02\0\x01\0", []),
        ("firecracker", b"\0\x01\0\0", []),
        ("firecracker", b"", []),
        ("qemu", b"\x01\0\0\0", []),
    ],
)
def test_nested_state_that_is_not_moved(vmm: str, state: bytes, said: list[str]) -> None:
    assert losses(guest_with(nested=state), vmm) == said


def test_bits_and_msrs_that_go_in_silence() -> None:
    width = bit("cpuid", 0x80000008, 0, "eax", 0, 7, "at_most")
    bits = (feature(PKU)._replace(blocks=False), feature(PKU), width)
    assert losses(guest_with(), "qemu", bits=bits) == [
        "cpuid CPUID.7.0.ECX[3]: the guest loses pku, which it has seen since it started",
        "cpuid CPUID.80000008.0.EAX[7:0]: physical address width: the guest has 0x1, the destination 0x0",
    ]
    assert losses(guest_with(), "firecracker", bits=bits[1:2]) == [
        "cpuid CPUID.7.0.ECX[3]: the guest goes on seeing pku, which the destination does not back"
    ]
    guest = guest_with(None, {0xE1: 4, 0x277: 5, 0x10: 9})
    left = "msr MSR.E1: IA32_UMWAIT_CONTROL 0x4 is left out: the destination's KVM does not list it"
    assert losses(guest, "qemu", left_out=(0xE1,)) == [left]
    reads = "msr MSR.277: IA32_PAT 0x5 is accepted and reads 0x7040600070406"
    assert losses(guest, "qemu", "msrs", left_out=(0xE1,)) == [reads, left]


def test_a_guest_has_a_feature_by_its_table() -> None:
    xsaves = {(0xD, 1): (8, 0, 0, 0)}
    assert not has(xsaves, "xsaves")
    assert has({(0xD, 1): (8, 0, 1, 0)}, "xsaves")
    assert has({(0xD, 1): (8, 0, 0, 1)}, "xsaves")
    assert [has({}, "xsaves"), has({(7, 0): (0, 0, 8, 0)}, "pku"), has({}, "pku"), has(xsaves, "nonsense")] == [
        False, True, False, False
    ]  # fmt: skip


def everything(guest: Guest, *calls: Call, vmm: str = "qemu", tsc_khz: int = 0) -> list[Lost]:
    host = silicon("6.18")
    host.kvm.processor = host.kvm.processor._replace(tsc_khz=tsc_khz)
    return list(lost(guest, host, VMMS[vmm], (), Restored(calls, host.bare, ())))


def refused(name: str, step: str, vmm: str, *msrs: tuple[int, str]) -> Call:
    rule = Rule("r")
    rule.check("the VMM asks for what there is", held=False)
    return Call(name, step, rule.refuse(22), refused=msrs, then=VMMS[vmm].on_refusal(step))


def test_calls_that_are_refused_and_passed_over() -> None:
    """Cloud Hypervisor goes on without an MSR, QEMU without KVM_SET_TSC_KHZ; where a VMM ends, nothing is lost."""
    msrs = refused("KVM_SET_MSRS", "msrs", "cloud-hypervisor", (0xE1, "why"), (0x1234, "because"))
    source = VMMS["cloud-hypervisor"].on_refusal("msrs").source
    assert everything(guest_with(), msrs, vmm="cloud-hypervisor") == [
        Lost("msr", "MSR.E1", "IA32_UMWAIT_CONTROL is not set: why", source),
        Lost("msr", "MSR.1234", f"{access.name_of(0x1234)} is not set: because", source),
    ]
    tsc = refused("KVM_SET_TSC_KHZ", "tsc_khz", "qemu")
    then = VMMS["qemu"].on_refusal("tsc_khz")
    text = f"{then.text}: {tsc.outcome.because}"
    assert everything(guest_with(), tsc) == [Lost("call", "KVM_SET_TSC_KHZ", text, then.source)]
    regs = Call("KVM_SET_REGS", "regs", Rule("r").ok())
    assert [entry.kind for entry in everything(guest_with(), regs, tsc)] == ["call"]
    ended = refused("KVM_SET_REGS", "regs", "qemu")
    assert everything(guest_with(), ended, msrs._replace(then=None), ended._replace(then=None)) == []


def test_a_frequency_that_was_taken_and_is_not_there() -> None:
    """set_tsc_khz: without scaling, above the host's own frequency."""
    guest = guest_with()
    guest = guest._replace(saved=guest.saved._replace(tsc_khz=3000))
    taken, regs = Call("KVM_SET_TSC_KHZ", "tsc_khz", Rule("r").ok()), Call("KVM_SET_REGS", "regs", Rule("r").ok())
    (found,) = everything(guest, regs, taken, tsc_khz=2000)
    assert (found.kind, found.where, found.code) == ("call", "KVM_SET_TSC_KHZ", "")
    assert found.text.startswith("the guest's TSC has 3000 kHz and runs at the destination's 2000")
    assert everything(guest, regs, tsc_khz=2000) == []
    assert everything(guest, taken, tsc_khz=3000) == []
    assert [entry.kind for entry in everything(guest, refused("K", "tsc_khz", "qemu"), tsc_khz=2000)] == ["call"]


@pytest.mark.parametrize(
    ("msrs", "steps", "has_table", "named"),
    [
        (((0x10, 1), (0x174, 1)), {"msrs"}, True, ["MSR.48"]),
        (((0x10, 1), (0x48, 1)), {"msrs"}, True, []),
        # One alone is no list that somebody saved.
        (((0x10, 1),), {"msrs"}, True, []),
        (((0x10, 1), (0x174, 1)), set(), True, []),
        (((0x10, 1), (0x174, 1)), {"msrs"}, False, []),
        (((0x10, 1),), {"msrs"}, False, []),
    ],
)
def test_msrs_of_features_that_nobody_saved(
    msrs: tuple[tuple[int, int], ...], steps: set[str], has_table: bool, named: list[str]
) -> None:
    """IA32_SPEC_CTRL of a guest that has it."""
    guest = guest_with({(7, 0): (0, 0, 0, 1 << 26)} if has_table else {}, dict(msrs))
    found = everything(guest._replace(captured=frozenset(steps)))
    assert [entry.where for entry in found] == named
    assert {(entry.kind, entry.code) for entry in found} == ({("msr", "X0308")} if named else set())
    assert everything(guest._replace(captured=frozenset(steps), of_qemu=True)) == [], "what a stream lacks was 0"


def test_a_cut_image_is_what_lint_finds_in_the_capture() -> None:
    (found,) = everything(guest_with({(0xD, 0): (1 << 18, 0, 0, 0)}, xsave=b"\0" * 600))
    assert (found.where, found.code) == ("xsave", "X0112")
    assert found.code in lint_rules()
    assert found.source.endswith("KVM_GET_XSAVE2")


def test_what_qemu_asks_of_machine_checks_is_no_register() -> None:
    """IA32_MCG_CAP of a stream is what QEMU gave KVM_X86_SETUP_MCE; of a list of MSRs, what the guest reads."""
    host, ser_p = zen5("6.18"), 1 << 24
    host.bare.mcg_cap = cap = 1 << 8 | 5 | ser_p
    reads = f"IA32_MCG_CAP {cap:#x} is accepted and reads {cap & ~ser_p:#x}"
    pat = "IA32_PAT 0x5 is accepted and reads 0x7040600070406"
    taken = Restored((Call("KVM_SET_MSRS", "msrs", Rule("r").ok()),), host.bare, ())
    for of_qemu, said in ((True, [pat]), (False, [reads, pat])):
        guest = guest_with(None, {0x179: cap, 0x277: 5})._replace(of_qemu=of_qemu)
        assert [entry.text for entry in lost(guest, host, VMMS["qemu"], (), taken)] == said
