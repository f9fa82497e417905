"""``inspector reproduce``: a C program that makes a refused call of a log again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from inspector.capture.exit_code import ExitCode
from inspector.cli import arguments
from inspector.cli.streams import note, say
from inspector.export.files import save_bytes
from inspector.export.reproducer import Made, needed, program, refused_call
from inspector.readers.logs.passed import passed_by
from inspector.targets.schemes import capture_of

_ABOUT = """\
A C program that makes the calls of a log up to one that was refused, with the same bytes, and tells whether it is
refused where it runs. The log is strace's: strace -f -v -s 4096 -e trace=ioctl,arch_prctl VMM..."""

_EXAMPLES = """\
  inspector reproduce sample:logs/refused-cpuid.strace.txt --call 10
  inspector reproduce strace.txt -o case.c && cc -o case case.c && ./case"""


def run(words: Sequence[str]) -> int:
    """Write the program to a file, or to standard output."""
    parser = arguments.parser("reproduce", _ABOUT, _EXAMPLES)
    parser.add_argument("target", metavar="LOG", help="a log of calls")
    parser.add_argument(
        "--call", type=int, metavar="N", help="the refused call, as show numbers it (default: the last)"
    )
    parser.add_argument("-o", dest="output", default="", metavar="FILE", help="where to write it (default: stdout)")
    found = parser.parse_args(words)
    capture = capture_of(found.target, arguments.TOLD)
    last = refused_call(capture.calls, found.call)
    calls = [Made(number, call, passed_by(call)) for number, call in enumerate(capture.calls[: last + 1], 1)]
    made, without = needed(calls)
    lines = list(program(made, without))
    if not found.output:
        say(*lines)
    else:
        save_bytes(found.output, ("\n".join(lines) + "\n").encode())
        name = shlex.quote(found.output)
        note(f"{found.output}: cc -o case {name} && ./case")
    if without:
        names = ", ".join(dict.fromkeys(one.call.name for one in without))
        note(f"inspector: left out, for their bytes are not in the log: {names}")
    return ExitCode.OK
