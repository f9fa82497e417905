"""arm64 hosts and guests as facts, and facts as the machine's hosts and states."""

from __future__ import annotations

from collections.abc import Mapping

from inspector.capture.errors import InputError
from inspector.capture.model import Capture
from inspector.fleet.facts import ARM64, Document, release_of
from inspector.machine.arm64.captured import State, host_showing, is_fact, is_id, state_of, state_of_scratch
from inspector.machine.arm64.host import Host
from inspector.machine.arm64.models.partial import host_of_chip
from inspector.readers.arm64_cpuinfo import CpuWords
from inspector.readers.options import NO_OPTIONS
from inspector.targets.arm64_host import guest_of as guest_on_host
from inspector.targets.arm64_host import registers_of
from inspector.targets.kernels import kernel_named
from layouts.arm64 import ids
from layouts.arm64.chips import chip_of_shown, chip_of_words, core_of
from layouts.arm64.hwcaps import is_shown_to_programs
from layouts.arm64.ids import MMFR0, MPIDR, RegisterId
from layouts.arm64.kernels import profile_for


def facts_of(capture: Capture) -> Document:
    """What the first vCPU of a capture shows: it is the guest's facts, and of its host the least.

    ID registers, firmware, caches and vector lengths have values; of others only that they are there. Raises
    InputError where it has no ID registers.
    """
    registers = next((found for vcpu in capture.vcpus if (found := registers_of(vcpu))), {})
    if not any(is_id(one) for one in registers):
        raise InputError(capture.target, "an arm64 vCPU with ID registers", capture.format)
    kept = {one: data if is_fact(one) else bytes(len(data)) for one, data in registers.items() if not _is_mpidr(one)}
    return {
        "arch": ARM64,
        "registers": {f"{one:x}": data.hex() for one, data in sorted(kept.items())},
        "kernel": release_of(capture.host.kernel),
    }


def is_of_host(facts: Document) -> bool:
    """The registers are those that Linux shows programs: of a host, and nobody's guest."""
    value = facts["registers"].get(f"{ids.sysreg_id(MMFR0):x}")
    return value is not None and is_shown_to_programs(int.from_bytes(bytes.fromhex(value), "little"))


def words_facts(found: CpuWords) -> Document:
    """A host of which /proc/cpuinfo is known."""
    return {"arch": ARM64, "words": sorted(found.words), "midr": found.midr, "kernel": ""}


def host_of(name: str, facts: Document, kernel: str = "") -> Host:
    """The host of facts, on its own kernel or on another. Raises UsageError for a kernel that has no number."""
    own = kernel_named(profile_for, facts["kernel"], NO_OPTIONS.note)
    profile = kernel_named(profile_for, kernel, NO_OPTIONS.note) if kernel else own
    if "words" in facts:
        midr = facts["midr"]
        return host_of_chip(profile, chip_of_words(name, frozenset(facts["words"]), core_of(midr), midr=midr))
    found = host_showing(guest_of(name, facts), profile, own if kernel else None)
    if MMFR0 in found.limits and is_shown_to_programs(found.limits[MMFR0]):
        return host_of_chip(profile, chip_of_shown(name, found.limits))
    return found


def guest_of(name: str, facts: Document) -> State:
    """The guest that facts are."""
    return state_of(name, registers(facts))


def guest_on(host: Host) -> State:
    """A guest with all that a host gives."""
    return state_of_scratch(guest_on_host(host), host.name)


def registers(facts: Document) -> Mapping[int, bytes]:
    """Registers by KVM register id, little-endian."""
    return {int(one, 16): bytes.fromhex(data) for one, data in facts["registers"].items()}


def _is_mpidr(register_id: int) -> bool:
    found = RegisterId(register_id)
    return found.is_sysreg and found.encoding == MPIDR
