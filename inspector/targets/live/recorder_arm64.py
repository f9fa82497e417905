"""What this machine's KVM/arm64 answers, in the first form of records that ``inspector verify`` replays.

The kinds are those of docs/arm64-machine.md, but for those that need a guest to run. Every question has a fresh vCPU
unless it says otherwise; of a sweep, the value that was there is written again after each one that is taken.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from inspector.machine.arm64.host import PSCI_0_2, SVE
from inspector.machine.arm64.live import LiveKvm, LiveVcpu
from inspector.machine.arm64.replay.hosts import CONFIGURATIONS
from inspector.machine.arm64.sve import FINALIZE, VLS_SIZE_BYTES
from inspector.machine.outcome import Outcome
from layouts.arm64.capabilities import CAPABILITIES
from layouts.arm64.ids import (
    AIDR,
    CLIDR,
    CTR,
    IDS,
    MIDR,
    REVIDR,
    SVE_FFR,
    SVE_P0,
    SVE_STEP,
    SVE_VLS,
    SVE_Z0,
    UNKNOWN_IDS,
    UNKNOWN_SVE_IDS,
    op_of_encoding,
    sysreg_id,
)

Record = dict[str, Any]

#: Configurations that are swept; that of EL2 has no records of ID registers.
SWEPT = ("base", "imp", "pmu", "sve", "pauth")
#: What ``imp`` sweeps: the registers that KVM_CAP_ARM_WRITABLE_IMP_ID_REGS is for, and those beside them.
_IMPLEMENTATION = frozenset((MIDR, REVIDR, AIDR))
_OTHERS = (CLIDR, AIDR, CTR)
_FEATURE_BITS = 12
_VLS_SUBSETS = 1 << 16
_RULED = frozenset(("cpus",))


def recorded(kvm: LiveKvm, configurations: Sequence[str] = ()) -> Iterator[Record]:
    """Every record. Raises OSError where no vCPU can be made."""
    system = os.uname()
    yield {"t": "uname", "release": system.release, "version": system.version}
    has_sve = kvm.supports(PSCI_0_2 | SVE)
    there = [name for name in configurations or SWEPT if _init(kvm, name)[0] == 0]
    yield from _of_vm(kvm)
    for name in ("base", "sve") if has_sve else ("base",):
        yield from _registers(kvm, name)
    yield from _bad_ids(kvm, "badid", PSCI_0_2, UNKNOWN_IDS)
    yield {"t": "finalize_nosve", "err": LiveVcpu(kvm, PSCI_0_2).finalize(FINALIZE).code}
    if has_sve:
        yield from _vectors(kvm)
    for name in there:
        yield from _id_registers(kvm, name)
    yield from _identity(kvm)


def _init(kvm: LiveKvm, name: str) -> tuple[int, LiveVcpu]:
    """The errno of KVM_ARM_VCPU_INIT in a configuration, and the vCPU."""
    vcpu = LiveVcpu(kvm, CONFIGURATIONS[name], writable_imp=name == "imp")
    return next((step.outcome.code for step in vcpu.steps if not step.outcome.accepted), 0), vcpu


def _of_vm(kvm: LiveKvm) -> Iterator[Record]:
    """Capabilities, writable masks, the features that a vCPU takes."""
    vm = LiveVcpu(kvm, PSCI_0_2).vm
    for capability in CAPABILITIES:
        if capability.rule not in _RULED:
            yield {"t": "cap", "n": capability.number, "vm": kvm.extension(capability.number, vm)}
    code, masks = kvm.asked_masks()
    yield {"t": "masks", "err": code}
    for encoding, mask in masks.items():
        yield {"t": "mask", "reg": _text(encoding), "mask": f"{mask:016x}"}
    wrong = [kvm.asked_masks(range_number=1)[0], kvm.asked_masks(reserved=1)[0]]
    yield {"t": "maskbad", "range1": wrong[0], "reserved1": wrong[1]}
    for bit in range(_FEATURE_BITS):
        yield {"t": "feat", "bit": bit, "err": LiveVcpu(kvm, PSCI_0_2 | 1 << bit).steps[-1].outcome.code}
    yield {"t": "feat", "bits": "5+6", "err": LiveVcpu(kvm, CONFIGURATIONS["pauth"]).steps[-1].outcome.code}
    steps = LiveVcpu(kvm, PSCI_0_2, writable_imp=True).steps
    yield {"t": "impcap", "errno": steps[0].outcome.code}


def _registers(kvm: LiveKvm, name: str) -> Iterator[Record]:
    """KVM_GET_REG_LIST, and every register as a fresh vCPU has it."""
    vcpu = _init(kvm, name)[1]
    if CONFIGURATIONS[name] & SVE:
        vcpu.finalize(FINALIZE)
    listed = vcpu.reg_list()
    yield {"t": "reglist", "cfg": name, "err": listed.code, "n": len(listed.image) // 8}
    for register_id in vcpu.register_ids():
        got = vcpu.get(register_id)
        yield {"t": "reg", "cfg": name, "id": f"{register_id:x}", "err": got.code, "le": got.image.hex()}


def _bad_ids(kvm: LiveKvm, kind: str, features: int, ids: Sequence[int]) -> Iterator[Record]:
    """Ids that are none, or no register's size: what reading and writing give."""
    vcpu = LiveVcpu(kvm, features)
    if features & SVE:
        vcpu.finalize(FINALIZE)
    for register_id in ids:
        got = vcpu.get(register_id)
        put = vcpu.set(register_id, got.image if got.accepted else bytes(256))
        yield {"t": kind, "id": f"{register_id:x}", "get": got.code, "set": put.code}


