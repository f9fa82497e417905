"""Events as words: what ``inspector sim`` and scenarios let happen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from inspector.capture.errors import UsageError
from inspector.machine.outcome import Outcome, Rule
from inspector.machine.x86.guest import Guest
from inspector.machine.x86.host import XTILE
from inspector.machine.x86.kvm import MSR_XFD, MSR_XFD_ERR, MSR_XSS, Vcpu, supported_cpuid, xsave2_capability
from inspector.machine.x86.registers import with_xstate_bv

if TYPE_CHECKING:
    from inspector.machine.x86.world import Captured, World

Words = Sequence[str]
_MSRS = {"XFD": MSR_XFD, "XFD_ERR": MSR_XFD_ERR, "XSS": MSR_XSS}
#: Instead of a value: what the capture holds.
_CAPTURED = "captured"
#: What KVM_SET_CPUID2 does to the supported XCR0 bits.
_CPUIDS: dict[str, Callable[[int], int]] = {
    "supported": int,
    "no-amx": lambda eax: eax & ~XTILE,
    "amx": lambda eax: eax | XTILE,
    "avx-only": lambda eax: eax & 7,
}
_TILE = bytes(at & 0xFF for at in range(1024))
_ZMM = bytes(range(64))


class EventError(UsageError):
    """Words that are no event, or an event that cannot happen yet."""

    def __init__(self, event: str, why: str) -> None:
        super().__init__(f"event {event!r}: {why}")


def number(text: str) -> int:
    """A number in any of Python's notations. Raises ValueError."""
    value = int(text, 0)
    if not 0 <= value < 1 << 64:
        raise ValueError(f"{text} is not a 64-bit number")
    return value


def _arch_prctl(world: World, words: Words) -> Outcome:
    process, name = world.process, words[0].removeprefix("ARCH_")
    guest = "GUEST" in name
    if name == "GET_XCOMP_SUPP":
        return process.get_supported()
    if name in ("GET_XCOMP_PERM", "GET_XCOMP_GUEST_PERM"):
        return process.get_permission(guest=guest)
    if name in ("REQ_XCOMP_PERM", "REQ_XCOMP_GUEST_PERM"):
        return process.request_permission(number(words[1]), guest=guest)
    raise ValueError(f"no operation {words[0]}")


def _sigaltstack(world: World, words: Words) -> Outcome:
    return world.process.sigaltstack(number(words[0]))


def _fork(world: World, _: Words) -> Outcome:
    """The world goes on with the child, which has no vCPU."""
    world.process, world.vcpu = world.process.fork(), None
    return Rule("fpu_clone (fpu/core.c)").ok()


def _exec(world: World, _: Words) -> Outcome:
    world.process, world.vcpu = world.process.exec(), None
    return Rule("fpu_flush_thread (fpu/core.c)").ok()


def _process(world: World, words: Words) -> Outcome:
    if words[0] not in ("ldtilecfg", "tilezero", "tileloadd", "tilerelease"):
        raise ValueError(f"no instruction {words[0]}")
    return world.process.tile_instruction(words[0])


def _create_vcpu(world: World, _: Words) -> Outcome:
    rule = Rule("fpu_alloc_guest_fpstate (fpu/core.c)")
    if world.vcpu is not None:
        raise ValueError("there is a vCPU already")
    world.vcpu = Vcpu(world.process, world.policy)
    return rule.ok()


def _vcpu(world: World) -> Vcpu:
    if world.vcpu is None:
        raise ValueError("there is no vCPU; KVM_CREATE_VCPU comes first")
    if world.vcpu.in_run:
        raise ValueError("the vCPU is inside KVM_RUN; return comes first")
    return world.vcpu


def _running(world: World) -> Vcpu:
    if world.vcpu is None or not world.vcpu.in_run:
        raise ValueError("the vCPU is not inside KVM_RUN; KVM_RUN comes first")
    return world.vcpu


def _run(world: World, _: Words) -> Outcome:
    """From here on the guest's instructions are in one KVM_RUN."""
    vcpu = _vcpu(world)
    vcpu.in_run = True
    return Rule("kvm_arch_vcpu_ioctl_run (x86.c)").ok()


def _saved(world: World, rule: Rule) -> Outcome:
    """XSAVES of the guest's registers by the host; ok even if it loses something."""
    vcpu = _running(world)
    live = vcpu.resident
    lost = vcpu.save()
    if vcpu.policy.keeps_in_use:
        rule.check(vcpu.policy.keeps_in_use, True)
    elif live is not None:
        size = sum(len(data) for number, data in live.components.items() if lost >> number & 1)
        what = f" (lost: {size} bytes of components {lost:#x})" if lost else ""
        rule.check(f"XFD is 0 for all that is in use{what}", not lost)
    return rule.ok()


def _preempt(world: World, _: Words) -> Outcome:
    return _saved(world, Rule("switch_fpu, XSAVES of the outgoing task (fpu/sched.h)"))


def _softirq(world: World, _: Words) -> Outcome:
    return _saved(world, Rule("kernel_fpu_begin_mask, XSAVES of the current task (fpu/core.c)"))


