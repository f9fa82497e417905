"""Paths of a target's fields while one types them: one word further each time."""

from __future__ import annotations

from inspector.capture.model import Area
from inspector.decode.fields import FieldTable
from inspector.targets.schemes import capture_of


def field_paths(target: str, typed: str, vcpu: str = "") -> dict[str, str]:
    """What ``typed`` can become, with the field's title: ``xsave.`` where more is below, else the whole path.

    Of the vCPU of that number, of all where there is none. Raises UsageError, and InputError for a target that cannot
    be read.
    """
    capture = capture_of(target)
    vcpus = capture.vcpus[int(vcpu) : int(vcpu) + 1] if vcpu.isdecimal() else capture.vcpus
    found: dict[str, str] = {}
    for one in vcpus:
        for area in one.areas:
            if area.prefix.startswith(typed) or typed.startswith(f"{area.prefix}."):
                found |= _of_area(area, typed, found)
    return found


def _of_area(area: Area, typed: str, known: dict[str, str]) -> dict[str, str]:
    if not typed.startswith(f"{area.prefix}."):
        return {f"{area.prefix}.": area.title}
    parent = typed.rpartition(".")[0]
    table = FieldTable(area)
    found: dict[str, str] = {}
    for spec in (*table.specs, *table.find(f"{parent}.*")):
        if spec.path.startswith(typed) and spec.path not in known:
            word, dot, _ = spec.path[len(typed) :].partition(".")
            found[f"{typed}{word}{dot}"] = "" if dot else spec.title
    return found
