"""``inspector convert``: write a capture in another format."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

from inspector.capture.errors import UsageError
from inspector.capture.model import Capture
from inspector.cli import arguments
from inspector.readers.open import open_capture

FORMATS = ("vcpu", "raw", "core", "json", "cpuid", "record")

_ABOUT = """\
Write a capture in another format:
  vcpu   the project's capture file: everything, lossless (docs/capture-file.md)
  raw    a folder with one file an area, which opens as the same vCPUs
  core   an ELF core with the notes and no memory
  json   what show --json prints
  cpuid  cpuid -r text
  record the first vCPU's registers, CPUID and MSRs, one a line (docs/cpu-record.md)"""

_EXAMPLES = """\
  inspector convert core.1234 --to vcpu -o bug.vcpu
  inspector convert bug.vcpu --to core -o small.core"""


def run(words: Sequence[str]) -> int:
    """Convert a target."""
    parser = arguments.parser("convert", _ABOUT, _EXAMPLES)
    arguments.add_target(parser)
    parser.add_argument("--to", required=True, choices=FORMATS, help="the format to write")
    parser.add_argument("-o", "--output", required=True, metavar="PATH", help="where to; must not exist (- for stdout)")
    found = parser.parse_args(words)
    capture = open_capture(found.target, arguments.options_of(found))
    if found.to == "raw":
        from inspector.export.raw import write_raw

        names = write_raw(found.output, capture)
        print(f"{found.output}: {len(names)} files", file=sys.stderr)
    else:
        _write(found.output, _converted(capture, found.to))
    return arguments.tell(capture)


def _converted(capture: Capture, to: str) -> bytes:
    """The capture as the bytes of a format."""
    binary, text = io.BytesIO(), io.StringIO()
    if to == "vcpu":
        from inspector.export.vcpu import write_vcpu

        write_vcpu(binary, capture)
    elif to == "core":
        from inspector.export.core import write_core

        write_core(binary, capture)
    elif to == "json":
        from inspector.export.json import write_json

        write_json(text, capture, capture.vcpus, [])
    elif to == "record":
        from inspector.export.cpu_record import write_record

        write_record(text, capture)
    else:
        from inspector.export.cpuid_text import write_cpuid

        write_cpuid(text, capture)
    return binary.getvalue() or text.getvalue().encode()


def _write(path: str, data: bytes) -> None:
    """Write a new file; an existing one is never touched."""
    if path == "-":
        sys.stdout.buffer.write(data)
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError as error:
        raise UsageError(f"{path}: already there") from error
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    with os.fdopen(descriptor, "wb") as out:
        out.write(data)
