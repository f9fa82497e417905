"""What a field refers to: a component's bit to the component, a bit of XCR0 to the CPUID sub-leaf that gives it."""

from __future__ import annotations

from inspector.capture.model import Area
from inspector.decode.fields import Field
from inspector.tui.table import ShownTable
from layouts.x86.xsave import COMPONENTS

#: Registers whose bits are state components (Intel SDM volume 1, 13.1).
_OF_COMPONENTS = ("xstate_bv", "xcomp_bv", "xcr0", "sw_xcr0", "xstate_bv_sw", "xss", "xfd", "xinuse")
_NUMBERS = {component.name: component.number for component in COMPONENTS}


def link_of(field: Field, areas: list[Area]) -> str:
    """The path of what a field refers to, among the areas of its vCPU; empty where it refers to nothing there."""
    register, _, bit = field.path.rpartition(".")
    if bit not in _NUMBERS or register.rpartition(".")[2] not in _OF_COMPONENTS:
        return ""
    tables = [ShownTable(area) for area in areas]
    if register.rpartition(".")[2] == "xcr0":
        return _subleaf(tables, _NUMBERS[bit]) or _component(tables, bit)
    return _component(tables, bit) or _subleaf(tables, _NUMBERS[bit])


def _component(tables: list[ShownTable], name: str) -> str:
    """The first field of a component in an XSAVE image."""
    number = _NUMBERS[name]
    specs = (spec for table in tables for spec in table.specs if not spec.is_structure)
    return next((spec.path for spec in specs if number in spec.components), "")


def _subleaf(tables: list[ShownTable], number: int) -> str:
    """CPUID leaf 0xD: sub-leaf 0 enumerates XCR0 as a whole, each from 2 on a component."""
    wanted = f"cpuid.d.{number if number > 1 else 0:x}.eax"
    return next((spec.path for table in tables for spec in table.specs if spec.path.lower() == wanted), "")
