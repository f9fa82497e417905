"""What a kernel upgrade alone changes for guests of one arm64 CPU: registers, fields, masks, errnos, capabilities.

Nothing is looked up: a host with that CPU is made for each kernel, and a guest with everything that it has is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from inspector.machine.arm64.bare import from_bare
from inspector.machine.arm64.capabilities import check_extension
from inspector.machine.arm64.held import is_clock
from inspector.machine.arm64.host import PMU_V3, POWER_OFF, PSCI_0_2, PTRAUTH, SVE, Host
from inspector.machine.arm64.sve import FINALIZE
from inspector.machine.arm64.vcpu import Vcpu
from inspector.machine.arm64.vm import CAP_MTE, CAP_WRITABLE_IMP_ID_REGS, Vm
from layouts.arm64.capabilities import CAPABILITIES
from layouts.arm64.hosts import BareHost
from layouts.arm64.ids import CLIDR, FEATURE_IDS, MIDR, MPIDR, PFR0, PSCI_VERSION, SYSREG, RegisterId, sysreg_id
from layouts.arm64.kernels import Arm64Kernel
from layouts.arm64.kvm_ids import explain
from layouts.arm64.properties import field_places

#: What a guest asks for that wants all: no 32-bit EL1, no EL2.
_ALL = PSCI_0_2 | PMU_V3 | SVE | PTRAUTH
_FEATURE_BITS = 16


class Change(NamedTuple):
    """One thing that is otherwise; empty where it is not there. ``group`` is a kind of thing."""

    group: str
    name: str
    before: str
    after: str


class _Asked(NamedTuple):
    """A host, and a guest on it with everything that it has."""

    host: Host
    vm: Vm
    vcpu: Vcpu


def changes(cpus: Sequence[BareHost], older: Arm64Kernel, newer: Arm64Kernel) -> tuple[Change, ...]:
    """What guests on these CPUs have otherwise under the newer kernel."""
    before, after = (_asked(from_bare(kernel, cpus)) for kernel in (older, newer))
    found: list[Change] = []
    for group, values in _GROUPS.items():
        old, new = values(before), values(after)
        names = [*new, *(name for name in old if name not in new)]
        found += [
            Change(group, name, old.get(name, ""), new.get(name, ""))
            for name in names
            if old.get(name) != new.get(name)
        ]
    return tuple(found)


def _asked(host: Host) -> _Asked:
    vm = Vm(host)
    vm.create_vcpu(0)
    vcpu = vm.vcpus[0]
    vcpu.init(_ALL & host.features)
    vcpu.finalize(FINALIZE)
    return _Asked(host, vm, vcpu)


def _fields(asked: _Asked) -> dict[str, str]:
    """The fields of ID registers that a fresh guest reads, those that are not 0."""
    found = {}
    for (register, field), place in field_places().items():
        value = place.get(asked.vcpu.get(sysreg_id(place.encoding)).value)
        if value:
            found[f"{register}.{field}"] = f"{value:#x}"
    return found


def _writable(asked: _Asked) -> dict[str, str]:
    """The bits of each ID register that user space may write."""
    found = {}
    for encoding, register in asked.host.kernel.registers.items():
        mask = asked.host.mask(encoding)
        if mask and asked.host.kernel.checks_features:
            found[register.name] = f"{mask:#x}"
    return found


def _listed(asked: _Asked) -> dict[str, str]:
    """KVM_GET_REG_LIST."""
    return {f"{explain(register_id).path} ({register_id:#x})": "listed" for register_id in _ids(asked)}


def _ids(asked: _Asked) -> list[RegisterId]:
    image = asked.vcpu.reg_list().image
    return [RegisterId(int.from_bytes(image[at : at + 8], "little")) for at in range(0, len(image), 8)]


def _values(asked: _Asked) -> dict[str, str]:
    """What reset leaves in other registers."""
    others = [rid for rid in _ids(asked) if rid.coprocessor == SYSREG and rid.encoding not in FEATURE_IDS]
    return {explain(rid).path: f"{asked.vcpu.get(rid).value:#x}" for rid in others if not is_clock(rid.encoding)}


def _capabilities(asked: _Asked) -> dict[str, str]:
    found = {}
    for capability in CAPABILITIES:
        value = check_extension(asked.host, capability.number, of_vm=True)
        if value > 0:
            found[f"KVM_CAP_{capability.name}"] = f"{value:#x}"
    return found


def _features(asked: _Asked) -> dict[str, str]:
    """KVM_ARM_VCPU_INIT of each feature alone."""
    found = {}
    for bit in range(_FEATURE_BITS):
        vcpu = _fresh(asked.host)
        both = PTRAUTH if 1 << bit & PTRAUTH else 1 << bit
        found[f"feature bit {bit}"] = vcpu.init(both & ~POWER_OFF).name
    return found


def _fresh(host: Host, *, imp: bool = False) -> Vcpu:
    vm = Vm(host)
    if imp:
        vm.enable_cap(CAP_WRITABLE_IMP_ID_REGS)
    vm.create_vcpu(0)
    return vm.vcpus[0]


def _put(vcpu: Vcpu, encoding: int, change: int) -> str:
    register_id = sysreg_id(encoding)
    value = vcpu.get(register_id).value ^ change
    return vcpu.set(register_id, value.to_bytes(8, "little")).name


def _after_run(host: Host, change: int) -> str:
    vcpu = _fresh(host)
    vcpu.init(PSCI_0_2)
    vcpu.run()
    return _put(vcpu, PFR0, change)


def _second(host: Host) -> str:
    vm = Vm(host)
    vm.create_vcpu(0)
    vm.vcpus[0].init(PSCI_0_2)
    vm.create_vcpu(1)
    return vm.vcpus[1].init(POWER_OFF).name


def _on_fresh(host: Host, encoding: int, change: int, *, imp: bool = False) -> str:
    vcpu = _fresh(host, imp=imp)
    vcpu.init(PSCI_0_2)
    return _put(vcpu, encoding, change)


def _run_with_pmu(host: Host) -> str:
    vcpu = _fresh(host)
    vcpu.init(PSCI_0_2 | PMU_V3)
    return vcpu.run().name


def _psci(host: Host, version: int) -> str:
    vcpu = _fresh(host)
    vcpu.init(PSCI_0_2)
    return vcpu.set(PSCI_VERSION, version.to_bytes(8, "little")).name


#: Calls that a VMM makes, and what each asks of a fresh guest.
_CALLS: dict[str, Callable[[Host], str]] = {
    "KVM_ENABLE_CAP ARM_MTE": lambda host: Vm(host).enable_cap(CAP_MTE).name,
    "KVM_ENABLE_CAP ARM_WRITABLE_IMP_ID_REGS": lambda host: Vm(host).enable_cap(CAP_WRITABLE_IMP_ID_REGS).name,
    "KVM_ARM_GET_REG_WRITABLE_MASKS": lambda host: Vm(host).writable_masks().name,
    "KVM_ARM_VCPU_INIT of a second vCPU with other features": _second,
    "KVM_RUN of a vCPU whose PMU is not initialized": _run_with_pmu,
    "KVM_SET_ONE_REG MPIDR_EL1, another value": lambda host: _on_fresh(host, MPIDR, 1),
    "KVM_SET_ONE_REG MIDR_EL1, another value": lambda host: _on_fresh(host, MIDR, 1),
    "the same with ARM_WRITABLE_IMP_ID_REGS": lambda host: _on_fresh(host, MIDR, 1, imp=True),
    "KVM_SET_ONE_REG CLIDR_EL1, another value": lambda host: _on_fresh(host, CLIDR, 1 << 22),
    "KVM_SET_ONE_REG ID_AA64PFR0_EL1, EL0 is 0": lambda host: _on_fresh(host, PFR0, host.limit(PFR0, 0) & 0xF),
    "KVM_SET_ONE_REG ID_AA64PFR0_EL1 after KVM_RUN, the same value": lambda host: _after_run(host, 0),
    "KVM_SET_ONE_REG ID_AA64PFR0_EL1 after KVM_RUN, another value": lambda host: _after_run(host, 1),
    "KVM_SET_ONE_REG KVM_REG_ARM_PSCI_VERSION 1.1": lambda host: _psci(host, 0x1_0001),
    "KVM_SET_ONE_REG KVM_REG_ARM_PSCI_VERSION 1.3": lambda host: _psci(host, 0x1_0003),
}


def _calls(asked: _Asked) -> dict[str, str]:
    return {name: call(asked.host) for name, call in _CALLS.items()}


_GROUPS: dict[str, Callable[[_Asked], dict[str, str]]] = {
    "field": _fields,
    "writable": _writable,
    "register": _listed,
    "value": _values,
    "feature": _features,
    "capability": _capabilities,
    "call": _calls,
}
#: The groups in words.
TITLES = {
    "field": "fields of ID registers that guests read",
    "writable": "bits of ID registers that user space may write (KVM_ARM_GET_REG_WRITABLE_MASKS)",
    "register": "KVM_GET_REG_LIST",
    "value": "other registers after KVM_ARM_VCPU_INIT",
    "feature": "KVM_ARM_VCPU_INIT",
    "capability": "KVM_CHECK_EXTENSION of a VM",
    "call": "what calls answer",
}


def by_group(found: Sequence[Change]) -> Iterator[tuple[str, list[Change]]]:
    """The changes of each group that has any, with the group's title."""
    for group, title in TITLES.items():
        of_group = [change for change in found if change.group == group]
        if of_group:
            yield title, of_group
