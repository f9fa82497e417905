"""The calls that restore a vCPU on its destination: which, in what order, with which MSRs, and why one is refused."""

from __future__ import annotations

import pytest

from inspector.machine.x86.kvm.msrs import access
from inspector.machine.x86.kvm.restore import save
from inspector.machine.x86.migrate.calls import Restored, as_set, order_of, restored
from inspector.machine.x86.migrate.destination import Destination
from inspector.machine.x86.migrate.guest import NOTHING, Guest, entry_of, facts_of, steps_of
from inspector.machine.x86.migrate.lost import lost
from layouts.x86.vmms import VMMS
from tests.machine.x86_moves import silicon

CPUID_ALONE = {(0xD, 0): (3, 0, 0, 0)}
WITH_TILES = {**CPUID_ALONE, (0xD, 0): (0x60003, 0, 0, 0)}
TSC, MCG_CAP, PV_EOI, ARCH_CAPABILITIES = 0x10, 0x179, 0x4B564D04, 0x10A
LSTAR = (0xC0000082, 0xFFFFFFFF81000000)
#: A mask of 2 GiB, filled up to 52 bits.
FILLED = 0xFFFFF80000800
PV_EOI_TABLE = (
    entry_of((0x40000000, 0), (0x40000001, 0x4B4D564B, 0x564B4D56, 0x4D)),
    entry_of((0x40000001, 0), (1 << 6, 0, 0, 0)),
)


def guest_of(kernel: str, *msrs: tuple[int, int], of_qemu: bool = False, tsc_khz: int = 0) -> Guest:
    """All that there is of a vCPU which KVM has reset."""
    saved = save(silicon(kernel, nested="Y").bare, ())._replace(msrs=msrs, tsc_khz=tsc_khz)
    return Guest("g", saved, steps_of(saved), facts_of(saved), of_qemu=of_qemu)


def with_msrs(*msrs: tuple[int, int], of_qemu: bool = False) -> Guest:
    saved = NOTHING._replace(msrs=msrs)
    return Guest("g", saved, steps_of(saved), {}, of_qemu=of_qemu)


def made(guest: Guest, host: Destination, vmm: str = "qemu", *, tiles: bool = False, **asked: object) -> Restored:
    table = tuple(entry_of(key, row) for key, row in (WITH_TILES if tiles else CPUID_ALONE).items())
    return restored(guest, host, VMMS[vmm], table, **asked)  # type: ignore[arg-type]


def named(found: Restored) -> list[tuple[str, str]]:
    return [(call.name, call.step) for call in found.calls]


SET = ("SREGS2", "NESTED_STATE", "REGS", "XSAVE", "XCRS", "MSRS", "VCPU_EVENTS", "MP_STATE", "DEBUGREGS", "LAPIC")
STEPS = ("sregs2", "nested", "regs", "xsave", "xcrs", "msrs", "events", "mp", "debugregs", "lapic")
QEMUS = [(f"KVM_SET_{name}", step) for name, step in zip(SET, STEPS, strict=True)]
CPUID2 = ("KVM_SET_CPUID2", "cpuid")


def test_every_call_of_qemu() -> None:
    """MCG_CAP is KVM_X86_SETUP_MCE's, and no MSR that is set."""
    host = silicon("6.18")
    host.kvm.processor = host.kvm.processor._replace(tsc_khz=2000)
    found = made(guest_of("6.18", (MCG_CAP, 1 << 8 | 1), (TSC, 5), of_qemu=True, tsc_khz=2000), host, tiles=True)
    before = [("arch_prctl ARCH_REQ_XCOMP_GUEST_PERM", "permission"), ("KVM_X86_SETUP_MCE", "mce"), CPUID2]
    assert named(found) == [*before, ("KVM_SET_TSC_KHZ", "tsc_khz"), *QEMUS]
    assert (found.not_captured, found.left_out, found.vcpu.mcg_cap) == ((), (), 1 << 8 | 1)
    assert [call.entries for call in found.calls] == [int(call.step == "msrs") for call in found.calls]
    assert found.vcpu.process.guest_perm & 1 << 18


