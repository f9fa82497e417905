"""Random sequences: a fresh VM of one vCPU, each step's answer follows from those before."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any

from inspector.machine.answer import Answer, text_of
from inspector.machine.outcome import EXECUTED
from inspector.machine.x86.cpu.images import with_xstate_bv
from inspector.machine.x86.cpu.instructions import control, tiles, vectors
from inspector.machine.x86.host import Host
from inspector.machine.x86.kvm.guest import Guest
from inspector.machine.x86.kvm.supported import named_cpuid
from inspector.machine.x86.kvm.vcpu import Vcpu
from inspector.machine.x86.linux.kernel import Linux
from layouts.x86.xsave import AVX, HI16_ZMM, SSE, TILECFG, TILEDATA, ZMM_HI256

_IOCTLS = frozenset(("set_cpuid", "set_xcr0", "set_xsave", "state"))
#: A recorded step: its operation, its operands, its answer.
Recorded = list[Any]


def replay_sequence(host: Host, record: dict[str, Any]) -> Iterator[Answer]:
    """The answers of one sequence, a step each."""
    sequence = _Sequence(host, permitted=record["ctx"] == "perm")
    steps = sequence.steps()
    for number, step in enumerate(record["steps"]):
        operation, expected = step[0], step[1:]
        predicted, because = steps[operation](step)
        where = f"{record['ctx']} {record['n']} step {number}: {text_of(step)}"
        yield Answer(operation, where, expected, predicted, _accepted(step), because)


def _accepted(step: Recorded) -> bool:
    operation = step[0]
    if operation == "state":
        return bool(step[1] == 0)
    if operation in _IOCTLS:
        return bool(step[-1] == 0)
    if operation == "set_msr":
        return bool(step[-1] == 1)
    return bool((step[-2] if operation in ("g_rdmsr", "g_xgetbv") else step[-1]) == EXECUTED)


class _Sequence:
    """One VM: what its steps act on."""

    def __init__(self, host: Host, *, permitted: bool) -> None:
        process = Linux(host).spawn()
        if permitted:
            process.request_permission(TILEDATA, guest=True)
        self.vcpu = Vcpu(process)
        self.guest = Guest(self.vcpu)
        self.image = b""

    def steps(self) -> dict[str, Callable[[Recorded], tuple[list[Any], str]]]:
        """The functions by operation."""
        return {
            "set_cpuid": self._set_cpuid,
            "set_xcr0": self._set_xcr0,
            "set_msr": self._set_msr,
            "set_xsave": self._set_xsave,
            "state": self._state,
            "g_xsetbv": self._xsetbv,
            "g_xgetbv": self._xgetbv,
            "g_wrmsr": self._wrmsr,
            "g_rdmsr": self._rdmsr,
            "g_ldtilecfg": self._amx,
            "g_tilerelease": self._amx,
            "g_tilezero": self._tilezero,
            "g_tileloadd": self._tileloadd,
            "g_vmovdqu64": self._vmovdqu64,
        }

    def _set_cpuid(self, step: Recorded) -> tuple[list[Any], str]:
        outcome = self.vcpu.set_cpuid(named_cpuid(self.vcpu.process, step[1]))
        if outcome.accepted:
            self.vcpu.cr4_osxsave = True
        return [step[1], outcome.code], outcome.because

    def _set_xcr0(self, step: Recorded) -> tuple[list[Any], str]:
        outcome = self.vcpu.set_xcrs((0, int(step[1], 16)))
        return [step[1], outcome.code], outcome.because

    def _set_msr(self, step: Recorded) -> tuple[list[Any], str]:
        outcome = self.vcpu.set_msr(int(step[1], 16), int(step[2], 16))
        return [step[1], step[2], int(outcome.accepted)], outcome.because

    def _set_xsave(self, step: Recorded) -> tuple[list[Any], str]:
        # The recorder's buffer has room for any state; what it never read is zero.
        image = (self.image or self.vcpu.user_image()).ljust(self.vcpu.uabi_size_bytes, b"\0")
        outcome = self.vcpu.set_xsave(with_xstate_bv(image, int(step[1], 16)))
        return [step[1], outcome.code], outcome.because

    def _state(self, _: Recorded) -> tuple[list[Any], str]:
        vcpu = self.vcpu
        outcome = vcpu.get_xsave2()
        self.image = outcome.image
        shown = vcpu.fpstate.registers(vcpu.host).within(vcpu.visible_bv)
        zmm0 = (shown.get(SSE)[:8], shown.get(AVX)[:8], shown.get(ZMM_HI256)[:8])
        return [
            outcome.code,
            f"{vcpu.xcr0:x}",
            f"{vcpu.xfd:x}",
            f"{vcpu.xfd_err:x}",
            f"{vcpu.visible_bv:x}",
            "".join(part[::-1].hex() for part in zmm0),
            shown.get(HI16_ZMM)[64:72][::-1].hex(),
            shown.get(TILECFG).hex(),
            f"{zlib.crc32(shown.get(TILEDATA)):08x}",
        ], outcome.because

    def _xsetbv(self, step: Recorded) -> tuple[list[Any], str]:
        outcome = self.guest.xsetbv(int(step[1], 16))
        return [step[1], outcome.result], outcome.because

    def _xgetbv(self, step: Recorded) -> tuple[list[Any], str]:
        outcome = self.guest.execute(lambda cpu: control.xgetbv(cpu, step[1]))
        return [step[1], outcome.result, f"{outcome.value:x}"], outcome.because

    def _wrmsr(self, step: Recorded) -> tuple[list[Any], str]:
        outcome = self.guest.wrmsr(int(step[1], 16), int(step[2], 16))
        return [step[1], step[2], outcome.result], outcome.because

    def _rdmsr(self, step: Recorded) -> tuple[list[Any], str]:
        """The value of a read that faulted means nothing."""
        outcome = self.guest.rdmsr(int(step[1], 16))
        value = f"{outcome.value:x}" if outcome.accepted else step[3]
        return [step[1], outcome.result, value], outcome.because

    def _amx(self, step: Recorded) -> tuple[list[Any], str]:
        outcome = self.guest.execute(tiles.ldtilecfg if step[0] == "g_ldtilecfg" else tiles.tilerelease)
        return [outcome.result], outcome.because

    def _tilezero(self, step: Recorded) -> tuple[list[Any], str]:
        outcome = self.guest.execute(lambda cpu: tiles.tilezero(cpu, step[1]))
        return [step[1], outcome.result], outcome.because

    def _tileloadd(self, step: Recorded) -> tuple[list[Any], str]:
        tile = bytes((step[2] + 3 * at) & 0xFF for at in range(1024))
        outcome = self.guest.execute(lambda cpu: tiles.tileloadd(cpu, step[1], tile))
        return [step[1], step[2], outcome.result], outcome.because

    def _vmovdqu64(self, step: Recorded) -> tuple[list[Any], str]:
        data = bytes((step[2] + at) & 0xFF for at in range(64))
        outcome = self.guest.execute(lambda cpu: vectors.vmovdqu64(cpu, step[1], data))
        return [step[1], step[2], outcome.result], outcome.because
