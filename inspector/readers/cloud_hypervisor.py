"""Cloud Hypervisor snapshots: ``state.json``, each vCPU's state a JSON text within it.

Source: cloud-hypervisor ``vm-migration/src/lib.rs`` (Snapshot), ``hypervisor/src/kvm/x86_64``
and ``aarch64`` (VcpuKvmState).
"""

from __future__ import annotations

from typing import Any

from inspector.capture.errors import InputError, visible
from inspector.capture.model import Capture, Origin, Vcpu
from inspector.readers import vmm_json
from inspector.readers.numbers import is_number
from inspector.readers.options import Options
from inspector.readers.source import Source
from inspector.readers.text import parse_json, shown


def from_json(found: Any, source: Source, options: Options) -> Capture:
    """A snapshot, or the state of one vCPU out of it."""
    states = [("0", found)] if "Kvm" in found else _vcpu_states(found)
    vcpus: list[Vcpu] = []
    faults: list[InputError] = []
    notices: list[str] = []
    for name, state in states:
        inner = _unwrapped(state)
        if inner is None:
            faults.append(InputError(source.name, f"KVM state of vCPU {visible(name)}", shown(state, 40)))
            continue
        decoded = vmm_json.decode(inner, Origin(source.name, 0), options)
        notices += [note for note in decoded.notices if note not in notices]
        left = f"not decoded: {', '.join(visible(key) for key in decoded.left[:8])}"
        if decoded.left and left not in notices:
            notices.append(left)
        arch = "arm64" if any(area.layout == "arm64-regs" for area in decoded.areas) else "x86"
        vcpus.append(Vcpu(len(vcpus), f"vcpu {visible(name)}", arch, decoded.areas))
    if not vcpus:
        raise (faults or [InputError(source.name, "a cpu-manager with vCPUs", "none")])[0]
    return Capture(source.name, "cloud-hypervisor", vcpus, faults=faults, notices=notices)


def _vcpu_states(found: Any) -> list[tuple[str, Any]]:
    """The snapshots under ``cpu-manager``, by number."""
    node = _child(_child(found, "snapshots"), "cpu-manager")
    vcpus = _child(node, "snapshots")
    return sorted(vcpus.items(), key=lambda item: (len(item[0]), item[0])) if isinstance(vcpus, dict) else []


def _child(node: Any, key: str) -> Any:
    return node.get(key, {}) if isinstance(node, dict) else {}


def _unwrapped(state: Any) -> dict[str, Any] | None:
    """Through ``snapshot_data.state`` (a JSON text, or bytes of it) and ``{"Kvm": ...}`` to the state."""
    for _ in range(8):
        if isinstance(state, list):
            state = bytes(v for v in state if is_number(v, 8))
        if isinstance(state, (str, bytes)):
            try:
                state = parse_json(state)
            except ValueError:
                return None
        if not isinstance(state, dict):
            return None
        inner = next((state[key] for key in ("Kvm", "snapshot_data", "state", "saved_state") if key in state), None)
        if inner is None:
            return state
        state = inner
    return None