def test_without_its_frequency_the_other_calls_are_made() -> None:
    """Whether this host takes KVM_SET_TSC_KHZ hangs on what nobody told."""
    found = made(guest_of("6.18", (TSC, 5), tsc_khz=2000), silicon("6.18"))
    assert named(found) == [CPUID2, *QEMUS]


@pytest.mark.parametrize(("release", "step"), [("5.13", "sregs"), ("5.14", "sregs2")])
def test_kvm_set_sregs2_is_there_since_5_14(release: str, step: str) -> None:
    guest, host = guest_of("6.18"), silicon(release)
    assert host.kvm.release[:2] == tuple(map(int, release.split(".")))
    assert order_of(guest, VMMS["qemu"], host)[0] == step
    assert named(made(guest, host))[1] == (f"KVM_SET_{step.upper()}", step)
    assert order_of(guest._replace(saved=guest.saved._replace(sregs2=None)), VMMS["qemu"], host)[0] == "sregs"


@pytest.mark.parametrize("release", ["5.13", "6.18"])
@pytest.mark.parametrize(
    ("until", "count"),
    [("sregs", 1), ("sregs2", 1), ("nested", 2), ("regs", 3), ("lapic", 10), ("cpuid", 10), ("", 10)],
)
def test_calls_are_made_to_the_last_that_is_asked_for(release: str, until: str, count: int) -> None:
    """By either name of KVM_SET_SREGS: the kernel where it was refused may have had the other."""
    found = made(guest_of("6.18", (TSC, 5)), silicon(release), until=until)
    assert [step for _, step in named(found)[1:]][-1].removesuffix("2") == (until or "lapic").replace(
        "cpuid", "lapic"
    ).removesuffix("2")
    assert len(found.calls) == 1 + count


def test_a_refused_msr_that_ends_it_all() -> None:
    """Each that KVM does not have is passed over, but for one to give up at."""
    guest = guest_of("6.18", (0x1234, 1), (TSC, 5), (0x1235, 1))
    host = silicon("6.18")
    every = made(guest, host, "firecracker")
    assert [call.then for call in every.calls if call.accepted] == [None] * (len(every.calls) - 1)
    assert [step for _, step in named(every)][-2:] == ["msrs", "events"]
    (msrs,) = (call for call in every.calls if call.step == "msrs")
    assert [index for index, _ in msrs.refused] == [0x1234, 0x1235]
    assert (msrs.then, every.first_refused) == (VMMS["firecracker"].on_refusal("msrs"), msrs)
    ended = made(guest, host, "firecracker", give_up={0x1234})
    assert [index for index, _ in ended.calls[-1].refused] == [0x1234]
    later = made(guest, host, "firecracker", give_up={TSC})
    assert named(later) == named(every)


def test_what_was_not_captured_is_not_set() -> None:
    """Of what each vCPU has; nested state, an APIC in the kernel and a frequency are there where there is one."""
    guest = guest_of("6.18")._replace(captured=frozenset({"regs", "xsave", "mp"}))
    found = made(guest, silicon("6.18"), "firecracker")
    assert [step for _, step in named(found)] == ["cpuid", "mp", "regs", "xsave"]
    names = ("SREGS", "XCRS", "DEBUGREGS", "MSRS", "VCPU_EVENTS")
    assert found.not_captured == tuple(f"KVM_SET_{name}" for name in names)
    nothing = restored(guest, silicon("6.18"), VMMS["firecracker"], ())
    assert nothing.not_captured == ("KVM_SET_CPUID2", *found.not_captured)


# MSRs


def test_an_address_is_in_the_guests_memory_wherever_it_is() -> None:
    """Nothing of the memory was captured: addresses have 52 bits, and none can be outside (kvm_lapic_set_pv_eoi)."""
    host = silicon("6.18")
    for address, why in (
        (1 << 51, ""),
        ((1 << 52) - 8, ""),
        (1 << 52, "the address in 0x10000000000001 is in the guest's memory"),
    ):
        guest = with_msrs((PV_EOI, address | 1))
        (call,) = restored(guest, host, VMMS["firecracker"], PV_EOI_TABLE).calls[1:]
        assert [text for _, text in call.refused] == ([why] if why else [])
    (call,) = restored(
        with_msrs((PV_EOI, 1 << 20 | 1)), host, VMMS["firecracker"], PV_EOI_TABLE, memory=bytes(4096)
    ).calls[1:]
    assert call.refused == ((PV_EOI, "the address in 0x100001 is in the guest's memory"),)


