"""One raw KVM structure as a file."""

from __future__ import annotations

from inspector.capture.errors import InputError, UsageError
from inspector.capture.model import Area, Bytes, Capture, Origin, Vcpu
from inspector.capture.nearest import did_you_mean
from inspector.decode.entries import entry_count_fault
from inspector.readers.options import Options
from inspector.readers.source import Source
from inspector.readers.xsave_area import KVM_XSAVE_SIZE_BYTES, read_xsave
from layouts.registry import layouts
from layouts.registry import size_bytes as layout_size_bytes
from layouts.x86.kvm_counted import COUNTED, KVM_CPUID2, KVM_MSRS, msrs_unpack

MAX_SIZE_BYTES = 1 << 20

#: ``--as`` words that are XSAVE images.
XSAVE_WORDS = ("xsave", "kvm-xsave", "kvm-xsave2")


def as_words() -> list[str]:
    """All words that ``--as`` takes."""
    return [*XSAVE_WORDS, *(name for name in layouts() if name.startswith("kvm-")), "fxsave"]


def check_as(word: str) -> None:
    """UsageError when ``--as`` names no structure."""
    if word and word not in as_words():
        hint = did_you_mean(word, as_words(), "inspector layouts list")
        raise UsageError(f"--as {word}: no such structure; {hint}")


def read_as(source: Source, options: Options) -> Capture:
    """A file as the structure that ``--as`` names."""
    word = options.as_format
    if word in XSAVE_WORDS:
        return read_xsave(source, options, word)
    check_as(word)
    data = source.read_all(MAX_SIZE_BYTES)
    area, fault = struct_area(word, data, Origin(source.name, 0))
    fault = source.fault or fault
    return Capture(source.name, word, [Vcpu(0, "vcpu", "x86", [area])], faults=[fault] if fault else [])


def read_cpuid2(source: Source, options: Options) -> Capture:
    """A file that is a ``struct kvm_cpuid2``."""
    return read_as(source, options._replace(as_format="kvm-cpuid2"))


def read_msrs(source: Source, options: Options) -> Capture:
    """A file that is a ``struct kvm_msrs``."""
    return read_as(source, options._replace(as_format="kvm-msrs"))


def struct_area(name: str, data: Bytes, origin: Origin, prefix: str = "") -> tuple[Area, InputError | None]:
    """A structure as an area, and the fault when the bytes are too few or too many for it."""
    layout = layouts()[name]
    needed = layout_size_bytes(name)
    fault = None
    if len(data) < needed:
        fault = InputError(origin.file, f"{name} ({needed} bytes)", f"{len(data)} bytes", origin.offset + len(data))
    elif len(data) > needed and not layout.open_ended:
        fault = InputError(origin.file, f"{name} ({needed} bytes)", f"{len(data)} bytes", origin.offset + needed)
    area = Area(
        name,
        prefix or layout.prefix,
        layout.title,
        data,
        origin,
        declared_size_bytes=max(needed, len(data)),
    )
    return area, fault or entry_count_fault(area)


def looks_like_cpuid2(data: Bytes) -> bool:
    """``struct kvm_cpuid2`` by its count, zero padding and first leaf."""
    table = COUNTED[KVM_CPUID2.name]
    if not table.is_whole(data):
        return False
    at, function, padding = table.header_size_bytes, table.members["function"], table.members["padding"]
    first = data[at : at + table.entry_size_bytes]
    return not any(first[padding.slice]) and function.get(first) in (0, 0x80000000)


def looks_like_msrs(data: Bytes) -> bool:
    """``struct kvm_msrs`` by its count and zero reserved words."""
    return COUNTED[KVM_MSRS.name].is_whole(data) and all(not reserved for _, reserved, _ in msrs_unpack(data))


def candidates(size_bytes: int) -> list[str]:
    """The ``--as`` words whose structure has exactly this size."""
    found = [name for name in as_words() if name in layouts() and layout_size_bytes(name) == size_bytes]
    return [*found, "kvm-xsave"] if size_bytes == KVM_XSAVE_SIZE_BYTES else found
