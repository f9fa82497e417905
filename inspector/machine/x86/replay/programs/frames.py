"""Signals of recorded programs: what their handler saw, what it changed in the frame, how they went on."""

from __future__ import annotations

import signal
from typing import Any

from inspector.machine.outcome import PF, Outcome
from inspector.machine.x86.cpu.processor import Processor
from inspector.machine.x86.linux import signals
from inspector.machine.x86.linux.kernel import Linux
from inspector.machine.x86.linux.process import Cpu, Thread
from inspector.machine.x86.replay.programs.digest import changed, number
from layouts.members import Member
from layouts.x86.xsave import FPX_SW_AT, HEADER_AT, LEGACY_AT, PKRU

_SI_KERNEL, _SI_TKILL = 0x80, -6
_FLAGS = 7
_STALE, _BEYOND = b"\xee", b"\xcc"
_FRAME_BYTES = 16384
_PKRU_OFFSET = 2688
_AT_END = 65535
_UC_FLAGS, _POINTER, FILL, _MOVED = 9, 10, 11, 12
_FILL_SIZE_BYTES = 1024
Shown = dict[str, object]


def filled(first: int) -> bytes:
    """What a change of kind FILL writes."""
    return bytes((first + 3 * at) & 0xFF for at in range(_FILL_SIZE_BYTES))


class Handler:
    """The recorder's handler. ``frame``: the newest frame's image, as it found it."""

    def __init__(self, linux: Linux, on_stack: int) -> None:
        self.linux = linux
        self.on_stack = on_stack
        self.frame = bytes(_FRAME_BYTES)

    def fault(self, cpu: Cpu, thread: Thread, outcome: Outcome) -> object:
        """The signal of an instruction that did not complete; it is skipped."""
        return self._run(cpu, thread, outcome.code, outcome.value, [])

    def raised(self, cpu: Cpu, thread: Thread, number_: int, changes: list[list[Any]]) -> object:
        """Tgkill to itself; the handler changes the frame."""
        return self._run(cpu, thread, number_, _SI_TKILL, changes)

    def _run(self, cpu: Cpu, thread: Thread, number_: int, code: int, changes: list[list[Any]]) -> object:
        """Signals until one returned: what each handler saw, a list if there were several."""
        seen: list[Shown] = []
        while True:
            stack = _STALE * (thread.fpstate.user_size_bytes + 4)
            outcome = signals.deliver(self.linux, cpu, thread, stack, on_stack=number_ == self.on_stack)
            if outcome.verdict == "signal":
                number_, code = signal.SIGSEGV, _SI_KERNEL
                continue
            seen.append(self._seen(cpu, thread, number_, code, outcome.image))
            size = outcome.value
            self.frame = outcome.image[:size].ljust(_FRAME_BYTES, _BEYOND)
            moved = self._change(thread, changes if number_ in (signal.SIGUSR1, signal.SIGUSR2) else [], size)
            returned = signals.sigreturn(self.linux, cpu, thread, fpstate=moved)
            if returned.accepted:
                return seen[0] if len(seen) == 1 else seen
            number_, code = signal.SIGSEGV, _SI_KERNEL

    def _change(self, thread: Thread, changes: list[list[Any]], size: int) -> int:
        """Apply the step's changes, in order. How far the pointer to the image was moved."""
        image, moved = thread.signal_frames[-1], 0
        for offset, kind, keep_text, add_text in changes:
            keep, add = int(keep_text, 16), int(add_text, 16)
            if kind == _POINTER and not keep:
                # NULL, or an address where nothing is mapped.
                image, moved = b"", add
            elif kind in (_POINTER, _MOVED):
                moved += add - (1 << 64) if add >> 63 else add
            elif kind == FILL:
                if offset + _FILL_SIZE_BYTES <= size:
                    image = image[:offset] + filled(add) + image[offset + _FILL_SIZE_BYTES :]
            elif kind != _UC_FLAGS and image:
                image = changed(image, size if offset == _AT_END else offset, kind, keep, add)
        thread.signal_frames[-1] = image
        return moved

    def _seen(self, cpu: Cpu, thread: Thread, number_: int, code: int, image: bytes) -> Shown:
        size = FPX_SW_AT["xstate_size"].get(image)
        shown: Shown = {"sig": int(number_), "code": code, "trap": thread.trap_nr}
        if thread.error_code:
            shown["err"] = thread.error_code
        if number_ == signal.SIGSEGV and code != _SI_KERNEL and thread.trap_nr == PF and thread.fault_address:
            shown["addr"] = f"{thread.fault_address:x}"
        if number_ in (signal.SIGILL, signal.SIGFPE):
            shown["addr"] = "ip"
        machine = cpu.machine
        assert isinstance(machine, Processor)
        pkru = int.from_bytes(machine.registers.get(PKRU)[:4], "little")
        shown |= {
            "in": f"{machine.registers.in_use & machine.xcr0:x}",
            "fl": _FLAGS,
            "xf": number(image, FPX_SW_AT["xfeatures"]),
        }
        shown |= {
            "xs": size,
            "bv": number(image, HEADER_AT["xstate_bv"]),
            "mx": number(image, LEGACY_AT["mxcsr"]),
            "rp": f"{pkru:x}",
        }
        shown["pk"] = number(image, Member(_PKRU_OFFSET, 4)) if size > _PKRU_OFFSET + 4 else "0"
        return shown