def _sve(kvm: LiveKvm) -> LiveVcpu:
    return LiveVcpu(kvm, PSCI_0_2 | SVE)


def _set_vls(vcpu: LiveVcpu, vqs: int) -> int:
    return vcpu.set(SVE_VLS, vqs.to_bytes(VLS_SIZE_BYTES, "little")).code


def _vectors(kvm: LiveKvm) -> Iterator[Record]:
    """Vector lengths: every set of the 16 that there can be; registers before and after they are chosen."""
    vcpu = _sve(kvm)
    first = [vcpu.get(SVE_Z0).code, vcpu.set(SVE_Z0, bytes(256)).code, vcpu.reg_list().code]
    yield {"t": "sve_prefin", "get_z0": first[0], "set_z0": first[1], "list_err": first[2]}
    got = vcpu.get(SVE_VLS)
    host = _value(got)
    yield {"t": "vls", "when": "default", "err": got.code, "vqs": f"{host:x}"}
    answers: dict[int, int] = {}
    for vqs in range(_VLS_SUBSETS):
        code = _set_vls(vcpu, vqs)
        answers[code] = answers.get(code, 0) + 1
        if not code:
            yield {"t": "vls_ok", "vqs": f"{vqs:x}"}
    for code, count in answers.items():
        yield {"t": "vls_hist", "err": code, "n": count}
    yield {"t": "vls_vq17", "err": _set_vls(_sve(kvm), 1 << 16 | host), "vq512": _set_vls(_sve(kvm), 1 << 511 | host)}
    vcpu = _sve(kvm)
    codes = [_set_vls(vcpu, host), vcpu.finalize(FINALIZE).code, vcpu.finalize(FINALIZE).code, _set_vls(vcpu, host)]
    named = dict(zip(("err", "finalize", "again", "set_after"), codes, strict=True))
    got = vcpu.get(SVE_VLS)
    yield {"t": "vls_set_def", **named, "get_after": got.code, "vqs": f"{_value(got):x}"}
    yield from _slices(kvm)
    yield from _bad_ids(kvm, "sveid", PSCI_0_2 | SVE, UNKNOWN_SVE_IDS)
    yield from _longest(kvm, host)


def _slices(kvm: LiveKvm) -> Iterator[Record]:
    """What reads back of Z5, P3 and FFR, written in full."""
    for kind, register_id, data in (
        ("z5rw", SVE_Z0 + 5 * SVE_STEP, bytes(range(256))),
        ("p3rw", SVE_P0 + 3 * SVE_STEP, bytes(range(0xA0, 0xC0))),
        ("ffrrw", SVE_FFR, b"\xff" * 32),
    ):
        vcpu = _sve(kvm)
        vcpu.finalize(FINALIZE)
        put, got = vcpu.set(register_id, data), vcpu.get(register_id)
        yield {"t": kind, "set": put.code, "get": got.code, "le": got.image.hex()}


def _longest(kvm: LiveKvm, host: int) -> Iterator[Record]:
    """The host's lengths up to each, and how much of Z0 there is then."""
    for vq in range(1, 17):
        vcpu = _sve(kvm)
        record: Record = {"t": "vlmax", "vq": vq, "set": _set_vls(vcpu, host & ((1 << vq) - 1))}
        if not record["set"]:
            vcpu.finalize(FINALIZE)
            vcpu.set(SVE_Z0, b"\x5a" * 256)
            record["z0"] = vcpu.get(SVE_Z0).image.hex()
        yield record


def _id_registers(kvm: LiveKvm, name: str) -> Iterator[Record]:
    """Of each ID register, each of its 16 digits with each value."""
    vcpu = _init(kvm, name)[1]
    for encoding in (*IDS, *_OTHERS):
        if name == "imp" and encoding not in _IMPLEMENTATION:
            continue
        register_id = sysreg_id(encoding)
        got = vcpu.get(register_id)
        if not got.accepted:
            continue
        host = _value(got)
        digits = [[_written(vcpu, register_id, host, nibble, digit) for digit in range(16)] for nibble in range(16)]
        yield {"t": "idreg", "cfg": name, "reg": _text(encoding), "host": f"{host:016x}", "nib": digits}


def _written(vcpu: LiveVcpu, register_id: int, before: int, nibble: int, digit: int) -> int | str:
    """0 where a value is taken and reads back, else what reads back, or the errno."""
    shift = 4 * nibble
    value = before & ~(0xF << shift) | digit << shift
    put = vcpu.set(register_id, value.to_bytes(8, "little"))
    if not put.accepted:
        return put.code
    after = _value(vcpu.get(register_id))
    if after != before:
        vcpu.set(register_id, before.to_bytes(8, "little"))
    return 0 if after == value else f"{after:016x}"


def _identity(kvm: LiveKvm) -> Iterator[Record]:
    """MIDR_EL1 written again and otherwise."""
    vcpu = LiveVcpu(kvm, PSCI_0_2)
    got = vcpu.get(sysreg_id(MIDR))
    midr = _value(got)
    record: Record = {"t": "midr", "get": got.code, "v": f"{midr:x}"}
    for key, value in (("setsame", midr), ("setdiff", midr ^ 1)):
        record[key] = vcpu.set(sysreg_id(MIDR), value.to_bytes(8, "little")).code
    yield record


def _value(outcome: Outcome) -> int:
    return int.from_bytes(outcome.image, "little")


def _text(encoding: int) -> str:
    return "_".join(map(str, op_of_encoding(encoding)))
