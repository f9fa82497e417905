"""arm64 hosts by name: known CPUs, files of recorded answers, captures of vCPUs; and states as captures."""

from __future__ import annotations

from collections.abc import Iterable

from inspector.capture.errors import InputError, visible
from inspector.capture.model import Capture, Origin, Vcpu
from inspector.machine.arm64.captured import State, host_of, state_of
from inspector.machine.arm64.host import Host, from_bare
from inspector.machine.arm64.models.partial import host_of_chip
from inspector.machine.arm64.replay import hosts as replayed
from inspector.machine.verify import records
from inspector.readers.synthesized import register_area
from layouts.arm64.chips import chips, known_cores
from layouts.arm64.kernels import Arm64Kernel
from layouts.arm64.kvm_ids import ARM64


def bare_named(text: str, kernel: Arm64Kernel) -> Host | None:
    """A known chip, or ``NAME`` or ``NAME+NAME`` of known cores: a host with all of these; None when a name is none."""
    if text in chips():
        return host_of_chip(kernel, chips()[text])
    names = text.split("+")
    if any(name not in known_cores() for name in names):
        return None
    found = [known_cores()[name] for name in names]
    return from_bare(kernel, found, mte=all(name.endswith(",mte=on") for name in names))


def host_of_records(lines: Iterable[bytes], file: str) -> Host:
    """The host of a file of recorded answers. Raises InputError."""
    found = list(records(file, lines))
    make = replayed.host_of_sequences if any(record.get("t") == "seq" for record in found) else replayed.host_of
    try:
        host = make(found)
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise InputError(file, "records as the recorder writes them", f"{type(error).__name__}: {error}") from error
    host.name = host.name or file
    if not host.limits:
        raise InputError(file, "an arm64 kernel's answers, with ID registers", "none")
    return host


def registers_of(vcpu: Vcpu) -> dict[int, bytes]:
    """A captured vCPU's registers by KVM register id, little-endian; those that are unknown are left out."""
    found: dict[int, bytes] = {}
    for area in vcpu.areas:
        if area.layout != "arm64-regs":
            continue
        at = 0
        unknown = bytes.fromhex(area.attributes.get("unknown", ""))
        for register_id in area.attributes["ids"]:
            size = 1 << (register_id >> 52 & 15)
            data = bytes(area.data[at : at + size])
            if register_id >> 56 == ARM64 and len(data) == size and not any(unknown[at : at + size]):
                found.setdefault(register_id, data)
            at += size
    return found


def state_of_vcpu(vcpu: Vcpu, name: str) -> State | None:
    """A captured arm64 vCPU as state; None when it has no KVM registers."""
    registers = registers_of(vcpu) if vcpu.arch == "arm64" else {}
    return state_of(name, registers) if registers else None


def host_of_vcpu(vcpu: Vcpu, kernel: Arm64Kernel, name: str) -> Host | None:
    """The host that a captured vCPU shows; None when it has no KVM registers."""
    state = state_of_vcpu(vcpu, name)
    return host_of(state, kernel) if state is not None else None


def register_list(state: State) -> str:
    """``id value`` lines, as register lists are read."""
    lines = [f"# {visible(state.name)}"]
    lines += [
        f"{register_id:#018x} {int.from_bytes(data, 'little'):#x}" for register_id, data in state.registers.items()
    ]
    return "\n".join(lines) + "\n"


def capture_of(state: State) -> Capture:
    """The state as a capture that opens in the same screens."""
    values = {register_id: (int.from_bytes(data, "little"), 0) for register_id, data in state.registers.items()}
    area = register_area(values, Origin(state.name, 0), "KVM registers")
    return Capture(state.name, "simulated", [Vcpu(0, "vCPU 0", "arm64", [area])])
