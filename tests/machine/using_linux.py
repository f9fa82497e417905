"""A Linux on processors with AMX, and processes whose registers are in them."""

from __future__ import annotations

import signal

from inspector.capture.host import Cpuid
from inspector.machine.outcome import Outcome
from inspector.machine.x86.host import Host, shipped_cpu
from inspector.machine.x86.linux.kernel import Linux
from inspector.machine.x86.linux.process import Cpu, Process, Thread
from layouts.x86.kernels import profile_for
from layouts.x86.xsave import PKRU

AMX = Host(shipped_cpu("sapphire-rapids"), profile_for("7.2"))
#: x87 and SSE alone.
PLAIN = Host(Cpuid({(1, 0): (0, 0, 1 << 26, 0), (0xD, 0): (3, 576, 576, 0)}), profile_for("7.2"))
SIZE = AMX.standard_size_bytes(AMX.user_default)
SEGV = ("signal", signal.SIGSEGV, 0x80)


def amx_process(release: str = "7.2") -> Process:
    """A process of a kernel of its own."""
    return Linux(Host(shipped_cpu("sapphire-rapids"), profile_for(release))).spawn()


def running() -> tuple[Linux, Cpu, Thread]:
    """A process whose registers are in a CPU."""
    process = Linux(AMX).spawn()
    linux = process.linux
    assert isinstance(linux, Linux)
    cpu = linux.cpu(0)
    assert linux.to_user(cpu, process.leader) is None
    return linux, cpu, process.leader


def verdict(outcome: Outcome) -> tuple[str, int, int]:
    """What user space sees of an outcome."""
    return (outcome.verdict, outcome.code, outcome.value)


def regset(bv: int, mxcsr: int = 0x1F80, pkru: int = 0) -> bytes:
    """What ptrace sets: XSTATE_BV, MXCSR with a mask of its own, PKRU with 4 bytes behind it."""
    image = bytearray(AMX.standard_size_bytes(AMX.user_max))
    image[24:32] = mxcsr.to_bytes(4, "little") + (0xFFAA).to_bytes(4, "little")
    image[512:520] = bv.to_bytes(8, "little")
    at = next(place.offset for place in AMX.user_places(AMX.user_max) if place.component == PKRU)
    image[at : at + 8] = pkru.to_bytes(4, "little") + b"\xff" * 4
    return bytes(image)
