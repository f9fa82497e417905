"""Open a target: find its bytes, recognise the format by content, read it."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple

from inspector.capture.errors import InputError
from inspector.capture.model import Capture
from inspector.readers.options import Options, check_layout
from inspector.readers.source import Source, open_source

_HEAD_SIZE_BYTES = 1 << 16


class Format(NamedTuple):
    """A format: its name, how its first bytes look, and the module that reads it."""

    name: str
    recognise: Callable[[bytes], bool]
    module: str
    function: str = "read"


def _xsave(head: bytes) -> bool:
    from inspector.readers.xsave_area import looks_like_xsave

    return looks_like_xsave(head)


def _cpuid2(head: bytes) -> bool:
    from inspector.readers.kvm_struct import looks_like_cpuid2

    return looks_like_cpuid2(head)


def _msrs(head: bytes) -> bool:
    from inspector.readers.kvm_struct import looks_like_msrs

    return looks_like_msrs(head)


def _json(head: bytes) -> bool:
    from inspector.readers.json_file import looks_like_json

    return looks_like_json(head)


def _firecracker_state(head: bytes) -> bool:
    from inspector.readers.firecracker import looks_like_state

    return looks_like_state(head)


def _cbor(head: bytes) -> bool:
    from inspector.readers.crosvm import looks_like_cbor

    return looks_like_cbor(head)


def _register_list(head: bytes) -> bool:
    from inspector.readers.register_list import looks_like_list

    return looks_like_list(head)


def _kernel_oops(head: bytes) -> bool:
    from inspector.readers.kernel_oops import looks_like_oops

    return looks_like_oops(head)


def _gdb_text(head: bytes) -> bool:
    from inspector.readers.gdb_text import looks_like_gdb

    return looks_like_gdb(head)


def _info_registers(head: bytes) -> bool:
    from inspector.readers.info_registers import looks_like_registers

    return looks_like_registers(head)


def _cpuid_text(head: bytes) -> bool:
    from inspector.readers.cpuid_text import looks_like_cpuid_text

    return looks_like_cpuid_text(head)


def _foreign_magic(head: bytes) -> bool:
    from inspector.readers.foreign import by_magic

    return by_magic(head) is not None


def _foreign_text(head: bytes) -> bool:
    from inspector.readers.foreign import by_text

    return by_text(head) is not None


def _cpu_record(head: bytes) -> bool:
    from inspector.readers.cpu_record import looks_like_record

    return looks_like_record(head)


#: Every format, the surest marks first. A new one is one line here and one module.
FORMATS = (
    Format("elf-core", lambda head: head.startswith(b"\x7fELF"), "elf_core"),
    Format("qemu-stream", lambda head: head.startswith(b"QEVM"), "qemu_stream"),
    Format("libvirt-save", lambda head: head.startswith(b"LibvirtQemudSave"), "libvirt_save"),
    Format("qcow2-snapshot", lambda head: head.startswith(b"QFI\xfb"), "qcow2"),
    Format("kdump", lambda head: head.startswith((b"KDUMP   ", b"makedumpfile\0\0\0\0")), "kdump"),
    Format("vcpu", lambda head: head.startswith(b'{"vcpu_capture":'), "vcpu_file"),
    Format("not read, by its magic", _foreign_magic, "foreign"),
    Format("json", _json, "json_file"),
    Format("cpu-record", _cpu_record, "cpu_record"),
    Format("firecracker-state", _firecracker_state, "firecracker", "read_state"),
    Format("crosvm", _cbor, "crosvm"),
    Format("info-registers", _info_registers, "info_registers"),
    Format("kernel-oops", _kernel_oops, "kernel_oops"),
    Format("gdb-registers", _gdb_text, "gdb_text"),
    Format("kvm-registers", _register_list, "register_list"),
    Format("not read, by its words", _foreign_text, "foreign"),
    Format("cpuid-r", _cpuid_text, "cpuid_text"),
    Format("xsave", _xsave, "xsave_area", "read_xsave"),
    Format("kvm-cpuid2", _cpuid2, "kvm_struct", "read_cpuid2"),
    Format("kvm-msrs", _msrs, "kvm_struct", "read_msrs"),
)


def open_capture(path: str, options: Options | None = None, name: str = "") -> Capture:
    """Open a file, a folder or ``-``; ``name`` is what it is called, if not by its path.

    Raises InputError when it cannot be read at all; what can be read in part comes back
    with ``faults``. Raises UsageError for options that name nothing.
    """
    options = options or Options()
    check_layout(options.layout)
    target = name or path
    if path != "-" and os.path.isdir(path):
        from inspector.readers import folder

        if options.as_format:
            raise InputError(target, f"a file for --as {options.as_format}", "a folder")
        capture = folder.read(path, options)
    else:
        capture = read_source(open_source(path, options.progress, target), options)
    capture.target = target
    return capture


def read_source(source: Source, options: Options) -> Capture:
    """The capture that a source holds. Raises InputError, as ``open_capture``.

    Input that takes more memory or is nested deeper than this process can follow is an InputError, too.
    """
    try:
        capture = _read(source, options)
    except MemoryError:
        raise InputError(source.name, "what fits into the memory of this process", "more") from None
    except RecursionError:
        raise InputError(source.name, "values nested as in real files", "deeper ones") from None
    capture.notices += [notice for notice in source.notices if notice not in capture.notices]
    return capture


def _read(source: Source, options: Options) -> Capture:
    if options.as_format:
        from inspector.readers.kvm_struct import read_as

        return read_as(source, options)
    head = source.read(0, _HEAD_SIZE_BYTES)
    for known in FORMATS:
        if known.recognise(head):
            module = import_module(f"inspector.readers.{known.module}")
            capture: Capture = getattr(module, known.function)(source, options)
            return capture
    raise _unrecognised(source, head)


def _unrecognised(source: Source, head: bytes) -> InputError:
    from inspector.readers.kvm_struct import candidates

    if source.fault:
        return source.fault
    size = source.size if source.size is not None else len(head)
    words = candidates(size)
    hint = f"; {size} bytes could be --as {' or '.join(words)}" if words else " (--as names a raw structure)"
    begins = head[:8].hex(" ") or "nothing"
    return InputError(source.name, "a format that inspector knows", f"{size} bytes that begin {begins}{hint}", 0)
