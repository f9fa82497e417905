"""Open a target: find its bytes, recognise the format by content, read it."""

from __future__ import annotations

import os
from collections.abc import Callable

from inspector.capture.errors import InputError
from inspector.capture.model import Capture
from inspector.readers.marks import is_surely_binary
from inspector.readers.options import Options, check_layout
from inspector.readers.source import Source, open_source
from layouts.light import TYPE_CHECKING, NamedTuple, import_module

if TYPE_CHECKING:
    from typing import Any

_HEAD_SIZE_BYTES = 1 << 16


class Format(NamedTuple):
    """A format: its name, and by what its first bytes are known: ``magic``, or a function.

    Functions are ``module:function`` of this package, imported when they are asked for: ``looks_like(head)``, and
    ``read(source, options) -> Capture``. ``is_text``: no file of it begins with bytes that no text has.
    """

    name: str
    read: str
    magic: tuple[bytes, ...] = ()
    looks_like: str = ""
    is_text: bool = False

    def recognise(self, head: bytes) -> bool:
        """The file that begins so is of this format."""
        if self.is_text and is_surely_binary(head):
            return False
        return head.startswith(self.magic) if self.magic else bool(_function(self.looks_like)(head))


#: Every format, the surest marks first. A new one is one line here and one module.
FORMATS = (
    Format("elf-core", "elf_core:read", (b"\x7fELF",)),
    Format("qemu-stream", "qemu_stream:read", (b"QEVM",)),
    Format("libvirt-save", "libvirt_save:read", (b"LibvirtQemudSave",)),
    Format("qcow2-snapshot", "qcow2:read", (b"QFI\xfb",)),
    Format("kdump", "kdump:read", (b"KDUMP   ", b"makedumpfile\0\0\0\0")),
    Format("minidump", "minidump:read", (b"MDMP\x93\xa7",)),
    Format("win-dmp", "win_dump:read", (b"PAGEDU64",)),
    Format("criu-core", "criu:read", looks_like="marks:looks_like_criu"),
    Format("vcpu", "vcpu_file:read", (b'{"vcpu_capture":',)),
    Format("report", "report:read", (b"<!DOCTYPE html><!-- inspector report ",)),
    Format("cpu-record", "cpu_record:read", looks_like="marks:looks_like_record", is_text=True),
    Format("not read, by its magic", "foreign:read", looks_like="foreign:by_magic"),
    Format("json", "json_file:read", looks_like="json_file:looks_like_json", is_text=True),
    Format("firecracker-state", "firecracker:read_state", looks_like="marks:looks_like_firecracker"),
    Format("crosvm", "crosvm:read", looks_like="marks:looks_like_crosvm"),
    Format("log", "logs.log:read", looks_like="logs.log:looks_like_log", is_text=True),
    Format("info-registers, kernel-oops", "logs.log:read_registers", looks_like="logs.log:has_registers", is_text=True),
    Format("gdb-registers", "gdb_text:read", looks_like="gdb_text:looks_like_gdb", is_text=True),
    Format("kvm-registers", "register_list:read", looks_like="register_list:looks_like_list", is_text=True),
    Format(
        "libvirt-domcapabilities",
        "libvirt_capabilities:read",
        looks_like="libvirt_capabilities:looks_like_capabilities",
        is_text=True,
    ),
    Format("not read, by its words", "foreign:read", looks_like="foreign:by_text", is_text=True),
    Format("cpuid-r", "cpuid_text:read", looks_like="cpuid_text:looks_like_cpuid_text", is_text=True),
    Format("xsave", "xsave_area:read_xsave", looks_like="xsave_area:looks_like_xsave"),
    Format("kvm-cpuid2", "kvm_struct:read_cpuid2", looks_like="kvm_struct:looks_like_cpuid2"),
    Format("kvm-msrs", "kvm_struct:read_msrs", looks_like="kvm_struct:looks_like_msrs"),
)


def _function(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(import_module(f"inspector.readers.{module}"), function)
    return found


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
            capture: Capture = _function(known.read)(source, options)
            return capture
    found = _in_the_text(source, head, options)
    if found is not None:
        return found
    raise _unrecognised(source, head)


def _in_the_text(source: Source, head: bytes, options: Options) -> Capture | None:
    """What lines further on in a text tell, where its beginning tells nothing."""
    from inspector.readers.logs import log

    return log.read_anywhere(source, options) if log.is_text(head) else None


def _unrecognised(source: Source, head: bytes) -> InputError:
    from inspector.readers.kvm_struct import candidates

    if source.fault:
        return source.fault
    size = source.size if source.size is not None else len(head)
    words = candidates(size)
    hint = f"; {size} bytes could be --as {' or '.join(words)}" if words else " (--as names a raw structure)"
    begins = head[:8].hex(" ") or "nothing"
    return InputError(source.name, "a format that inspector knows", f"{size} bytes that begin {begins}{hint}", 0)
