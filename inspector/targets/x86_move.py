"""The verdict on an x86 vCPU that is to move, by words."""

from __future__ import annotations

from inspector.capture.errors import UsageError
from inspector.capture.model import Capture
from inspector.machine.x86.migrate.destination import Destination
from inspector.machine.x86.migrate.guest import Guest
from inspector.machine.x86.migrate.verdict import Migration, migrate
from inspector.readers.options import Options
from inspector.targets.moves import Move
from inspector.targets.x86_guest import guest_of_model, guest_of_realization, realized
from inspector.targets.x86_words import is_x86_guest_word
from layouts.x86.vmms import VMMS

#: VMMs by the format of a capture that only they write.
_VMM_OF_FORMAT = {
    "firecracker-fingerprint": "firecracker",
    "firecracker-state": "firecracker",
    "cloud-hypervisor": "cloud-hypervisor",
}


def vmm_of(capture: Capture | None) -> str:
    """The VMM that wrote a capture; QEMU where many do."""
    return (_VMM_OF_FORMAT.get(capture.format) if capture is not None else None) or "qemu"


def guest_of_word(word: str, machine: str, options: Options) -> Guest:
    """A guest that was not captured: of a model of QEMU. Raises UsageError."""
    if not is_x86_guest_word(word):
        raise UsageError(f"{word}: expected a capture, a model of QEMU, or model:LINE:HOST")
    return guest_of_model(word, machine, options)


def migration_of(guest: Guest, destination: Destination, move: Move) -> Migration:
    """The verdict on a guest and a host. Raises UsageError for a line that is none."""
    vmm = VMMS[move.vmm or "qemu"]
    if destination.emulator and vmm.sends_cpuid:
        raise UsageError(f"{destination.name} is QEMU's emulator; {vmm.title} runs guests with KVM alone")
    if move.model and vmm.sends_cpuid:
        raise UsageError(f"--model goes with qemu and libvirt; {vmm.title} sends the guest's CPUID along")
    made = realized(move.model, destination.offer, machine=move.machine) if move.model else None
    if not guest.table and made is not None:
        started = guest_of_realization(guest.name, made)
        guest = guest._replace(saved=guest.saved._replace(cpuid=started.saved.cpuid))
    return migrate(guest, destination, vmm, made=made)
