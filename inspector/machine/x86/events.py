"""Events as words: what ``inspector sim`` and scenarios let happen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from inspector.capture.errors import UsageError
from inspector.capture.host import CpuidValues
from inspector.machine.outcome import Outcome, Rule
from inspector.machine.x86.guest import Guest
from inspector.machine.x86.host import XTILE
from inspector.machine.x86.kvm import MSR_XFD, MSR_XFD_ERR, MSR_XSS, Vcpu, supported_leaf_0xd, xsave2_capability

if TYPE_CHECKING:
    from inspector.machine.x86.world import World

Words = Sequence[str]
_MSRS = {"XFD": MSR_XFD, "XFD_ERR": MSR_XFD_ERR, "XSS": MSR_XSS}
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
    world.vcpu = Vcpu(world.process)
    return rule.ok()


def _vcpu(world: World) -> Vcpu:
    if world.vcpu is None:
        raise ValueError("there is no vCPU; KVM_CREATE_VCPU comes first")
    return world.vcpu


def _check_extension(world: World, words: Words) -> Outcome:
    if words[0] not in ("KVM_CAP_XSAVE2", "XSAVE2"):
        raise ValueError(f"no capability {words[0]}; there is KVM_CAP_XSAVE2")
    return Rule("kvm_vm_ioctl_check_extension (x86.c)").ok(xsave2_capability(world.process))


def _set_cpuid2(world: World, words: Words) -> Outcome:
    vcpu = _vcpu(world)
    leaves: dict[tuple[int, int], CpuidValues] = {
        (0xD, subleaf): values for subleaf, values in supported_leaf_0xd(world.process).items()
    }
    eax, ebx, ecx, edx = leaves[0xD, 0]
    changed = {"supported": eax, "no-amx": eax & ~XTILE, "amx": eax | XTILE, "avx-only": eax & 7}
    if words[0] not in changed:
        raise ValueError(f"no CPUID {words[0]}; there are {', '.join(changed)}")
    leaves[0xD, 0] = (changed[words[0]], ebx, ecx, edx)
    outcome = vcpu.set_cpuid(leaves)
    # The guest is taken to be in 64-bit mode with CR4.OSXSAVE from here on.
    vcpu.cr4_osxsave = vcpu.cr4_osxsave or outcome.accepted
    return outcome


def _set_xcrs(world: World, words: Words) -> Outcome:
    return _vcpu(world).set_xcrs(number(words[0]))


def _set_msrs(world: World, words: Words) -> Outcome:
    return _vcpu(world).set_msr(_msr(words[0]), number(words[1]))


def _get_xsave(world: World, _: Words) -> Outcome:
    return _vcpu(world).get_xsave()


def _get_xsave2(world: World, _: Words) -> Outcome:
    return _vcpu(world).get_xsave2()


def _set_xsave(world: World, words: Words) -> Outcome:
    """The vCPU's own image with another XSTATE_BV."""
    vcpu = _vcpu(world)
    image = bytearray(vcpu.user_image())
    if words:
        image[512:520] = number(words[0]).to_bytes(8, "little")
    return vcpu.set_xsave(bytes(image))


def _guest(world: World, words: Words) -> Outcome:
    guest, name, rest = Guest(_vcpu(world)), words[0], words[1:]
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
    "guest": _guest,
}
