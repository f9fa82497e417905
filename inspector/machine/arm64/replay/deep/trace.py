"""The trace of a deep recording: VMs, vCPUs, capabilities, registers one by one, runs."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator

from inspector.machine.answer import NotAsked, RecordError
from inspector.machine.arm64 import memory, sve, vgic
from inspector.machine.arm64.arch import Slot
from inspector.machine.arm64.host import SVE
from inspector.machine.arm64.replay import causes
from inspector.machine.arm64.replay.deep import programs
from inspector.machine.arm64.replay.deep.count import Count, Counted, Record, told
from inspector.machine.arm64.replay.deep.state import State
from inspector.machine.arm64.vcpu import MMIO, Vcpu
from inspector.machine.arm64.vm import CAP_MTE, CAP_WRITABLE_IMP_ID_REGS
from inspector.machine.outcome import Check, Outcome
from layouts.arm64.ids import PC, PSTATE, X0

#: Records with which a fresh VM begins.
FRESH = frozenset(("vm", "mk"))
_MTE, _IMP, _NOT_FINAL = 1, 2, 4
#: The recorder's memory: slot 0 of each VM.
_MEMORY = Slot(0x0100_0000, 0x2_0000)
#: The recorder's guests: MOVZ X0, a device's address; a store there; a branch to itself. ``mmio`` is that alone.
_STORE = {"mmio": 4, "mmio_nopmuinit": 4, "nv_nogic": 4}
_LINK = 30
#: What programs change whose instructions the machine is not told.
_TOUCHED = frozenset((*range(X0, X0 + 2 * _LINK + 2, 2), PC, PSTATE))


def _vm(state: State, record: Record) -> Iterator[Counted]:
    count = Count(record)
    state.renew()
    count.one(record["e"], 0, accepted=not record["e"])
    return count.done()


def _cap(state: State, record: Record) -> Iterator[Counted]:
    count = Count(record)
    count.call(record["e"], state.vm.enable_cap(record["cap"]))
    return count.done()


def _vcpu(state: State, record: Record) -> Iterator[Counted]:
    count = Count(record)
    count.call(record["e"], state.vm.create_vcpu(record["i"]))
    if not record["e"]:
        _keep(state, record["i"])
    return count.done()


def _keep(state: State, number: int) -> None:
    """The recording goes on with a vCPU that the kernel made, whatever the machine said."""
    state.vm.vcpus.setdefault(number, Vcpu(state.vm, number))


def _of(state: State, number: int, call: Callable[[Vcpu], Outcome]) -> Outcome:
    """A call on a vCPU; where creating it failed, the recorder has no file to call (EBADF)."""
    vcpu = state.vm.vcpus.get(number)
    if vcpu is not None:
        return call(vcpu)
    return Outcome("errno", errno.EBADF, (Check("the vCPU was created", held=False),), "KVM_CREATE_VCPU")


def _unknown(state: State, number: int, register_id: int) -> str:
    vcpu = state.vm.vcpus.get(number)
    return "" if vcpu is None else causes.of(vcpu, register_id)


def _init(state: State, record: Record) -> Iterator[Counted]:
    count = Count(record)
    count.call(record["e"], _of(state, record["i"], lambda vcpu: vcpu.init(record["f"])))
    state.guest = set()
    return count.done()


def _fin(state: State, record: Record) -> Iterator[Counted]:
    count = Count(record)
    count.call(record["e"], _of(state, record["i"], lambda vcpu: vcpu.finalize(record["f"])))
    return count.done()


def make(state: State, features: int, flags: int = 0) -> tuple[Outcome, int]:
    """A VM with capabilities, one vCPU, initialized and finalized: the first call that fails, and which it is."""
    state.renew()
    vm = state.vm
    if flags & _MTE and not (outcome := vm.enable_cap(CAP_MTE)).accepted:
        return outcome, 1
    if flags & _IMP and not (outcome := vm.enable_cap(CAP_WRITABLE_IMP_ID_REGS)).accepted:
        return outcome, 2
    if not (outcome := vm.create_vcpu(0)).accepted:
        return outcome, 3
    if not (outcome := vm.vcpus[0].init(features)).accepted:
        return outcome, 4
    if features & SVE and not flags & _NOT_FINAL and not (outcome := vm.vcpus[0].finalize(sve.FINALIZE)).accepted:
        return outcome, 5
    return outcome, 0


def _mk(state: State, record: Record) -> Iterator[Counted]:
    count = Count(record)
    outcome, at = make(state, record["f"], record["fl"])
    expected = [record["e"], record["at"]]
    count.one(expected, [outcome.code, at], accepted=not record["e"], because=outcome.because)
    if not record["e"]:
        _keep(state, 0)
    return count.done()


def _get(state: State, record: Record) -> Iterator[Counted]:
    register_id, number = int(record["id"], 16), record["i"]
    value = "" if record["e"] else told(record, "v")
    if value:
        state.shown.setdefault(register_id, int.from_bytes(bytes.fromhex(value), "little"))
    because = "" if record["e"] else _unknown(state, number, register_id)
    if because:
        yield NotAsked("get", because, 1)
        return
    if register_id in state.guest:
        yield NotAsked("get", causes.GUEST_CODE, 1)
        return
    outcome = _of(state, number, lambda vcpu: vcpu.get(register_id))
    count = Count(record)
    if record["e"]:
        count.call(record["e"], outcome)
    else:
        found = outcome.image.hex() if outcome.accepted else outcome.name
        count.one(value, found, accepted=True, because=outcome.because)
    yield from count.done()


def _set(state: State, record: Record) -> Iterator[Counted]:
    register_id, number = int(record["id"], 16), record["i"]
    data = bytes.fromhex(record["v"])
    if not number:
        state.written.setdefault(register_id, int.from_bytes(data, "little"))
    outcome = _of(state, number, lambda vcpu: vcpu.set(register_id, data))
    if outcome.accepted:
        state.guest.discard(register_id)
    count = Count(record)
    count.call(record["e"], outcome)
    return count.done()


def _run(state: State, record: Record) -> Iterator[Counted]:
    vcpu, guest = state.vcpu(record["i"]), record["guest"]
    pending = vcpu.mmio_pending
    start = int.from_bytes(vcpu.values.get(PC, bytes(8)), "little")
    outcome = vcpu.run()
    state.has_run = state.has_run or not record["e"]
    predicted = [outcome.code, MMIO if outcome.accepted else -1]
    if outcome.accepted and guest in _STORE:
        if pending and vcpu.values[PC] == (start + 4).to_bytes(8, "little") and start & 0xFFF == _STORE[guest]:
            # The store was completed; what follows it branches to itself until the recorder's alarm.
            vcpu.mmio_pending = False
            predicted = [errno.EINTR, -1]
        else:
            programs.put_x(vcpu, 0, programs.DEVICE)
            vcpu.values[PC] = (start + _STORE[guest]).to_bytes(8, "little")
    elif outcome.accepted and guest == "sve":
        wrong = programs.sve(vcpu)
        predicted = predicted if wrong is None else [wrong.code, -1]
        outcome = wrong or outcome
    elif not record["e"]:
        state.guest |= _TOUCHED
    count = Count(record)
    expected = [record["e"], record.get("exit", -1)]
    count.one(expected, predicted, accepted=not record["e"], because=outcome.because)
    return count.done()


def _gicdev(state: State, record: Record) -> Iterator[Counted]:
    outcome = vgic.create(state.vm, record["type"])
    count = Count(record)
    count.call(record["e"], outcome)
    if "dist" in record:
        count.one(
            [told(record, name) for name in ("dist", "redist", "init")],
            _attributes(state, record["type"]) if outcome.accepted else [-1, -1, -1],
            accepted=not record["e"],
        )
    state.device = record["type"] if outcome.accepted else 0
    return count.done()


def _attributes(state: State, device: int) -> list[int]:
    """The two addresses, and KVM_DEV_ARM_VGIC_CTRL_INIT; an ITS has no such addresses."""
    if not vgic.DEVICES[device]:
        return [errno.ENODEV, errno.ENODEV, 0]
    state.vm.vgic_has_addresses = state.vm.vgic_initialized = True
    return [0, 0, 0]


def _gicinit(state: State, record: Record) -> Iterator[Counted]:
    if not state.device:
        raise RecordError("an interrupt controller is set up that was not made")
    count = Count(record)
    expected = [record["dist"], record["redist"], record["init"]]
    count.one(expected, _attributes(state, state.device), accepted=not any(expected))
    return count.done()


def _pmuinit(state: State, record: Record) -> Iterator[Counted]:
    vcpu = state.vcpu(record["i"])
    count = Count(record)
    irq = vcpu.set_pmu_irq()
    if "irq" in record:
        count.call(record["irq"], irq, "irq")
    count.call(record["e"], vcpu.init_pmu())
    return count.done()


def _mem(state: State, record: Record) -> Iterator[Counted]:
    count = Count(record)
    count.call(record["e"], memory.set_slot(state.vm, 0, _MEMORY))
    return count.done()


KINDS: dict[str, Callable[[State, Record], Iterator[Counted]]] = {
    "vm": _vm,
    "cap": _cap,
    "vcpu": _vcpu,
    "init": _init,
    "fin": _fin,
    "mk": _mk,
    "get": _get,
    "set": _set,
    "run": _run,
    "gicdev": _gicdev,
    "gicinit": _gicinit,
    "pmuinit": _pmuinit,
    "mem": _mem,
}
