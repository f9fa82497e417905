"""CRIU's ``core-PID.img``: the registers of one task of a checkpoint, x86-64 and aarch64.

Two magic numbers (one in images of version 1), then entries, each its size and a message. The state components are kept
one by one, without the layout that they had; they become an image in the layout in which CRIU itself keeps them.

Source: see layouts/files/criu.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from inspector.capture.attributes import Room, XsaveTable
from inspector.capture.errors import InputError, visible
from inspector.capture.model import Area, Capture, Origin, Vcpu
from inspector.readers.budget import Budget
from inspector.readers.kvm_struct import struct_area
from inspector.readers.marks import start_of_core
from inspector.readers.named_values import Sized, named_area
from inspector.readers.options import Options
from inspector.readers.protobuf import Message
from inspector.readers.source import Source
from inspector.readers.xsave_area import xsave_area
from layouts.files import criu as layout

_MOST_BYTES = 1 << 20
_MOST_FIELDS = 65_536
_MOST_TASKS = 4096


def read(source: Source, _options: Options) -> Capture:
    """One task an entry. Raises InputError when there is none."""
    at = start_of_core(source.read(0, 8))
    budget = Budget(source.name, "fields", records=_MOST_FIELDS)
    vcpus: list[Vcpu] = []
    faults: list[InputError] = []
    try:
        while source.read(at, 1):
            size = int.from_bytes(source.read_exactly(at, 4, "the size of an entry"), "little")
            if size > _MOST_BYTES:
                raise InputError(source.name, f"an entry of at most {_MOST_BYTES} bytes", f"{size}", at)
            if len(vcpus) == _MOST_TASKS:
                raise InputError(source.name, f"at most {_MOST_TASKS} tasks", "more", at)
            entry = Message(source.name, source.read_exactly(at + 4, size, "an entry"), at + 4, budget)
            vcpus.append(_task(entry, len(vcpus)))
            at += 4 + size
    except InputError as error:
        faults.append(error)
    if not vcpus:
        raise (faults or [InputError(source.name, "an entry of a task", "none", at)])[0]
    return Capture(source.name, "criu-core", vcpus, faults=faults)


def _task(entry: Message, number: int) -> Vcpu:
    machine = entry.single().get(layout.MTYPE, 0)
    name = _name(entry) or f"task {number}"
    if machine == layout.X86_64:
        info = entry.message(layout.THREAD_INFO)
        if info is None:
            raise InputError(entry.file, "thread_info of x86", "none", entry.offset)
        return Vcpu(number, name, "x86", _x86(info))
    if machine == layout.AARCH64:
        info = entry.message(layout.TI_AARCH64)
        if info is None:
            raise InputError(entry.file, "ti_aarch64", "none", entry.offset)
        return Vcpu(number, name, "arm64", _arm64(info))
    found = f"a task of {layout.OTHER_MACHINES.get(machine, f'machine type {machine}')}"
    raise InputError(entry.file, "a task of x86-64 or aarch64", found, entry.offset)


def _name(entry: Message) -> str:
    """comm: of the leader in its task's entry, of other threads in the thread's."""
    for message, field in (
        (entry.message(layout.THREAD), layout.THREAD_COMM),
        (entry.message(layout.TASK), layout.TASK_COMM),
    ):
        for value in message or ():
            if value.field == field and value.data:
                return visible(value.data[:64].decode("utf-8", "replace"))
    return ""


def _x86(info: Message) -> list[Area]:
    areas = []
    registers = info.message(layout.GPREGS)
    if registers is not None:
        numbers = registers.single()
        values = {path: (numbers[n], _size(path)) for n, path in enumerate(layout.X86_REGISTERS, 1) if n in numbers}
        areas.append(named_area(values, info.file, "general registers"))
    fpu = info.message(layout.FPREGS)
    if fpu is not None:
        areas.append(_image(fpu))
    return areas


def _size(path: str) -> int:
    return 2 if path.endswith(".selector") else 8


def _image(fpu: Message) -> Area:
    """The legacy region, and the components that are kept."""
    one = fpu.single()
    image = bytearray(layout.IMAGE_SIZE_BYTES)
    for field, size, at in layout.LEGACY:
        image[at : at + size] = (one.get(field, 0) % (1 << 8 * size)).to_bytes(size, "little")
    for field, size, at, whole in layout.ARRAYS:
        _put(image, at, whole, fpu.numbers(field), size)
    kept = fpu.message(layout.XSAVE)
    # Without an xsave entry the task had FXSAVE alone: both parts of the legacy region are in use.
    bv = kept.single().get(1, 0) if kept is not None else 3
    image[layout.BV_AT : layout.BV_AT + 8] = bv.to_bytes(8, "little")
    rooms = []
    for field, component, size, offset, whole in layout.COMPONENTS:
        numbers = kept.numbers(field) if kept is not None else []
        if numbers:
            _put(image, offset, whole, numbers, size)
            rooms.append(Room(component, whole, offset, align64=False))
    end = max((room.offset + room.size_bytes for room in rooms), default=layout.FIRST_COMPONENT_AT)
    table = XsaveTable(tuple(rooms), "CRIU's struct xsave_struct")
    area = xsave_area("xsave", "FPU state", bytes(image[:end]), Origin(fpu.file, fpu.offset), table, end)
    area.attributes["synthesized"] = True
    return area


def _put(image: bytearray, at: int, whole: int, numbers: Sequence[int], size: int) -> None:
    data = b"".join((number % (1 << 8 * size)).to_bytes(size, "little") for number in numbers[: whole // size])
    image[at : at + len(data)] = data


def _arm64(info: Message) -> list[Area]:
    values: dict[str, Sized] = {}
    registers = info.message(layout.AARCH64_GPREGS)
    if registers is not None:
        values.update({f"core.x[{n}]": (number, 8) for n, number in enumerate(registers.numbers(1)[:31])})
        values.update(_named(registers.single(), {2: ("core.sp", 8), 3: ("core.pc", 8), 4: ("core.pstate", 8)}))
    vectors = info.message(layout.AARCH64_FPSIMD)
    if vectors is not None:
        halves = vectors.numbers(1)[:64]
        values.update(
            {
                f"core.v[{n}]": (low | high << 64, 16)
                for n, (low, high) in enumerate(zip(halves[::2], halves[1::2], strict=False))
            }
        )
        values.update(_named(vectors.single(), {2: ("core.fpsr", 4), 3: ("core.fpcr", 4)}))
    own = info.single()
    if layout.AARCH64_TLS in own:
        values["sysreg.TPIDR_EL0"] = (own[layout.AARCH64_TLS], 8)
    return [named_area(values, info.file, "registers"), *_keys(info)]


def _keys(info: Message) -> Iterator[Area]:
    """Keys of pointer authentication, and which are in force; a key of which a half is missing is left out."""
    keys = info.message(layout.AARCH64_PAC)
    for field, first, last, name in layout.AARCH64_KEYS if keys is not None else ():
        message = keys.message(field) if keys is not None else None
        numbers = message.single() if message is not None else {}
        halves = [numbers.get(n) for n in range(first, last + 1)]
        known = [half % (1 << 64) for half in halves if half is not None]
        if len(known) == len(halves):
            data = b"".join(half.to_bytes(8, "little") for half in known)
            area = struct_area(name, data, Origin(info.file, info.offset))[0]
            area.attributes["synthesized"] = True
            yield area


def _named(numbers: Mapping[int, int], names: Mapping[int, tuple[str, int]]) -> dict[str, Sized]:
    return {path: (numbers[field], size) for field, (path, size) in names.items() if field in numbers}
