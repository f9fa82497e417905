"""``inspector migrate`` for x86: would a vCPU arrive, which bit, who decided, what to change."""

from __future__ import annotations

import argparse

from inspector.capture.errors import UsageError
from inspector.capture.exit_code import ExitCode
from inspector.capture.model import Capture
from inspector.cli import arguments
from inspector.cli.streams import say, say_json
from inspector.export.x86_migration import x86_migration_json, x86_migration_text
from inspector.machine.x86.migrate.guest import Guest
from inspector.machine.x86.migrate.verdict import migrate
from inspector.targets.x86_destination import destination_of
from inspector.targets.x86_guest import guest_of_model, guest_of_realization, guest_of_vcpu, realized
from inspector.targets.x86_words import is_x86_guest_word
from layouts.x86.vmms import VMMS

#: VMMs by the format of a capture that only they write.
_VMM_OF_FORMAT = {
    "firecracker-fingerprint": "firecracker",
    "firecracker-state": "firecracker",
    "cloud-hypervisor": "cloud-hypervisor",
}


def run(found: argparse.Namespace, capture: Capture | None) -> int:
    """Restore a vCPU on a host as a VMM does, call by call. ``capture`` is the source, where that is one."""
    destination = destination_of(found.destination, found.kernel, arguments.TOLD)
    name = found.vmm or (_VMM_OF_FORMAT.get(capture.format, "") if capture is not None else "") or "qemu"
    vmm = VMMS[name]
    if found.model and vmm.sends_cpuid:
        raise UsageError(f"--model goes with qemu and libvirt; {vmm.title} sends the guest's CPUID along")
    made = realized(found.model, destination.offer, machine=found.machine) if found.model else None
    guest = _guest(found, capture)
    if not guest.table and made is not None:
        started = guest_of_realization(guest.name, made)
        guest = guest._replace(saved=guest.saved._replace(cpuid=started.saved.cpuid))
    verdict = migrate(guest, destination, vmm, made=made)
    if found.json:
        say_json(x86_migration_json(verdict))
    else:
        say(*x86_migration_text(verdict, steps=found.steps, bits=found.bits))
    return ExitCode.of(verdict.verdict == "arrives")


def _guest(found: argparse.Namespace, capture: Capture | None) -> Guest:
    if capture is None:
        if not is_x86_guest_word(found.source):
            raise UsageError(f"{found.source}: expected a capture, a model of QEMU, or model:LINE:HOST")
        return guest_of_model(found.source, found.machine, arguments.TOLD)
    arguments.tell(capture)
    vcpu = arguments.choose_vcpus(capture, found.vcpu if found.vcpu is not None else 0)[0]
    return guest_of_vcpu(capture, vcpu, arguments.TOLD)
