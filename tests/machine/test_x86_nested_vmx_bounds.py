"""KVM_SET_NESTED_STATE and KVM_GET_NESTED_STATE on Intel: each check at its bound, and what comes back."""

from __future__ import annotations

import errno
import struct
from typing import Any

import pytest

from inspector.machine.x86.kvm.module import VMX
from inspector.machine.x86.kvm.nested.vmx import INVALID_GPA, VMCS12_REVISION
from inspector.machine.x86.kvm.whole import WholeVcpu
from tests.machine.kvms import vcpu_with

GUEST, PENDING, EVMCS, MTF = 1, 2, 4, 8
#: The first bit beyond the guests' 40 bits of physical addresses.
BEYOND = 1 << 40
VMXON, VMCS12 = 0x1000, 0x2000
ONES, TIMER = 0x16, 1 << 6
#: KVM_CAP_HYPERV_ENLIGHTENED_VMCS.
CAP_EVMCS = 163


def intel(release: str = "6.12", *, vmx: bool = True, caps: tuple[int, ...] = (), smm: bool = False) -> WholeVcpu:
    vcpu = vcpu_with(release, VMX, "VMX", leaf_1=(0x000906E0, 0, 1 | vmx << 5, 0x178BFBFF))
    vcpu.kvm.parameters = {**vcpu.kvm.parameters, "nested": "Y"}
    vcpu.caps, vcpu.is_smm = dict.fromkeys(caps, 1), smm
    return vcpu


def vmcs12(pin: int = ONES, revision: int = VMCS12_REVISION) -> bytes:
    made = bytearray(4096)
    struct.pack_into("<I", made, 0, revision)
    struct.pack_into("<I", made, 744, pin)
    return bytes(made)


def intels(
    flags: int = 0,
    image: bytes = b"",
    *,
    addresses: tuple[int, int] = (VMXON, VMCS12),
    smm: int = 0,
    vmx_flags: int = 0,
    deadline: int = 0,
    size: int | None = None,
) -> bytes:
    """struct kvm_nested_state of format 0."""
    header = struct.pack("<HHIQQ", flags, 0, 128 + len(image) if size is None else size, *addresses)
    return (header + struct.pack("<HHIQ", smm, 0, vmx_flags, deadline)).ljust(128, b"\0") + image


OFF = (INVALID_GPA, INVALID_GPA)
HEADER_ALONE = (VMXON, INVALID_GPA)
BOTH = vmcs12()


@pytest.mark.parametrize(
    ("guest", "image", "because"),
    [
        # vmx_set_nested_state. Without VMXON nothing else is set but EVMCS, which needs its capability.
        ({}, intels(addresses=OFF), ""),
        ({"vmx": False}, intels(addresses=OFF), ""),
        ({}, intels(addresses=OFF, smm=1), "without VMXON no SMM flags"),
        ({}, intels(addresses=(INVALID_GPA, VMCS12)), "without VMXON no VMCS12"),
        ({}, intels(GUEST, addresses=OFF), "without VMXON no flags but EVMCS"),
        ({}, intels(MTF, addresses=OFF), "without VMXON no flags but EVMCS"),
        ({}, intels(EVMCS, addresses=OFF), "Hyper-V's VMCS is turned on"),
        ({"caps": (CAP_EVMCS,)}, intels(EVMCS, addresses=OFF), ""),
        ({"vmx": False, "caps": (CAP_EVMCS,)}, intels(EVMCS, addresses=OFF), "Hyper-V's VMCS is turned on"),
        ({"vmx": False}, intels(image=BOTH), "the guest's CPUID has VMX, and KVM nests"),
        ({}, intels(image=BOTH, addresses=(VMXON + 1, VMCS12)), "VMXON's address is a page of the guest's"),
        ({}, intels(image=BOTH, addresses=(BEYOND, VMCS12)), "VMXON's address is a page of the guest's"),
        ({}, intels(image=BOTH, addresses=(BEYOND - 4096, VMCS12)), ""),
        # System management mode.
        ({}, intels(GUEST, BOTH, smm=1), "not in guest mode in SMM and outside"),
        ({"smm": True}, intels(image=BOTH, smm=4), "no SMM flags but two"),
        ({"smm": True}, intels(image=BOTH, smm=2), ""),
        ({"smm": True}, intels(image=BOTH, smm=3), ""),
        ({"smm": True}, intels(image=BOTH, smm=1), "guest mode in SMM has VMXON in SMM"),
        ({"smm": True}, intels(GUEST, BOTH), "no guest mode in SMM, no SMM flags outside"),
        ({}, intels(image=BOTH, smm=2), "no SMM flags"),
        # Without a VMCS12 there is no address, no guest mode, no EVMCS.
        ({}, intels(addresses=HEADER_ALONE), ""),
        ({}, intels(), "a VMCS12 follows the header"),
        ({}, intels(GUEST, addresses=HEADER_ALONE), "a VMCS12 follows the header"),
        ({"caps": (CAP_EVMCS,)}, intels(EVMCS, addresses=HEADER_ALONE), "a VMCS12 follows the header"),
        ({}, intels(image=BOTH, size=128 + 4095), "a VMCS12 follows the header"),
        ({}, intels(MTF, BOTH), ""),
        # Its address, where Hyper-V's VMCS is not in place of one.
        ({}, intels(image=BOTH, addresses=(VMXON, VMXON)), "the VMCS12's address is another page of the guest's"),
        ({}, intels(image=BOTH, addresses=(VMXON, 8)), "the VMCS12's address is another page of the guest's"),
        ({}, intels(image=BOTH, addresses=(VMXON, BEYOND)), "the VMCS12's address is another page of the guest's"),
        ({}, intels(image=BOTH, addresses=HEADER_ALONE), "the VMCS12's address is another page of the guest's"),
        ({"caps": (CAP_EVMCS,)}, intels(EVMCS, BOTH, addresses=HEADER_ALONE), ""),
        (
            {"caps": (CAP_EVMCS,)},
            intels(EVMCS, BOTH, addresses=(VMXON, 8)),
            "the VMCS12's address is another page of the guest's",
        ),
        # The preemption timer.
        ({}, intels(image=BOTH, vmx_flags=1), ""),
        ({}, intels(image=BOTH, vmx_flags=2), "no VMX flags but the preemption timer's deadline"),
        # What it says.
        (
            {},
            intels(image=vmcs12(revision=1 << 31 | VMCS12_REVISION)),
            "the VMCS12's revision is KVM's (0x11e57ed0)",
        ),
        ({}, intels(image=vmcs12(pin=0)), ""),
        ({}, intels(GUEST, vmcs12(pin=ONES | TIMER)), ""),
        ({}, intels(GUEST, vmcs12(pin=0x14)), "the VMCS12's pin-based controls have their ones"),
        ({}, intels(GUEST, vmcs12(pin=0x12)), "the VMCS12's pin-based controls have their ones"),
    ],
)
def test_a_vmcs12_and_what_it_comes_with(guest: dict[str, Any], image: bytes, because: str) -> None:
    outcome = intel(**guest).nested.set(image)
    assert (outcome.code, "" if outcome.accepted else outcome.because) == (errno.EINVAL if because else 0, because)


