"""Areas as files of their own: a folder of raw structures, which opens as the same vCPUs."""

from __future__ import annotations

import os
import re

from inspector.capture.errors import UsageError
from inspector.capture.model import Area, Capture

_SUFFIX = re.compile(r"\.(gz|xz|zst)$")

#: The file name that the folder reader knows a layout by.
_NAMES = {"kvm-vcpu-events": "vcpu_events", "kvm-mp-state": "mp_state", "kvm-nested-state": "nested_state"}


def write_raw(folder: str, capture: Capture) -> list[str]:
    """Write every area to a new folder; the names written. UsageError when the folder is in the way."""
    if os.path.exists(folder) and (not os.path.isdir(folder) or os.listdir(folder)):
        raise UsageError(f"{folder}: already there and not an empty folder")
    files: dict[str, bytes] = {}
    for area in capture.context:
        files.setdefault(_name(area, ""), bytes(area.data))
    for vcpu in capture.vcpus:
        owner = re.sub(r"[^A-Za-z0-9-]+", "-", vcpu.name).strip("-") or f"vcpu{vcpu.index}"
        for area in vcpu.areas:
            files.setdefault(_name(area, f"{owner}."), bytes(area.data))
    os.makedirs(folder, exist_ok=True)
    for name, data in files.items():
        with open(os.path.join(folder, name), "xb") as out:
            out.write(data)
    return sorted(files)


def _name(area: Area, owner: str) -> str:
    """The name of the file it is from, when that held nothing else; else owner and structure."""
    origin = os.path.basename(area.origin.file)
    if area.origin.offset == 0 and origin == area.origin.file and not area.attributes.get("synthesized"):
        return _SUFFIX.sub("", origin)
    if area.layout == "xsave":
        return f"{owner}kvm_xsave{'2' if area.prefix == 'xsave' else ''}.bin"
    known = _NAMES.get(area.layout) or area.layout.removeprefix("kvm-").replace("-", "_")
    prefix = "kvm_" if area.layout.startswith("kvm-") else ""
    return f"{owner}{prefix}{known if prefix else area.prefix}.bin"
