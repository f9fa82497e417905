"""QEMU migration streams: the device sections, found from the description at the end.

RAM is not walked: the description names every device section and the size of each of its
fields, so the sections are found backwards from the end. Without a description (a savevm
payload, ``suppress-vmdesc``) the stream is walked forward, RAM records by their own sizes,
and known cpu sections are taken apart with the description that came with this program.
"""

from __future__ import annotations

import struct
from typing import Any

from inspector.capture.attributes import SectionRow as Row
from inspector.capture.errors import InputError, visible
from inspector.capture.host import Host
from inspector.capture.model import Area, Capture, Origin, Vcpu
from inspector.decode.section import is_aarch32
from inspector.readers.budget import AREA_LIMIT_BYTES, Budget
from inspector.readers.numbers import is_number
from inspector.readers.options import Options
from inspector.readers.qemu_walk import Section, walk_forward
from inspector.readers.source import Source
from inspector.readers.text import parse_json, shown
from layouts.files import qemu

_TAIL_STEPS = (1 << 16, 1 << 20, 1 << 24)
#: A cpu section has up to 2,500 rows, and equal ones count once; the largest machines have 50,000.
_MAX_ROWS = 250_000
#: Numbers in all rows: each becomes a field when it is looked at.
_MAX_ELEMENTS = 250_000
#: Sections are kilobytes; all of them together, memory of the process.
_MAX_SECTION_BYTES = 256 << 20
_ARCH = {"vmstate_x86_cpu": "x86", "vmstate_arm_cpu": "arm64"}


class _DescriptionError(Exception):
    """The description says something that no stream can have."""


def read(source: Source, _options: Options) -> Capture:
    """A stream as a capture: one vCPU for each ``cpu`` section, other devices as context."""
    return read_at(source, 0, source.name, "qemu-stream")


def read_at(source: Source, base: int, target: str, format_name: str, about: str = "") -> Capture:
    """The stream that begins at ``base`` of a source."""
    magic = source.read_exactly(base, 8, "a QEMU stream header")
    version = int.from_bytes(magic[4:], "big")
    if not magic.startswith(qemu.MAGIC) or version != qemu.VERSION:
        raise InputError(source.name, "QEVM version 3", f"{magic[:4]!r} version {version}", base)
    faults: list[InputError] = []
    notices: list[str] = []
    found = _find_description(source, base)
    if found is None:
        sections, walked = walk_forward(source, base)
        faults += walked
        how = f"walked forward, {len(sections)} cpu sections found by known layouts"
        notices.append(f"no description behind the stream: {how}")
    else:
        end, description = found
        sections = _sections(source, base, end, description, faults)
    machine = _machine(source, base)
    if source.fault:
        faults.append(source.fault)
    if not sections:
        raise (faults or [InputError(source.name, "device sections", "none", base)])[0]
    vcpus = _vcpus(source, sections, notices)
    others = [section for section in sections if section.name != "cpu"]
    context = _areas(source, others, faults)
    return Capture(
        target,
        format_name,
        vcpus,
        host=Host(about=" ".join(filter(None, (machine, about)))),
        context=context,
        faults=faults,
        notices=notices,
    )


def _machine(source: Source, base: int) -> str:
    """The machine type: the configuration section right behind the header."""
    head = source.read(base + 8, 5)
    if len(head) < 5 or head[0] != qemu.CONFIGURATION:
        return ""
    size = int.from_bytes(head[1:], "big")
    return visible(source.read(base + 13, min(size, 256)).decode("latin-1")) if size < 4096 else ""


def _find_description(source: Source, base: int) -> tuple[int, dict[str, Any]] | None:
    """Where the sections end, and the description: ``00 06 length {...}`` near the end of the file."""
    total = _size(source)
    for step in _TAIL_STEPS:
        start = max(base + 8, total - step)
        tail = source.read(start, total - start)
        at = len(tail)
        while (at := tail.rfind(b"\x00\x06", 0, at)) >= 0:
            length = int.from_bytes(tail[at + 2 : at + 6], "big")
            end = at + 6 + length
            # JSON has no zero byte. So bodies that get this far do not overlap, however many there seem to be.
            if end <= len(tail) and tail[at + 6 : at + 7] == b"{" and tail.find(b"\0", at + 6, end) < 0:
                description = _parse(tail[at + 6 : end])
                if description is not None:
                    return start + at, description
        if start == base + 8:
            return None
    return None


def _size(source: Source) -> int:
    """The size of the source; what is unpacked on the way is unpacked to its end."""
    at = 1 << 20
    while source.size is None:
        source.read(at, 1)
        at += 1 << 20
    return source.size


def _parse(body: bytes) -> dict[str, Any] | None:
    try:
        found = parse_json(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("devices"), list) else None