@pytest.mark.parametrize("irqchip", [0, 1])
def test_an_apic_is_where_the_guest_had_it(irqchip: int) -> None:
    found = made(guest_of("6.18")._replace(irqchip=irqchip), silicon("6.18"))
    assert (found.vcpu.lapic is not None) is bool(irqchip)


def test_which_msrs_are_set() -> None:
    """QEMU's own where KVM lists them, MTRRs and machine checks always; none that hangs on what nobody told."""
    host = silicon("6.18", nested="Y")
    assert host.is_untold(0x48B)
    listed, always, unknown = (TSC, 0x48B), (0x200, 0), (0x1234, 0x10)
    rows = (listed, always, unknown, (0x1235, 0), (0x48B, TSC), (MCG_CAP, 5), (0x17B, 5), (0x9E, 5))
    guest, left = as_set(with_msrs(*rows, of_qemu=True), host)
    assert (guest.saved.msrs, left) == ((listed, always, (0x17B, 5), (0x9E, 5)), (0x1234,))
    guest, left = as_set(with_msrs(*rows), host)
    assert (guest.saved.msrs, left) == (tuple(row for row in rows if row[0] != 0x48B), ())
    assert made(with_msrs(unknown, of_qemu=True), host).left_out == (0x1234,)


@pytest.mark.parametrize(
    ("width", "kept"), [(40 | 48 << 8, 0xFF80000800), (46, 0x3FFF80000800), (52, FILLED), (None, 0xF80000800)]
)
def test_qemu_cuts_the_masks_of_mtrrs_to_the_guests_addresses(width: int | None, kept: int) -> None:
    """In a stream they are filled up to 52 bits, whatever the width was (kvm_get_msrs, kvm_put_msrs)."""
    host, rows = silicon("6.18"), {(1, 0): (0, 0, 0, 1 << 12), (0x80000000, 0): (0x80000008, 0, 0, 0)}
    if width is not None:
        rows[0x80000008, 0] = (width, 0, 0, 0)
    table = tuple(entry_of(key, row) for key, row in rows.items())
    guest = with_msrs((0x200, 6), (0x201, FILLED), (0x20F, FILLED), LSTAR, of_qemu=True)
    found = restored(guest, host, VMMS["qemu"], table)
    assert found.first_refused is None
    assert found.msrs == ((0x200, 6), (0x201, kept), (0x20F, kept), LSTAR)
    assert [access.read(found.vcpu, index) for index in (0x201, 0x20F)] == [kept, kept]
    assert list(lost(with_msrs((0x201, FILLED), of_qemu=True), host, VMMS["qemu"], (), found)) == []
    sent = restored(with_msrs((0x201, FILLED)), host, VMMS["firecracker"], table)
    assert bool(sent.first_refused) is (kept != FILLED)


def test_why_an_msr_is_refused() -> None:
    host, x2apic = silicon("6.18"), entry_of((1, 0), (0, 0, 1 << 21, 0))
    (call,) = made(with_msrs((0x1234, 5), (PV_EOI, 1 << 52 | 1)), host).calls[1:]
    outside = "the address in 0x10000000000001 is in the guest's memory"
    assert call.refused == ((0x1234, "KVM of this release has the MSR 0x1234"), (PV_EOI, outside))
    # The APIC's task priority before the mode in which it is an MSR: asked once more, KVM takes it.
    (call,) = restored(with_msrs((0x808, 0x10), (0x1B, 0xFEE00C00)), host, VMMS["firecracker"], (x2apic,)).calls[1:]
    assert call.refused == ((0x808, "refused at this point of the order"),)
