"""Areas as files of their own: a folder of raw structures, which opens as the same vCPUs."""

from __future__ import annotations

import os
import re

from inspector.capture.model import Area, Capture
from inspector.export.files import file_name, save_folder
from layouts.registry import layouts

_SUFFIX = re.compile(r"\.(gz|xz|zst)$")


def write_raw(folder: str, capture: Capture) -> list[str]:
    """Write every area to a new folder, or to one that is empty; the names written. Raises OutputError."""
    files: dict[str, bytes] = {}
    for area in capture.context:
        _add(files, area, "")
    owners: set[str] = set()
    for vcpu in capture.vcpus:
        word = re.sub(r"[^A-Za-z0-9-]+", "-", vcpu.name).strip("-") or f"vcpu{vcpu.index}"
        owner = file_name(word, owners)
        owners.add(owner)
        for area in vcpu.areas:
            _add(files, area, f"{owner}.")
    save_folder(folder, files)
    return sorted(files)


def _add(files: dict[str, bytes], area: Area, owner: str) -> None:
    """Put an area under a name of its own; the same file, seen by several vCPUs, is there once."""
    data = bytes(area.data)
    name = file_name(_name(area, owner))
    if files.get(name) != data:
        files[file_name(name, files)] = data


def _name(area: Area, owner: str) -> str:
    """The name of the file it is from, when that held nothing else; else owner and structure."""
    origin = os.path.basename(area.origin.file)
    if area.origin.offset == 0 and origin == area.origin.file and not area.attributes.get("synthesized"):
        return _SUFFIX.sub("", origin)
    if area.layout == "xsave":
        return f"{owner}kvm_xsave{'2' if area.prefix == 'xsave' else ''}.bin"
    layout = layouts().get(area.layout)
    word = f"kvm_{layout.file_names[0]}" if layout is not None and layout.file_names else area.prefix
    return f"{owner}{word}.bin"
