"""Recorded guest instructions: XSETBV, WRMSR and RDMSR of XFD, AMX."""

from __future__ import annotations

from collections.abc import Iterator

from inspector.machine.outcome import EXECUTED, NM, Outcome
from inspector.machine.x86.cpu.instructions import control, tiles
from inspector.machine.x86.cpu.instructions.control import MSR_XFD, MSR_XFD_ERR
from inspector.machine.x86.cpu.processor import Processor
from inspector.machine.x86.kvm.guest import Guest
from inspector.machine.x86.replay.kvm import KvmReplay
from inspector.machine.x86.replay.process import Found, Kinds, Record

_TILE = 0
_NOT_RUN = -1


def _xinuse(cpu: Processor) -> Outcome:
    return control.xgetbv(cpu, 1)


def _tilezero(cpu: Processor) -> Outcome:
    return tiles.tilezero(cpu, _TILE)


class GuestReplay:
    """The guest of the vCPU that records are about."""

    def __init__(self, kvm: KvmReplay) -> None:
        self.kvm = kvm

    def kinds(self) -> Kinds:
        """The functions by kind of record."""
        return {
            "g_xsetbv": self._xsetbv,
            "g_xsetbv_idx1": self._xsetbv_other,
            "g_wrmsr": self._wrmsr,
            "g_amx": self._amx,
            "g_noosxsave": self._no_osxsave,
        }

    def _xsetbv(self, record: Record) -> Iterator[Found]:
        outcome = Guest(self.kvm.vcpu).xsetbv(int(record["val"], 16))
        expected = [record["res"], record["xcr0"]]
        yield expected, [outcome.result, f"{self.kvm.vcpu.xcr0:x}"], record["res"] == EXECUTED, outcome.because

    def _xsetbv_other(self, record: Record) -> Iterator[Found]:
        outcome = Guest(self.kvm.vcpu).xsetbv(1, 1)
        yield record["res"], outcome.result, record["res"] == EXECUTED, outcome.because

    def _wrmsr(self, record: Record) -> Iterator[Found]:
        guest = Guest(self.kvm.vcpu)
        yield _result(record["xsetbv"], guest.xsetbv(int(record["xcr0"], 16)))
        value = int(record["val"], 16)
        for index, name, read in ((MSR_XFD, "xfd", "rd"), (MSR_XFD_ERR, "xfd_err", "rd2")):
            yield _result(record[name], guest.wrmsr(index, value))
            yield _value(record[read], record[f"{name}_now"], guest.rdmsr(index))

    def _amx(self, record: Record) -> Iterator[Found]:
        """The recorder's order; XFD_ERR is cleared first."""
        vcpu = self.kvm.vcpu
        guest = Guest(vcpu)
        yield _result(record["xsetbv"], guest.xsetbv(int(record["xcr0"], 16)))
        yield _result(record["wrmsr"], guest.wrmsr(MSR_XFD, int(record["xfd"], 16)))
        guest.wrmsr(MSR_XFD_ERR, 0)
        yield _result(record["ldtilecfg"], guest.execute(tiles.ldtilecfg))
        yield _value(record["xgetbv1"], record["xinuse1"], guest.execute(_xinuse))
        used = guest.execute(_tilezero)
        yield _result(record["tilezero"], used)
        yield _value(record["xgetbv1"], record["xinuse2"], guest.execute(_xinuse))
        yield _value(record["rd_err"], record["xfd_err"], guest.rdmsr(MSR_XFD_ERR))
        expected = [record["host_xfd_err"], record["host_xfd"]]
        yield expected, [f"{vcpu.xfd_err:x}", f"{vcpu.xfd:x}"], True, "KVM_GET_MSRS"
        again = _NOT_RUN
        if used.code == NM:
            guest.wrmsr(MSR_XFD, 0)
            guest.wrmsr(MSR_XFD_ERR, 0)
            again = guest.execute(_tilezero).result
        yield record["tilezero_after_clear"], again, again == EXECUTED, "TILEZERO once XFD[18] is 0"
        yield _result(record["tilerelease"], guest.execute(tiles.tilerelease))
        yield _value(record["xgetbv1"], record["xinuse3"], guest.execute(_xinuse))

    def _no_osxsave(self, record: Record) -> Iterator[Found]:
        vcpu = self.kvm.vcpu
        guest = Guest(vcpu)
        vcpu.cr4_osxsave = False
        yield _result(record["xgetbv"], guest.execute(lambda cpu: control.xgetbv(cpu, 0)))
        yield _result(record["xsetbv"], guest.xsetbv(1))
        yield _result(record["tilezero"], guest.execute(_tilezero))
        vcpu.cr4_osxsave = True


def _result(expected: int, outcome: Outcome) -> Found:
    return expected, outcome.result, expected == EXECUTED, outcome.because


def _value(expected: int, value: str, outcome: Outcome) -> Found:
    """A read: its result, and its value where it executed on both sides."""
    if expected != EXECUTED or not outcome.accepted:
        return expected, outcome.result, expected == EXECUTED, outcome.because
    return [expected, value], [outcome.result, f"{outcome.value:x}"], True, outcome.because
