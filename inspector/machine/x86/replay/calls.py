"""Calls of a log, asked of the machine one after the other: what KVM would have answered on a host.

A call is asked where the log has its bytes and the machine has its rule. The state that an unasked call would have set
is not known, so what hangs on it may differ; what was asked stays sound.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from inspector.capture.calls import Call
from inspector.machine.outcome import Outcome, Rule
from inspector.machine.x86.kvm import sregs
from inspector.machine.x86.kvm.capabilities import check_extension
from inspector.machine.x86.kvm.guest_cpuid import Entry
from inspector.machine.x86.kvm.module import Kvm
from inspector.machine.x86.kvm.whole import VmConfig, WholeVcpu
from inspector.machine.x86.replay import events
from layouts.x86.capabilities import CAPABILITIES, Capability
from layouts.x86.kvm_counted import cpuid2_unpack

_API_VERSION = 12
_XCOMP_GUEST = "GUEST"
#: What bytes a call passes, by its name: made of what the log prints of a structure; None where that is not all.
Bytes = Callable[[Call], bytes | None]


class Compared(NamedTuple):
    """A call beside the machine's outcome; ``outcome`` is None where it was not asked, ``why`` then says why not.

    ``agrees`` is None where it was not asked.
    """

    call: Call
    outcome: Outcome | None
    why: str = ""
    agrees: bool | None = None


class Replay:
    """A VMM's process, its VMs and vCPUs by descriptor, to which the calls of a log happen."""

    def __init__(self, kvm: Kvm, bytes_of: Bytes, *, stands_in: bool = False) -> None:
        self.kvm = kvm
        self.bytes_of = bytes_of
        self.stands_in = stands_in
        self.untold = _UNTOLD | (_HOST_ONLY if stands_in else frozenset())
        self.process = kvm.process()
        self.vms: dict[int, set[int]] = {}
        self.vcpus: dict[int, WholeVcpu] = {}

    def compare(self, calls: Sequence[Call]) -> list[Compared]:
        """Every call with its outcome, in order."""
        return [self._compared(call) for call in calls]

    def _compared(self, call: Call) -> Compared:
        event = events.asked(self.kvm, call, stands_in=self.stands_in)
        if isinstance(event, str):
            return Compared(call, None, event)
        if event is not None:
            return Compared(call, event, agrees=event.accepted)
        ask = _ASKED.get(call.name)
        if ask is None:
            return Compared(call, None, "the machine has no rule for it here")
        outcome = ask(self, call)
        if isinstance(outcome, str):
            return Compared(call, None, outcome)
        return Compared(call, outcome, agrees=_agree(call, outcome))

    # Calls

    def _create_vm(self, call: Call) -> Outcome | str:
        kind = call.given if isinstance(call.given, int) else 0
        if kind:
            return "VMs of other types than 0 are not asked"
        if call.result is not None and not call.error:
            self.vms[call.result] = set()
        return Rule("kvm_dev_ioctl_create_vm (kvm_main.c)").ok()

    def _create_vcpu(self, call: Call) -> Outcome | str:
        there = self.vms.get(call.descriptor)
        if there is None or not isinstance(call.given, int):
            return _UNKNOWN
        rule = Rule("kvm_vm_ioctl_create_vcpu (kvm_main.c)")
        if not rule.check(f"no vCPU has the id {call.given} yet", call.given not in there):
            return rule.refuse(errno.EEXIST)
        there.add(call.given)
        if call.result is not None and not call.error:
            vcpu = WholeVcpu(self.kvm, vcpu_id=call.given)
            vcpu.process = self.process
            self.vcpus[call.result] = vcpu
        # From the first vCPU on, guest permission stays as it is (fpu_alloc_guest_fpstate, fpu/core.c).
        self.process.guest_perm_locked = True
        return rule.ok()

    def _check_extension(self, call: Call) -> Outcome | str:
        one = _capability(call.given)
        if one is None:
            return "a capability that the machine does not know"
        if one.rule in self.untold:
            return "it hangs on what the log does not tell of the host"
        vm = VmConfig() if call.descriptor in self.vms else None
        return Rule("kvm_vm_ioctl_check_extension (x86.c)").ok(check_extension(self.kvm, vm).get(one.number, 0))

    def _set_cpuid2(self, call: Call) -> Outcome | str:
        vcpu = self.vcpus.get(call.descriptor)
        image = self.bytes_of(call)
        if vcpu is None or image is None:
            return _UNKNOWN if vcpu is None else _NO_BYTES
        return vcpu.set_cpuid2(tuple(Entry(*row) for row in cpuid2_unpack(image)))

    def _set_sregs(self, call: Call) -> Outcome | str:
        vcpu = self.vcpus.get(call.descriptor)
        image = self.bytes_of(call)
        if vcpu is None or image is None:
            return _UNKNOWN if vcpu is None else _NO_BYTES
        return sregs.set_sregs(vcpu, image)

    def _registers(self, call: Call) -> Outcome | str:
        if call.descriptor not in self.vcpus:
            return _UNKNOWN
        return Rule("kvm_arch_vcpu_ioctl_get_regs, kvm_arch_vcpu_ioctl_set_regs (x86.c)").ok()

    def _api_version(self, _call: Call) -> Outcome | str:
        return Rule("kvm_dev_ioctl (kvm_main.c)").ok(_API_VERSION)

    def _permission(self, call: Call) -> Outcome | str:
        guest = _XCOMP_GUEST in call.name
        if call.name.startswith("ARCH_GET"):
            return self.process.get_permission(guest=guest)
        if not isinstance(call.given, int):
            return _NO_BYTES
        return self.process.request_permission(call.given, guest=guest)


#: Rules of capabilities that ask for what no CPUID tells, and for the host's own where a guest's table stands in.
_UNTOLD = frozenset({"cpus"})
_HOST_ONLY = frozenset({"XSAVE", "XSAVE size"})
_UNKNOWN = "the log does not show how its descriptor was made"
_NO_BYTES = "its bytes are not in the log"
_ASKED: Mapping[str, Callable[[Replay, Call], Outcome | str]] = {
    "KVM_GET_API_VERSION": Replay._api_version,
    "KVM_CREATE_VM": Replay._create_vm,
    "KVM_CREATE_VCPU": Replay._create_vcpu,
    "KVM_CHECK_EXTENSION": Replay._check_extension,
    "KVM_SET_CPUID2": Replay._set_cpuid2,
    "KVM_SET_SREGS": Replay._set_sregs,
    "KVM_GET_SREGS": Replay._registers,
    "KVM_SET_REGS": Replay._registers,
    "KVM_GET_REGS": Replay._registers,
    **{f"ARCH_{what}_XCOMP_{whose}PERM": Replay._permission for what in ("REQ", "GET") for whose in ("", "GUEST_")},
}
#: Calls whose number is the answer itself; of the others it is a descriptor, or 0.
_VALUED = ("KVM_CHECK_EXTENSION", "KVM_GET_API_VERSION")


def _agree(call: Call, outcome: Outcome) -> bool | None:
    if call.result is None:
        return None
    if call.error:
        return outcome.verdict == "errno" and outcome.name == call.error
    if call.name in _VALUED:
        return outcome.accepted and outcome.value == call.result
    return outcome.accepted


def _capability(given: object) -> Capability | None:
    """Of several rows of a number, by release, the last."""
    return next((one for one in reversed(CAPABILITIES) if given in (one.number, f"KVM_CAP_{one.name}")), None)
