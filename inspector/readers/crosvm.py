"""crosvm vCPU snapshots: CBOR, or the same as JSON.

Source: crosvm ``hypervisor/src/x86_64.rs`` (VcpuSnapshot) and ``aarch64.rs``.
"""

from __future__ import annotations

from typing import Any

from inspector.capture.errors import InputError, visible
from inspector.capture.model import Capture, Origin, Vcpu
from inspector.readers import vmm_json
from inspector.readers.options import Options
from inspector.readers.source import Source
from inspector.readers.text import shown

#: A vCPU has 10 KB.
MAX_SIZE_BYTES = 16 << 20


def read(source: Source, options: Options) -> Capture:
    """A CBOR snapshot."""
    import cbor2

    data = source.read_all(MAX_SIZE_BYTES)
    try:
        found = cbor2.loads(data)
    except Exception as error:
        raise source.fault or InputError(source.name, "CBOR", str(error)) from error
    if not isinstance(found, dict):
        raise InputError(source.name, "a vCPU snapshot", shown(found, 40))
    return from_json(found, source, options)


def from_json(found: Any, source: Source, options: Options) -> Capture:
    """One vCPU, or several under ``vcpus``."""
    states = found.get("vcpus") if isinstance(found.get("vcpus"), list) else [found]
    vcpus: list[Vcpu] = []
    notices: list[str] = []
    for state in states:
        if not isinstance(state, dict):
            raise InputError(source.name, "a vCPU snapshot", shown(state, 40))
        decoded = vmm_json.decode(state, Origin(source.name, 0), options)
        notices += [note for note in decoded.notices if note not in notices]
        if decoded.left:
            notices.append(f"not decoded: {', '.join(visible(_name(key)) for key in decoded.left[:8])}")
        arch = "arm64" if any(area.layout == "arm64-regs" for area in decoded.areas) else "x86"
        vcpus.append(Vcpu(len(vcpus), f"vcpu {_name(state.get('vcpu_id', len(vcpus)))}", arch, decoded.areas))
    if not any(vcpu.areas for vcpu in vcpus):
        raise InputError(source.name, "registers of a vCPU", ", ".join(map(_name, list(found)[:5])) or "nothing")
    return Capture(source.name, "crosvm", vcpus, notices=notices)


def _name(value: Any) -> str:
    """A key or number of CBOR, which may be anything, as text."""
    return value[:60] if isinstance(value, str) else shown(value)
