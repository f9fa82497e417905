"""A log: whichever of the known parts its lines have, each read by its own module, all of them together.

Parts are looked for in the whole text, behind whatever prefixes journald, dmesg, libvirt or a container's runtime put
before each line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from inspector.capture.calls import Call
from inspector.capture.errors import InputError
from inspector.capture.host import Host
from inspector.capture.model import Area, Capture, Vcpu
from inspector.readers import info_registers, kernel_oops
from inspector.readers.logs.found import Found, Line
from inspector.readers.named_values import facts_area
from inspector.readers.options import Options
from inspector.readers.source import Source
from inspector.readers.text import MAX_TEXT_BYTES, lines_of_text
from layouts.light import import_module

#: strace prints a table of CPUID in one line: 256 entries of 150 bytes.
_MOST_LINE_BYTES = 1 << 17
#: Calls that are kept; a VMM's start has 500.
_MOST_CALLS = 65_536
_HEAD_SIZE_BYTES = 1 << 16
#: Bytes that no text has.
_BINARY = re.compile(rb"[\0-\x08\x0e-\x1a]")


class Part(NamedTuple):
    """A part: its name, what only its lines have, and ``module:function`` of this package that reads it.

    ``alone``: lines so telling that a file whose first lines have them is a log before all else.
    """

    name: str
    mark: re.Pattern[bytes]
    read: str
    alone: bool = True


PARTS = (
    Part("strace", re.compile(rb"\b(?:ioctl\(-?(?:0x[0-9a-f]+|\d+)[<,]|arch_prctl\()"), "strace:read"),
    Part(
        "trace events",
        re.compile(rb"\b(?:kvm_(?!intel:|amd:)[a-z0-9_]{2,60}|x86_fpu_[a-z_]{3,40}): +[a-zA-Z0-9]"),
        "ftrace:read",
    ),
    Part(
        "kernel messages",
        re.compile(rb"\bkvm_set_msr_common set MSR|\bwrite xfd to cpu\d|\bhandle_xfd_event on |\bqueue #nm exception"),
        "printk:read",
    ),
    Part(
        "QEMU's messages",
        re.compile(
            rb"doesn't support requested feature: |[Ff]ailed to (?:[gs]et|put) |[Cc]ould not set register |"
            rb"KVM internal error|KVM: entry failed|kvm run failed|[Ii]gnored (?:wr|rd)msr|nhandled (?:wr|rd)msr"
        ),
        "qemu_messages:read",
    ),
    Part("VMCS", re.compile(rb"\*\*\* Guest State \*\*\*"), "vmcs:read"),
    Part("VMCB", re.compile(rb"VMCB State Save Area:"), "vmcb:read"),
    Part(
        "CPU words",
        re.compile(rb"(?m)^(?:flags|Flags|Features)\s*:.*\b(?:fpu|asimd|fp)\b.*$"),
        "processors:read",
    ),
    Part(
        "registers of QEMU",
        re.compile(rb"\b[RE]AX=[0-9a-f]{8,16} [RE]BX=|PC=[0-9a-f]{16} +X00="),
        "others:qemu",
        alone=False,
    ),
    Part("registers of the kernel", re.compile(rb"[ER]IP: |\bpstate ?:"), "others:kernel", alone=False),
)


def looks_like_log(head: bytes) -> bool:
    """A line near the beginning that only a log has; registers alone are of other formats."""
    return not _BINARY.search(head) and any(part.alone and part.mark.search(head) for part in PARTS)


def is_text(head: bytes) -> bool:
    """Text, which may have such lines further on."""
    return bool(head) and not _BINARY.search(head)


def has_registers(head: bytes) -> bool:
    """Registers as QEMU or the kernel prints them near the beginning, or the time stamps of a kernel's log."""
    return info_registers.looks_like_registers(head) or kernel_oops.looks_like_oops(head)


def read_registers(source: Source, options: Options) -> Capture:
    """Registers alone as the format that prints them, registers among other lines as a log. Raises InputError."""
    capture = search(source)
    if capture is not None:
        return capture
    head = source.read(0, _HEAD_SIZE_BYTES)
    if info_registers.looks_like_registers(head):
        return info_registers.read(source, options)
    return kernel_oops.read(source, options)


def read(source: Source, _options: Options) -> Capture:
    """A log. Raises InputError when none of its lines can be read."""
    capture = search(source)
    if capture is None:
        raise source.fault or InputError(source.name, "lines of a log that tell of vCPUs", "none that can be read")
    return capture


def read_anywhere(source: Source, options: Options) -> Capture | None:
    """What lines far behind the beginning tell; None for a text, or for too much of one, that tells nothing."""
    try:
        return read_registers(source, options)
    except InputError:
        return None


def search(source: Source) -> Capture | None:
    """All that the lines of a text tell; None when they tell nothing but registers.

    Raises InputError for a text that is too large.
    """
    data = source.read_all(MAX_TEXT_BYTES)
    if not is_text(data):
        return None
    parts = [part for part in PARTS if part.mark.search(data)]
    if not any(part.alone for part in parts):
        return None
    faults: list[InputError] = [source.fault] if source.fault else []
    lines = [Line(*line) for line in lines_of_text(data, source.name, faults, _MOST_LINE_BYTES)]
    found = [(part, _function(part.read)(lines, source.name)) for part in parts]
    told = [(part, result) for part, result in found if not result.is_empty]
    return _together(told, source.name, faults) if told else None


def _together(told: Sequence[tuple[Part, Found]], file: str, faults: list[InputError]) -> Capture:
    """One capture of all parts."""
    states = [state for _, result in told for state in result.states]
    calls = sorted((call for _, result in told for call in result.calls), key=lambda call: call.offset)
    if len(calls) > _MOST_CALLS:
        faults.append(InputError(file, f"at most {_MOST_CALLS} calls", f"{len(calls)}", calls[_MOST_CALLS].offset))
        calls = calls[:_MOST_CALLS]
    context = [area for _, result in told for area in result.context]
    if calls:
        context.append(calls_area(calls, file))
    cpuids = [result.cpuid for _, result in told if result.cpuid is not None]
    return Capture(
        file,
        "log",
        [Vcpu(number, state.name, state.arch, state.areas) for number, state in enumerate(states)],
        host=Host(cpuids[0] if cpuids else None, about=", ".join(part.name for part, _ in told)),
        context=context,
        calls=calls,
        faults=[*faults, *(fault for _, result in told for fault in result.faults)],
        notices=[notice for _, result in told for notice in result.notices],
    )


def calls_area(calls: Sequence[Call], file: str) -> Area:
    """The calls as facts, one row each, numbered from 1 as ``sim --from-log`` numbers them."""
    rows = ((f"{number}.{call.name}", _words(call)) for number, call in enumerate(calls, 1))
    return facts_area(rows, "calls", "calls and events, in the order of the log", file)


_MOST_WORDS = 400


def _words(call: Call) -> str:
    who = f"[{call.who}] " if call.who else ""
    on = f"{call.descriptor}: " if call.descriptor >= 0 else ""
    text = call.text if len(call.text) <= _MOST_WORDS else f"{call.text[:_MOST_WORDS]}..."
    answer = "" if call.result is None and not call.error else f" = {call.answer}"
    return f"{who}{on}{text}{answer}"


def _function(name: str) -> Callable[[Sequence[Line], str], Found]:
    module, _, function = name.partition(":")
    found: Callable[[Sequence[Line], str], Found] = getattr(import_module(f"inspector.readers.logs.{module}"), function)
    return found