@pytest.mark.parametrize(
    ("release", "given", "read"),
    [
        ("6.12", intels(addresses=OFF), intels(addresses=OFF)),
        ("6.12", intels(addresses=HEADER_ALONE), intels(addresses=HEADER_ALONE)),
        ("6.12", intels(MTF, BOTH), intels(0, BOTH)),
        ("6.12", intels(GUEST | MTF, BOTH), intels(GUEST | MTF, BOTH)),
        # What is not there of the VMM's memory reads as 0; the word behind the revision is the VMX abort indicator.
        ("6.12", intels(0, BOTH[:1000], size=128 + 4096), intels(0, BOTH)),
        ("6.12", *(intels(0, BOTH[:4] + b"\1" + BOTH[5:]),) * 2),
        ("6.12", intels(GUEST | PENDING, BOTH), intels(GUEST | PENDING, BOTH)),
        # The deadline is told where the nested guest has the timer.
        ("6.12", intels(GUEST, BOTH, vmx_flags=1, deadline=5), intels(GUEST, BOTH)),
        ("6.12", intels(0, vmcs12(ONES | TIMER), vmx_flags=1, deadline=5), intels(0, vmcs12(ONES | TIMER))),
        ("6.12", *(intels(GUEST, vmcs12(ONES | TIMER), vmx_flags=1, deadline=5),) * 2),
        ("6.12", *(intels(GUEST, vmcs12(ONES | TIMER)),) * 2),
        # Hyper-V's VMCS is told from 5.14 on.
        ("5.14", *(intels(EVMCS, BOTH, addresses=HEADER_ALONE),) * 2),
        ("6.12", *(intels(GUEST | EVMCS, BOTH, addresses=HEADER_ALONE),) * 2),
        ("5.13", intels(EVMCS, BOTH, addresses=HEADER_ALONE), intels(addresses=HEADER_ALONE)),
        ("6.12", intels(EVMCS, BOTH), intels(0, BOTH)),
    ],
)
def test_what_intels_state_reads_as(release: str, given: bytes, read: bytes) -> None:
    """vmx_get_nested_state."""
    vcpu = intel(release, caps=(CAP_EVMCS,))
    assert vcpu.nested.get(8192) == (0, intels(addresses=OFF))
    assert vcpu.nested.set(given).accepted
    assert vcpu.nested.get(8192) == (0, read)
    # INIT waits in VMX root mode (vmx_apic_init_signal_blocked).
    assert vcpu.nested.blocks_init is (read[8:16] != b"\xff" * 8 and not vcpu.is_guest_mode)
    vcpu.nested.leave()
    assert vcpu.nested.get(8192) == (0, intels(addresses=OFF))
    assert (vcpu.is_guest_mode, vcpu.nested.run_pending) == (False, False)


def test_what_a_refused_vmcs12_leaves() -> None:
    """VMX is left before the VMCS12 is looked at: VMXON and what was taken until the refusal stay."""
    bad = vmcs12(revision=1)
    for given, left in (
        (intels(), intels(addresses=HEADER_ALONE)),
        (intels(image=BOTH, addresses=(VMXON, 8)), intels(addresses=HEADER_ALONE)),
        (intels(image=bad), intels(image=bad)),
        (intels(GUEST | PENDING, vmcs12(0)), intels(image=vmcs12(0))),
    ):
        vcpu = intel()
        assert vcpu.nested.set(intels(GUEST, BOTH)).accepted
        assert not vcpu.nested.set(given).accepted
        assert vcpu.nested.get(8192) == (0, left)
    vcpu = intel(smm=True)
    assert vcpu.nested.set(intels(image=BOTH, smm=3)).accepted
    assert vcpu.nested.get(8192) == (0, intels(image=BOTH, smm=3))
    assert not vcpu.nested.blocks_init
