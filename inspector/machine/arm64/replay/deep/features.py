"""vCPU features and writable masks in a deep recording."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator

from inspector.machine.arm64.capabilities import check_extension
from inspector.machine.arm64.host import PMU_V3, PSCI_0_2, SVE
from inspector.machine.arm64.init import GENERIC_V8
from inspector.machine.arm64.replay.deep.count import Count, Counted, Record, letter
from inspector.machine.arm64.replay.deep.state import State
from inspector.machine.arm64.vm import CAP_MTE, CAP_WRITABLE_IMP_ID_REGS, Vm
from layouts.arm64.hosts import encoding_of_text

_BAD_BIT, _WORD_3 = 1 << 30, 1 << 96
_MASKS = [f"3_{op1}_0_{crm}_{op2}" for op1 in (0, 1, 3) for crm in range(8) for op2 in range(8)]
_EXTENSIONS = 300


def _pref(state: State, record: Record) -> Iterator[Counted]:
    count = Count(record)
    generic = state.host.kernel.vm_wide_features
    count.one(record["t"], GENERIC_V8 if generic else state.host.target, accepted=True)
    return count.done()


def _inittgt(state: State, record: Record) -> Iterator[Counted]:
    vcpu, count = state.vcpu(), Count(record)
    count.call(record["badbit30"], vcpu.init(_BAD_BIT, record["target"]), "bit 30")
    count.call(record["word3"], vcpu.init(PSCI_0_2 | _WORD_3, record["target"]), "word 3")
    return count.done()


def _fresh(state: State) -> None:
    state.renew()
    state.vm.create_vcpu(0)


def _initbit(state: State, record: Record) -> Iterator[Counted]:
    count = Count(record)
    outcome = state.vcpu().init(1 << record["bit"])
    count.call(record["e"], outcome)
    if not record["e"]:
        _fresh(state)
    return count.done()


def _initmx(state: State, record: Record) -> Iterator[Counted]:
    """Every feature word, on a fresh vCPU after each success."""
    count = Count(record)
    _fresh(state)

    def ask(features: int) -> tuple[str, str]:
        outcome = state.vcpu().init(features)
        if outcome.accepted:
            _fresh(state)
        return letter(outcome.code), outcome.because

    count.row(record["r"], ask, "features")
    return count.done()


def _masks(state: State, record: Record) -> Iterator[Counted]:
    """All 192 entries; those that the record leaves out are 0."""
    count = Count(record)
    _fresh(state)
    outcome = state.vm.writable_masks()
    count.call(record["e"], outcome)
    if not record["e"]:
        for name in _MASKS:
            mask = state.host.mask(encoding_of_text(name))
            count.one(record["m"].get(name, f"{0:016x}"), f"{mask:016x}", accepted=True, where=name)
        count.one(record["guard"], 1, accepted=True, where="guard")
    return count.done()


def _maskerr(state: State, record: Record) -> Iterator[Counted]:
    count = Count(record)
    if "on" in record:
        because = "neither /dev/kvm nor a vCPU has this ioctl"
        count.one(record["e"], errno.EINVAL, accepted=not record["e"], because=because)
    else:
        reserved = 1 if "reserved" in record else 0
        outcome = state.vm.writable_masks(
            range_number=record.get("range", 0), reserved=reserved, readable="addr" not in record
        )
        count.call(record["e"], outcome)
    return count.done()


def _masks_same(state: State, record: Record) -> Iterator[Counted]:
    """The masks of a VM with capabilities and vCPU features are those of one without."""
    count = Count(record)
    vm = Vm(state.host)
    caps = {1: CAP_MTE, 2: CAP_WRITABLE_IMP_ID_REGS}
    for flag, name in ((1, "c205"), (2, "c239")):
        if record["fl"] & flag:
            count.call(record[name], vm.enable_cap(caps[flag]), name)
    vm.create_vcpu(0)
    features = PSCI_0_2 | state.host.features & (SVE | PMU_V3)
    count.call(record["init"], vm.vcpus[0].init(features), "init")
    count.call(record["e"], vm.writable_masks())
    if not record["e"]:
        count.one(record["same"], 1, accepted=True)
    return count.done()


def _caps(state: State, record: Record) -> Iterator[Counted]:
    """KVM_CHECK_EXTENSION of 300 numbers, of a VM and of /dev/kvm; what the record leaves out is 0."""
    count = Count(record, "op")
    for name, of_vm in (("vm", True), ("sys", False)):
        for number in range(_EXTENSIONS):
            predicted = check_extension(state.host, number, of_vm=of_vm, online_cpus=state.online_cpus)
            expected = record[name].get(str(number), 0)
            count.one(expected, predicted, accepted=expected > 0, where=f"{name} {number}")
    return count.done()


KINDS: dict[str, Callable[[State, Record], Iterator[Counted]]] = {
    "pref": _pref,
    "inittgt": _inittgt,
    "initbit": _initbit,
    "initmx": _initmx,
    "masks": _masks,
    "maskerr": _maskerr,
    "masks_same": _masks_same,
    "caps": _caps,
}
