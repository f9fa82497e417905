"""``inspector reproduce``: a C program that makes a refused call of a log again, or restores a captured vCPU."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from inspector.capture.errors import UsageError
from inspector.capture.exit_code import ExitCode
from inspector.cli import arguments
from inspector.cli.streams import note, say
from inspector.export.files import save_bytes
from inspector.export.reproducer import Made, needed, program, refused_call
from inspector.readers.logs.passed import passed_by
from inspector.targets.schemes import capture_of

if TYPE_CHECKING:
    from inspector.capture.model import Capture, Vcpu

_ABOUT = """\
A C program that makes the calls of a log up to one that was refused, with the same bytes, and tells whether it is
refused where it runs. The log is strace's: strace -f -v -s 4096 -e trace=ioctl,arch_prctl VMM... Of a capture of KVM's
structures or arm64 registers: a program that gives them to KVM as a VMM does, and tells which are refused."""

_EXAMPLES = """\
  inspector reproduce sample:logs/refused-cpuid.strace.txt --call 10
  inspector reproduce strace.txt -o case.c && cc -o case case.c && ./case
  inspector reproduce sample:amx --vcpu 0 -o restore.c"""


def run(words: Sequence[str]) -> int:
    """Write the program to a file, or to standard output."""
    parser = arguments.parser("reproduce", _ABOUT, _EXAMPLES)
    parser.add_argument("target", metavar="TARGET", help="a log of calls, or a capture of a vCPU")
    parser.add_argument(
        "--call", type=int, metavar="N", help="the refused call, as show numbers it (default: the last)"
    )
    parser.add_argument("--vcpu", type=int, metavar="N", help="of a capture: which vCPU (default 0)")
    parser.add_argument("-o", dest="output", default="", metavar="FILE", help="where to write it (default: stdout)")
    found = parser.parse_args(words)
    capture = capture_of(found.target, arguments.TOLD)
    if not capture.calls and capture.vcpus:
        if found.call is not None:
            raise UsageError(f"--call {found.call}: {found.target} is no log of calls")
        _write(_of_vcpu(capture, found.vcpu or 0), found.output)
        note("inspector: the program has the capture's bytes: registers, addresses, keys")
        return ExitCode.OK
    if found.vcpu is not None:
        raise UsageError(f"--vcpu {found.vcpu}: {found.target} is a log of calls; --call names one")
    last = refused_call(capture.calls, found.call)
    calls = [Made(number, call, passed_by(call)) for number, call in enumerate(capture.calls[: last + 1], 1)]
    made, without = needed(calls)
    _write(list(program(made, without)), found.output)
    if without:
        names = ", ".join(dict.fromkeys(one.call.name for one in without))
        note(f"inspector: left out, for their bytes are not in the log: {names}")
    return ExitCode.OK


def _write(lines: Sequence[str], output: str) -> None:
    if not output:
        say(*lines)
        return
    save_bytes(output, ("\n".join(lines) + "\n").encode())
    note(f"{output}: cc -o case {shlex.quote(output)} && ./case")


def _of_vcpu(capture: Capture, number: int) -> list[str]:
    """The program that restores a captured vCPU. Raises UsageError for one without KVM's structures."""
    from inspector.export.restorer import arm64_program, x86_calls, x86_program
    from inspector.targets.arm64_host import captured_state
    from layouts.arm64.ids import SVE_VLS

    if not 0 <= number < len(capture.vcpus):
        raise UsageError(f"--vcpu {number}: {capture.target} has {len(capture.vcpus)} vCPUs, numbered from 0")
    vcpu = capture.vcpus[number]
    state = captured_state(vcpu, capture.target)
    if state is not None:
        return list(arm64_program(state.registers, state.features, SVE_VLS))
    given = x86_calls({area.layout: bytes(area.data) for area in reversed(vcpu.areas)} if vcpu.arch == "x86" else {})
    if not given:
        raise UsageError(f"{capture.target}: no call of KVM, and no structure that KVM takes")
    return list(x86_program(given, _dynamic(vcpu)))


def _dynamic(vcpu: Vcpu) -> int:
    """The components of the guest's CPUID, or of its image, that a process asks permission for."""
    from inspector.targets.x86_restore import captured_state
    from layouts.x86.xsave import DYNAMIC

    state = captured_state(vcpu)
    if state is None:
        return ExitCode.OK
    leaf = state.leaves.get((0xD, 0), (0, 0, 0, 0))
    return (leaf[0] | leaf[3] << 32) & DYNAMIC
