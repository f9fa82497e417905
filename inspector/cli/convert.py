"""``inspector convert``: write a capture in another format."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import BinaryIO, TextIO

from inspector.capture.model import Capture
from inspector.cli import arguments
from inspector.cli.streams import note
from inspector.export.files import save_new
from inspector.targets.schemes import capture_of

FORMATS = ("vcpu", "raw", "core", "json", "cpuid", "record")

_ABOUT = """\
Write a capture in another format:
  vcpu   the project's capture file: everything, lossless
  raw    a folder with one file an area, which opens as the same vCPUs
  core   an ELF core with the notes and no memory
  json   what show --json prints
  cpuid  cpuid -r text
  record the first vCPU's registers, CPUID and MSRs, one a line"""

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
    capture = capture_of(found.target, arguments.options_of(found))
    if found.to == "raw":
        from inspector.export.raw import write_raw

        names = write_raw(found.output, capture)
        note(f"{found.output}: {len(names)} files")
    else:
        save_new(found.output, lambda out: _write(out, capture, found.to))
    return arguments.tell(capture)


def _write(out: BinaryIO, capture: Capture, to: str) -> None:
    """Write the capture in a format that is one file."""
    if to == "vcpu":
        from inspector.export.vcpu import write_vcpu

        write_vcpu(out, capture)
    elif to == "core":
        from inspector.export.core import write_core

        write_core(out, capture)
    else:
        text = io.TextIOWrapper(out, encoding="utf-8", write_through=True)
        try:
            _write_text(text, capture, to)
        finally:
            # Closing the file is not ours.
            text.detach()


def _write_text(out: TextIO, capture: Capture, to: str) -> None:
    if to == "json":
        from inspector.export.json import write_json

        write_json(out, capture, capture.vcpus, [])
    elif to == "record":
        from inspector.export.cpu_record import write_record

        write_record(out, capture)
    else:
        from inspector.export.cpuid_text import write_cpuid

        write_cpuid(out, capture)