def _return(world: World, _: Words) -> Outcome:
    outcome = _saved(world, Rule("fpu_swap_kvm_fpstate (fpu/core.c)"))
    _running(world).in_run = False
    return outcome


def _fail_allocation(world: World, _: Words) -> Outcome:
    world.process.allocation_fails = True
    return Rule("injected").ok()


def _check_extension(world: World, words: Words) -> Outcome:
    if words[0] not in ("KVM_CAP_XSAVE2", "XSAVE2"):
        raise ValueError(f"no capability {words[0]}; there is KVM_CAP_XSAVE2")
    return Rule("kvm_vm_ioctl_check_extension (x86.c)").ok(xsave2_capability(world.process))


def _set_cpuid2(world: World, words: Words) -> Outcome:
    vcpu = _vcpu(world)
    if words[0] == _CAPTURED:
        return _with_osxsave(vcpu, vcpu.set_cpuid(_captured(world).leaves))
    change = _CPUIDS.get(words[0])
    if change is None:
        raise ValueError(f"no CPUID {words[0]}; there are {', '.join(_CPUIDS)}")
    return _with_osxsave(vcpu, vcpu.set_cpuid(supported_cpuid(world.process, change)))


def _with_osxsave(vcpu: Vcpu, outcome: Outcome) -> Outcome:
    """The guest is taken to be in 64-bit mode with CR4.OSXSAVE once it has a CPUID."""
    vcpu.cr4_osxsave = vcpu.cr4_osxsave or outcome.accepted
    return outcome


def _captured(world: World) -> Captured:
    if world.captured is None:
        raise ValueError("nothing was captured; --from names a capture")
    return world.captured


def _set_xcrs(world: World, words: Words) -> Outcome:
    return _vcpu(world).set_xcrs(number(words[0]))


def _set_msrs(world: World, words: Words) -> Outcome:
    return _vcpu(world).set_msr(_msr(words[0]), number(words[1]))


def _get_xsave(world: World, _: Words) -> Outcome:
    return _vcpu(world).get_xsave()


def _get_xsave2(world: World, _: Words) -> Outcome:
    return _vcpu(world).get_xsave2()


def _set_xsave(world: World, words: Words) -> Outcome:
    """The captured image, or the vCPU's own with another XSTATE_BV."""
    vcpu = _vcpu(world)
    if words and words[0] == _CAPTURED:
        return vcpu.set_xsave(_captured(world).image.ljust(vcpu.uabi_size_bytes, b"\0"))
    image = vcpu.user_image()
    return vcpu.set_xsave(with_xstate_bv(image, number(words[0])) if words else image)


def _guest(world: World, words: Words) -> Outcome:
    if world.vcpu is None:
        raise ValueError("there is no vCPU; KVM_CREATE_VCPU comes first")
    guest, name, rest = Guest(world.vcpu), words[0], words[1:]
    if name == "xsetbv":
        return guest.xsetbv(0, number(rest[0]))
    if name == "xgetbv":
        return guest.xgetbv(number(rest[0]))
    if name == "wrmsr":
        return guest.wrmsr(_msr(rest[0]), number(rest[1]))
    if name == "rdmsr":
        return guest.rdmsr(_msr(rest[0]))
    if name == "ldtilecfg":
        return guest.ldtilecfg()
    if name == "tilerelease":
        return guest.tilerelease()
    if name == "tilezero":
        return guest.tilezero(_below(rest[0], 8))
    if name == "tileloadd":
        return guest.tileloadd(_below(rest[0], 8), _TILE)
    if name == "vmovdqu64":
        return guest.vmovdqu64(_below(rest[0], 32), _ZMM)
    raise ValueError(f"no instruction {name}")


def _below(text: str, limit: int) -> int:
    value = number(text)
    if value >= limit:
        raise ValueError(f"{text} is not below {limit}")
    return value


def _msr(name: str) -> int:
    if name not in _MSRS:
        raise ValueError(f"no MSR {name}; there are {', '.join(_MSRS)}")
    return _MSRS[name]


#: Events by their first word.
EVENTS: dict[str, Callable[[World, Words], Outcome]] = {
    "arch_prctl": _arch_prctl,
    "sigaltstack": _sigaltstack,
    "fork": _fork,
    "exec": _exec,
    "process": _process,
    "KVM_CREATE_VCPU": _create_vcpu,
    "KVM_CHECK_EXTENSION": _check_extension,
    "KVM_SET_CPUID2": _set_cpuid2,
    "KVM_SET_XCRS": _set_xcrs,
    "KVM_SET_MSRS": _set_msrs,
    "KVM_GET_XSAVE": _get_xsave,
    "KVM_GET_XSAVE2": _get_xsave2,
    "KVM_SET_XSAVE": _set_xsave,
    "KVM_RUN": _run,
    "guest": _guest,
    "preempt": _preempt,
    "softirq": _softirq,
    "return": _return,
    "fail_allocation": _fail_allocation,
}
