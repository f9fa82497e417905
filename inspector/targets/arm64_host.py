"""arm64 hosts by name: known CPUs, files of recorded answers, captures of vCPUs; and states as captures."""

from __future__ import annotations

from collections.abc import Iterable

from inspector.capture.errors import InputError
from inspector.capture.host import Host as CapturedHost
from inspector.capture.model import SIMULATED, Capture, Origin, Vcpu
from inspector.machine.arm64.bare import from_bare
from inspector.machine.arm64.captured import State, host_showing, state_of
from inspector.machine.arm64.host import Host
from inspector.machine.arm64.models.partial import host_of_chip
from inspector.machine.arm64.models.realize import ScratchVcpu, ask
from inspector.machine.arm64.models.request import parse_words, request
from layouts.arm64.chips import chip_of_shown, chips, known_cores
from layouts.arm64.hwcaps import is_shown_to_programs
from layouts.arm64.ids import ARM64, MMFR0, RegisterId
from layouts.arm64.kernels import Arm64Kernel, profile_for
from layouts.kernels import UnknownReleaseError
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


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
    """The host of a file of recorded answers, of either form. Raises InputError."""
    from inspector.machine.recording import records

    found = list(records(file, lines))
    try:
        host = _host_of_records(found, file)
    except UnknownReleaseError as error:
        raise InputError(file, f"{error.expected} (a uname or meta record)", error.release or "none") from None
    host.name = host.name or file
    if not host.limits:
        raise InputError(file, "an arm64 kernel's answers, with ID registers", "none")
    return host


def _host_of_records(found: list[dict[str, Any]], file: str) -> Host:
    from inspector.machine.arm64.replay import hosts as replayed
    from inspector.machine.arm64.replay import shapes
    from inspector.machine.arm64.replay.deep import hosts as deep_hosts
    from inspector.machine.arm64.replay.deep import shapes as deep_shapes
    from inspector.machine.recording import check_shapes, is_deep

    if is_deep(found):
        check_shapes(file, found, "op", deep_shapes.SHAPES)
        return deep_hosts.host_of_records(file, found)
    check_shapes(file, found, "t", shapes.SHAPES)
    sequences = any(record["t"] == "seq" for record in found)
    return replayed.host_of_sequences(found) if sequences else replayed.host_of_records(found)


def registers_of(vcpu: Vcpu) -> dict[int, bytes]:
    """A captured vCPU's registers by KVM register id, little-endian; those that are unknown are left out."""
    from inspector.decode.dropped import DroppedBytes
    from inspector.decode.spec import Span

    found: dict[int, bytes] = {}
    for area in vcpu.areas:
        if area.layout != "arm64-regs":
            continue
        at = 0
        unknown, dropped = bytes.fromhex(area.attributes.get("unknown", "")), DroppedBytes(area)
        for register_id in map(RegisterId, area.attributes["ids"]):
            size = register_id.size_bytes
            data = bytes(area.data[at : at + size])
            is_known = not any(unknown[at : at + size]) and not dropped.kind([Span(at, size)])
            if register_id.architecture == ARM64 and len(data) == size and is_known:
                found.setdefault(register_id, data)
            at += size
    return found


def captured_state(vcpu: Vcpu, name: str) -> State | None:
    """A captured arm64 vCPU as state; None when it has no KVM registers."""
    registers = registers_of(vcpu) if vcpu.arch == "arm64" else {}
    return state_of(name, registers) if registers else None


def host_of_vcpu(vcpu: Vcpu, kernel: Arm64Kernel, name: str, captured_on: str = "") -> Host | None:
    """The host that a captured vCPU shows, or known in part what Linux shows programs; None without registers.

    ``captured_on`` is the release that the vCPU ran on, where the capture tells it.
    """
    state = captured_state(vcpu, name)
    if state is None:
        return None
    found = host_showing(state, kernel, _profile(captured_on))
    if MMFR0 in found.limits and is_shown_to_programs(found.limits[MMFR0]):
        return host_of_chip(kernel, chip_of_shown(name, found.limits))
    return found


def _profile(release: str) -> Arm64Kernel | None:
    try:
        return profile_for(release) if release else None
    except UnknownReleaseError:
        return None


def guest_of(host: Host) -> ScratchVcpu:
    """The first vCPU of a guest with everything that a host has."""
    scratch, _ = ask(request(None, parse_words(()), host), host)
    return scratch


def capture_of(state: State, format_name: str = SIMULATED, kernel: str = "") -> Capture:
    """The state as a capture that opens in the same screens; ``kernel`` is the release of its host."""
    from inspector.readers.synthesized import register_area

    values = {register_id: (int.from_bytes(data, "little"), 0) for register_id, data in state.registers.items()}
    area = register_area(values, Origin(state.name, 0), "KVM registers")
    return Capture(state.name, format_name, [Vcpu(0, "vCPU 0", "arm64", [area])], host=CapturedHost(kernel=kernel))