def _sections(
    source: Source, base: int, end: int, description: dict[str, Any], faults: list[InputError]
) -> list[Section]:
    """The sections that the description names, from the last one backwards."""
    sections = []
    at = end
    made = _Rows()
    for device in reversed(description["devices"]):
        try:
            name, rows, size = made.device(device)
        except (_DescriptionError, RecursionError) as error:
            faults.append(InputError(source.name, "a device description", str(error), end))
            break
        start = at - 5 - size
        header = start - 13 - 1 - len(name)
        raw = source.read(header, 14 + len(name)) if header >= base + 8 else b""
        footer = source.read(start + size, 5)
        if len(raw) < 14 or raw[0] != qemu.SECTION_FULL or raw[6 : 6 + len(name)] != name or footer[:1] != b"\x7e":
            shown = visible(name.decode("latin-1"))
            faults.append(InputError(source.name, f"the section of {shown}", "other bytes", max(header, 0)))
            break
        instance, version = struct.unpack_from(">II", raw, 6 + len(name))
        sections.append(Section(visible(name.decode("latin-1")), instance, version, start, size, rows))
        at = header
    return sections[::-1]


def _text(record: Any, key: str) -> str:
    value = record.get(key) if isinstance(record, dict) else None
    if not isinstance(value, str) or len(value) > 255:
        raise _DescriptionError(f"{key}: {shown(value, 40)}")
    return value


def _number(record: dict[str, Any], key: str, default: int) -> int:
    value = record.get(key, default)
    if not is_number(value, 40):
        raise _DescriptionError(f"{key}: {shown(value, 40)}")
    return value


def _list(record: dict[str, Any], key: str) -> list[Any]:
    value = record.get(key, [])
    if not isinstance(value, list):
        raise _DescriptionError(f"{key}: {shown(value, 40)}")
    return value


class _Rows:
    """Rows from descriptions: how many there may be in all, and which devices have the same."""

    def __init__(self) -> None:
        self._rows_left = _MAX_ROWS
        self._elements_left = _MAX_ELEMENTS
        self._last: dict[bytes, tuple[Any, list[Row], int]] = {}

    def device(self, device: Any) -> tuple[bytes, list[Row], int]:
        """Name, rows and payload size of one device of the description."""
        name = _text(device, "name").encode("latin-1", "replace")
        vmsd = visible(_text(device, "vmsd_name")) if "vmsd_name" in device else ""
        described = [vmsd, _list(device, "fields"), _list(device, "subsections")]
        last, rows, size = self._last.get(name, (None, [], 0))
        if described != last:
            rows = []
            size = self._fields(device, vmsd, "", 0, rows)
            size = self._subsections(device, size, rows)
            self._last[name] = described, rows, size
        return name, rows, size

    def _take(self, elements: int) -> None:
        self._rows_left -= 1
        self._elements_left -= elements
        if self._rows_left < 0 or self._elements_left < 0:
            raise _DescriptionError("more fields than any machine has")

    def _fields(self, record: dict[str, Any], section: str, prefix: str, at: int, rows: list[Row]) -> int:
        """Append rows for the fields of a struct; the offset behind them."""
        for field in _list(record, "fields"):
            name = visible(_text(field, "name"))
            if "index" in field:
                name = f"{name}[{_number(field, 'index', 0)}]"
            size, count = _number(field, "size", 0), _number(field, "array_len", 1)
            inner = field.get("struct")
            if isinstance(inner, dict) and size and not _is_vector(inner):
                for nth in range(count):
                    label = f"{prefix}{name}[{nth}]" if "array_len" in field else f"{prefix}{name}"
                    self._struct(inner, section, label, at + nth * size, size, rows)
            else:
                self._take(count)
                kind = field.get("type", "")
                rows.append((section, prefix + name, visible(kind) if isinstance(kind, str) else "", at, size, count))
            at += size * count
        return at

    def _struct(self, inner: dict[str, Any], section: str, label: str, at: int, size: int, rows: list[Row]) -> None:
        """The members of one struct; a struct whose members have other sizes is one row."""
        self._take(1)
        own: list[Row] = []
        end = self._subsections(inner, self._fields(inner, section, f"{label}.", at, own), own)
        if end != at + size:
            own = [(section, label, "struct", at, size, 1)]
        rows += own

    def _subsections(self, record: dict[str, Any], at: int, rows: list[Row]) -> int:
        """Each subsection: 05, length and name, version, its fields."""
        for subsection in _list(record, "subsections"):
            self._take(1)
            name = _text(subsection, "vmsd_name")
            rows.append((visible(name), "header", qemu.SUBSECTION_HEADER, at, 2 + len(name) + 4, 1))
            at = self._fields(subsection, visible(name), "", at + 2 + len(name) + 4, rows)
            at = self._subsections(subsection, at, rows)
        return at


