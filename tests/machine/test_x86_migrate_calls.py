"""The calls that restore a vCPU on its destination: which, in what order, with which MSRs, and why one is refused."""

from __future__ import annotations

from inspector.machine.x86.kvm.restore import save
from inspector.machine.x86.migrate.calls import Restored, restored
from inspector.machine.x86.migrate.destination import Destination
from inspector.machine.x86.migrate.guest import NOTHING, Guest, entry_of, facts_of, steps_of
from layouts.x86.vmms import VMMS
from tests.machine.x86_moves import silicon

CPUID_ALONE = {(0xD, 0): (3, 0, 0, 0)}
WITH_TILES = {**CPUID_ALONE, (0xD, 0): (0x60003, 0, 0, 0)}
TSC, MCG_CAP, PV_EOI, ARCH_CAPABILITIES = 0x10, 0x179, 0x4B564D04, 0x10A
PV_EOI_FEATURE = {(0x40000000, 0): (0x40000001, 0x4B4D564B, 0x564B4D56, 0x4D), (0x40000001, 0): (1 << 6, 0, 0, 0)}


def guest_of(kernel: str, *msrs: tuple[int, int], of_qemu: bool = False, tsc_khz: int = 0) -> Guest:
    """All that there is of a vCPU which KVM has reset."""
    saved = save(silicon(kernel).bare, ())._replace(msrs=msrs, tsc_khz=tsc_khz)
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
    host = silicon("6.18")
    host.kvm.processor = host.kvm.processor._replace(tsc_khz=2000)
    guest = guest_of("6.18", (MCG_CAP, 1 << 8 | 1), (TSC, 5), of_qemu=True, tsc_khz=2000)
    guest = guest._replace(saved=guest.saved._replace(nested=silicon("6.18").bare.nested.get(128)[1]))
    found = made(guest._replace(captured=steps_of(guest.saved)), host, tiles=True)
    before = [("arch_prctl ARCH_REQ_XCOMP_GUEST_PERM", "permission"), ("KVM_X86_SETUP_MCE", "mce"), CPUID2]
    assert named(found) == [*before, ("KVM_SET_TSC_KHZ", "tsc_khz"), *QEMUS]
    assert found.not_captured == ()
    assert {call.step: call.entries for call in found.calls if call.entries} == {"msrs": 2}
    assert found.vcpu.mcg_cap == 1 << 8 | 1
