"""Areas made from values instead of bytes: JSON and text have numbers, the layouts want memory.

Every format that is no memory image goes through here, so that its fields get the same
paths and meanings. Such an area has no place in a file; edited, it is saved as a capture file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from inspector.capture.attributes import Attributes
from inspector.capture.host import Cpuid
from inspector.capture.model import Area, Origin
from inspector.readers.numbers import MAX_REGISTER_BITS, is_number
from layouts.declare import Array, Bytes, Declaration, Named, Padded, Struct
from layouts.light import TYPE_CHECKING
from layouts.register_id import RegisterId
from layouts.registry import layouts

if TYPE_CHECKING:
    from typing import Any

#: A value with bits that are not known: (value, mask of the unknown bits).
Masked = tuple[int, int]


#: System registers have 2^16 encodings, so no vCPU has more registers; one of arm64 has about 1,000.
MAX_REGISTERS = 1 << 16


def register_size_bytes(register_id: int) -> int:
    """The size that a KVM register id says: bits 52 to 55 are its logarithm."""
    return RegisterId(register_id).size_bytes


def is_register_id(number: int) -> bool:
    """A 64-bit number that says no larger size than KVM has."""
    return 0 < number < 1 << 64 and register_size_bytes(number) <= MAX_REGISTER_BITS // 8


def register_area(values: Mapping[int, Masked], origin: Origin, title: str, prefix: str = "arm64") -> Area:
    """arm64 registers by KVM id, in the order given; each value as many bytes as its id says."""
    ids = list(values)
    data, unknown = bytearray(), bytearray()
    for register_id in ids:
        size = register_size_bytes(register_id)
        value, mask = values[register_id]
        data += (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")
        unknown += (mask & ((1 << 8 * size) - 1)).to_bytes(size, "little")
    return _area("arm64-regs", prefix, title, bytes(data), origin, bytes(unknown), ids=ids)


def msr_area(values: Mapping[int, Masked], origin: Origin, title: str) -> Area:
    """MSRs by number, as ``struct kvm_msrs``."""
    from layouts.x86.kvm_counted import msrs_pack

    data = msrs_pack([(index, 0, value) for index, (value, _) in values.items()])
    unknown = _uncounted(msrs_pack([(0, 0, mask) for _, mask in values.values()]))
    return _area("kvm-msrs", "msr", title, data, origin, unknown)


def _uncounted(data: bytes) -> bytes:
    """The same structure with a count of 0."""
    return bytes(4) + data[4:]


def masked_cpuid_area(
    leaves: Mapping[tuple[int, int], Sequence[Masked]], origin: Origin, title: str, prefix: str = "cpuid"
) -> Area:
    """CPUID leaves of which some bits are not known, as ``struct kvm_cpuid2``."""
    from layouts.x86.kvm_counted import cpuid2_pack

    rows = [(key, int((key[0], 1) in leaves), registers) for key, registers in leaves.items()]
    data = cpuid2_pack([(*key, indexed, *(value for value, _ in registers)) for key, indexed, registers in rows])
    unknown = cpuid2_pack([(0, 0, 0, *(mask for _, mask in registers)) for _, _, registers in rows])
    return _area("kvm-cpuid2", prefix, title, data, origin, _uncounted(unknown))


def cpuid_area(cpuid: Cpuid, origin: Origin, title: str, prefix: str = "cpuid") -> Area:
    """A CPUID table as an area, every bit known."""
    leaves = {key: [(value, 0) for value in values] for key, values in cpuid.leaves.items()}
    return masked_cpuid_area(leaves, origin, title, prefix)


def _area(
    layout: str, prefix: str, title: str, data: bytes, origin: Origin, unknown: bytes, ids: list[int] | None = None
) -> Area:
    attributes: Attributes = {"synthesized": True}
    if any(unknown):
        attributes["unknown"] = unknown.hex()
    if ids is not None:
        attributes["ids"] = ids
    return Area(layout, prefix, title, data, origin, attributes=attributes)


def built_struct_area(name: str, value: Any, origin: Origin) -> Area | None:
    """A KVM structure from JSON: its bytes as numbers, or its members by name; None when it is neither."""
    layout = layouts()[name]
    size = int(layout.construct.sizeof())
    data = bytes_of(value)
    if data is None and isinstance(value, dict):
        data = build(layout.construct, value)
    if data is None or len(data) != size:
        return None
    return Area(name, layout.prefix, layout.title, data, origin, attributes={"synthesized": True})


def bytes_of(value: Any) -> bytes | None:
    """A list of bytes; None for anything else."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, list) and all(is_number(v, 8) for v in value):
        return bytes(value)
    return None


def build(declaration: Declaration, members: Mapping[str, Any]) -> bytes | None:
    """The bytes of a structure from its members by name; what is not named is zero."""
    import construct

    try:
        return declaration.build(_filled(declaration, members))
    except (construct.ConstructError, TypeError, ValueError, KeyError):
        return None


def _filled(node: Declaration, value: Any) -> Any:
    """A value for every member: the one given, or zero."""
    if isinstance(node, Named):
        return _filled(node.subcon, value)
    if isinstance(node, Struct):
        given = value if isinstance(value, dict) else {}
        return {sub.name: _filled(sub, given.get(sub.name, given.get(f"{sub.name}_"))) for sub in node.subcons}
    if isinstance(node, Array):
        items: list[Any] = value if isinstance(value, list) else []
        return [_filled(node.subcon, items[n] if n < len(items) else None) for n in range(node.count)]
    if isinstance(node, Padded):
        raw = bytes_of(value)
        return _filled(node.subcon, list(raw[: node.subcon.sizeof()]) if raw else value)
    if isinstance(node, Bytes):
        raw = bytes_of(value) or b""
        return raw[: node.length].ljust(node.length, b"\0")
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def xcrs_area(values: Mapping[int, int], origin: Origin) -> Area:
    """Extended control registers, as ``struct kvm_xcrs``."""
    from layouts.x86.kvm_counted import KVM_XCR_ENTRIES, xcrs_pack

    data = xcrs_pack([(number, 0, value) for number, value in list(values.items())[:KVM_XCR_ENTRIES]])
    return Area("kvm-xcrs", "xcr", layouts()["kvm-xcrs"].title, data, origin, attributes={"synthesized": True})


def xsave_from(data: bytes, origin: Origin, known: Any, options: Any) -> tuple[Area, list[str]]:
    """An XSAVE image that came as numbers."""
    from inspector.readers.xsave_area import choose_table, xsave_area

    table, notices = choose_table(data, len(data), known, options)
    area = xsave_area("xsave", "XSAVE image", data, origin, table, len(data))
    area.attributes["synthesized"] = True
    return area, notices