def _is_vector(inner: dict[str, Any]) -> bool:
    """A struct that is nothing but the 64-bit words of a register."""
    fields = _list(inner, "fields")
    names = [str(field.get("name", "")) for field in fields if isinstance(field, dict)]
    return bool(names) and all(name.startswith("_q_ZMMReg") or name in ("d", "p") for name in names)


def _arch(section: Section) -> str:
    names = {row[1] for row in section.rows}
    return "arm64" if names & {"env.xregs", "cpreg_vmstate_indexes"} else ("x86" if "env.eip" in names else "")


def _prefix(section: Section) -> str:
    name = section.name.replace("/", ".").replace(" ", "_")
    return f"qemu.{name}.{section.instance}"


def _areas(source: Source, sections: list[Section], faults: list[InputError]) -> list[Area]:
    """Areas of devices, as many as there is room for."""
    budget = Budget(source.name, "device sections", records=len(sections), size_bytes=_MAX_SECTION_BYTES)
    areas: list[Area] = []
    for section in sections:
        try:
            budget.take(section.offset, size_bytes=min(section.size_bytes, AREA_LIMIT_BYTES))
        except InputError as error:
            faults.append(error)
            break
        if section.size_bytes > AREA_LIMIT_BYTES:
            expected = f"a section of {section.name} of at most {AREA_LIMIT_BYTES} bytes"
            faults.append(InputError(source.name, expected, str(section.size_bytes), section.offset))
        areas.append(_area(source, section, "", _prefix(section)))
    return areas


def _area(source: Source, section: Section, arch: str, prefix: str) -> Area:
    return Area(
        "qemu-section",
        prefix,
        f"QEMU section {section.name} {section.instance}, version {section.version}",
        source.read(section.offset, min(section.size_bytes, AREA_LIMIT_BYTES)),
        Origin(source.name, section.offset),
        declared_size_bytes=section.size_bytes,
        attributes={"fields": section.rows, "arch": arch},
    )


def _vcpus(source: Source, sections: list[Section], notices: list[str]) -> list[Vcpu]:
    vcpus: list[Vcpu] = []
    for section in sections:
        if section.name == "cpu":
            arch = _arch(section)
            area = _area(source, section, arch, "cpu")
            vcpus.append(Vcpu(len(vcpus), f"cpu {section.instance}", arch or "unknown", [area]))
    _note_x87_order(vcpus, sections, notices)
    _note_aarch32(vcpus, notices)
    return vcpus


def _note_x87_order(vcpus: list[Vcpu], sections: list[Section], notices: list[str]) -> None:
    """Tell whether ``env.fpregs`` are physical registers or the stack from ST(0) on.

    TCG keeps physical registers; under KVM QEMU copies the XSAVE image as it is (x86_cpu_xrstor_all_areas
    of target/i386/xsave_helper.c), whose register n is ST(n). TCG never sets xstate_bv. Under KVM it is what
    KVM_GET_XSAVE gave, and no x87 state with TOP != 0 is initial, so a vCPU for which the order matters has it set;
    one such vCPU tells for all. Without XSAVE on the host (KVM_GET_FPU) xstate_bv stays 0 as well: then the
    kvmclock device tells. What remains is taken for TCG.
    """
    cpus = [vcpu for vcpu in vcpus if vcpu.arch == "x86"]
    zero = [vcpu.name for vcpu in cpus if not _xstate_bv(vcpu.areas[0])]
    kvm = len(zero) < len(cpus) or any(section.name == qemu.KVM_ONLY_SECTION for section in sections)
    for vcpu in cpus:
        vcpu.areas[0].attributes["x87_order"] = "stack" if kvm else "physical"
    if zero:
        why = "a vCPU that used no extended state yet" if kvm else "as under TCG"
        notices.append(f"{some(zero)}: xstate_bv is 0, {why}: registers are shown as they lie")


def _note_aarch32(vcpus: list[Vcpu], notices: list[str]) -> None:
    """Tell which CPUs were stopped in 32-bit state: X0 to X30 and PC are not in use there."""
    found = [vcpu.name for vcpu in vcpus if vcpu.arch == "arm64" and is_aarch32(vcpu.areas[0])]
    if found:
        what = "32-bit Arm, which inspector does not decode: R0 to R15 under QEMU's own names (qemu.regs[n])"
        notices.append(
            f"{some(found)}: stopped in AArch32 state, {what}; AArch64's X registers, PC and SP are not in use"
        )


def some(names: list[str]) -> str:
    """Names for one line: all of a few, the number of the rest."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _xstate_bv(area: Area) -> int:
    row = next((row for row in area.attributes["fields"] if row[1] == "env.xstate_bv"), None)
    return int.from_bytes(area.data[row[3] : row[3] + 8], "big") if row else 0
