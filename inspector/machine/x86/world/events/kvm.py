"""What a VMM asks of KVM, what the guest executes, and what interrupts a run."""

from __future__ import annotations

import errno
from collections.abc import Callable

from inspector.capture.nearest import did_you_mean
from inspector.machine.events import CAPTURED, Words, below, number, word
from inspector.machine.outcome import Outcome, Rule
from inspector.machine.x86.cpu.images import with_xstate_bv
from inspector.machine.x86.cpu.instructions import control
from inspector.machine.x86.kvm.assumed import kvm_on
from inspector.machine.x86.kvm.capabilities import check_extension, hangs_on_build
from inspector.machine.x86.kvm.guest import Guest
from inspector.machine.x86.kvm.run import Run
from inspector.machine.x86.kvm.supported import KVM_XSAVE_SIZE_BYTES, named_cpuid, supported_leaf_0xd, xsave2_capability
from inspector.machine.x86.kvm.vcpu import Vcpu
from inspector.machine.x86.kvm.vm import Vm
from inspector.machine.x86.world.events import instructions
from inspector.machine.x86.world.events.words import msr
from inspector.machine.x86.world.stage import Stage
from layouts.x86.capabilities import CAPABILITIES
from layouts.x86.kernels import profile_for

_FLAGS = "flags="


def _create_vm(stage: Stage, words: Words) -> Outcome:
    """Does not lock the guest permission: only the first vCPU does."""
    rule = Rule("kvm_arch_init_vm (x86.c)")
    if stage.vm is not None:
        raise ValueError("there is a VM already")
    is_td = words[:1] == ["tdx"]
    if is_td and not rule.check("KVM has TDX (from 6.16 on)", stage.host.kernel.kvm_tdx):
        return rule.refuse(errno.EINVAL)
    stage.vm = Vm(stage.process, is_td=is_td)
    return rule.ok()


def _tdx_init_vm(stage: Stage, words: Words) -> Outcome:
    if stage.vm is None:
        raise ValueError("there is no VM; KVM_CREATE_VM tdx comes first")
    return stage.vm.tdx_init(number(word(words, 0, "XFAM")))


def _create_vcpu(stage: Stage, _: Words) -> Outcome:
    if stage.vm is None:
        stage.vm = Vm(stage.process)
    return stage.vm.create_vcpu(stage.thread())


def _stopped(stage: Stage) -> Vcpu:
    vcpu = stage.guest().vcpu
    if vcpu.in_run:
        raise ValueError("the vCPU is inside KVM_RUN; return comes first")
    stage.host_linux.to_user(stage.cpu(), stage.thread())
    return vcpu


def _running(stage: Stage) -> Run:
    """The run that goes on, on the CPU where it is."""
    guest = stage.guest(stays=True)
    if not guest.vcpu.in_run:
        raise ValueError("the vCPU is not inside KVM_RUN; KVM_RUN comes first")
    return guest.run


def _run(stage: Stage, _: Words) -> Outcome:
    """From here on the guest's instructions are in one KVM_RUN."""
    _stopped(stage)
    run = stage.guest().run
    return run.begin() or run.enter() or Rule("kvm_arch_vcpu_ioctl_run (x86.c)").ok()


def _exit(stage: Stage, words: Words) -> Outcome:
    """A VM exit that KVM handles without leaving KVM_RUN, as an interrupt makes one; ``fast``: with interrupts off."""
    if words[:1] == ["fast"]:
        _running(stage).exit_and_reenter()
        return Rule("EXIT_FASTPATH_REENTER_GUEST, vcpu_enter_guest (x86.c)").ok()
    _running(stage).exit()
    return Rule("vcpu_enter_guest, fpu_sync_guest_vmexit_xfd_state (x86.c, fpu/core.c)").ok()


def _saved(stage: Stage, source: str) -> Outcome:
    run = _running(stage)
    outcome = run.save()
    clears = run.vcpu.policy.clears_xfd
    if clears:
        rule = Rule(source)
        rule.check(f"XFD is cleared {clears} where tiles are in use", held=True)
        return rule.ok()
    return outcome._replace(source=source, image=b"", value=0)


def _preempt(stage: Stage, _: Words) -> Outcome:
    """The vCPU's thread loses its CPU to another task, which returns to user space."""
    outcome = _saved(stage, "switch_fpu, XSAVES of the outgoing task (fpu/sched.h)")
    run = _running(stage)
    linux = stage.host_linux
    linux.schedule(run.cpu, stage.bystander(run.cpu))
    linux.to_user(run.cpu, stage.bystander(run.cpu))
    return outcome


def _softirq(stage: Stage, _: Words) -> Outcome:
    outcome = _saved(stage, "kernel_fpu_begin_mask, XSAVES of the current task (fpu/core.c)")
    _running(stage).cpu.owner = None
    return outcome


def _return(stage: Stage, _: Words) -> Outcome:
    run = _running(stage)
    outcome = _saved(stage, "fpu_swap_kvm_fpstate (fpu/core.c)")
    wanted = run.vcpu.wants_buffer
    ended = run.end()
    return ended if wanted else outcome


def _check_extension(stage: Stage, words: Words) -> Outcome:
    rule, name = Rule("kvm_vm_ioctl_check_extension (x86.c)"), word(words, 0, "a capability").removeprefix("KVM_CAP_")
    if name == "XSAVE2":
        return rule.ok(xsave2_capability(stage.process))
    known = {one.name: one.number for one in CAPABILITIES}
    if name not in known:
        raise ValueError(f"no capability {name} that x86 has; {did_you_mean(name, known, 'KVM_CAP_XSAVE2')}")
    kvm = kvm_on(stage.host)
    value, option = check_extension(kvm).get(known[name], 0), hangs_on_build(kvm, name)
    return rule.depends(f"{option}; {value:#x} as Debian builds it") if option else rule.ok(value)


def _get_supported_cpuid(stage: Stage, _: Words) -> Outcome:
    """The value is leaf 0xD's XCR0 bits."""
    eax, _ebx, _ecx, edx = supported_leaf_0xd(stage.process)[0]
    return Rule("__do_cpuid_func, leaf 0xD (cpuid.c)").ok(eax | edx << 32)


def _set_cpuid2(stage: Stage, words: Words) -> Outcome:
    vcpu = _stopped(stage)
    name = word(words, 0, "a CPUID")
    leaves = stage.what_was_captured().leaves if name == CAPTURED else named_cpuid(stage.process, name)
    outcome = vcpu.set_cpuid(leaves)
    # The guest is taken to be in 64-bit mode with CR4.OSXSAVE once it has a CPUID.
    vcpu.cr4_osxsave = vcpu.cr4_osxsave or outcome.accepted
    return outcome


def _set_xcrs(stage: Stage, words: Words) -> Outcome:
    """A value for XCR0, or entries ``REGISTER:VALUE``; ``flags=N`` are the call's."""
    entries, flags = [], 0
    for text in words:
        if text.startswith(_FLAGS):
            flags = below(text.removeprefix(_FLAGS), 1 << 32)
            continue
        register, colon, value = text.rpartition(":")
        entries.append((below(register, 1 << 32) if colon else 0, number(value)))
    if not entries and not flags:
        raise ValueError("a value is missing")
    return _stopped(stage).set_xcrs(*entries, flags=flags)


def _set_msrs(stage: Stage, words: Words) -> Outcome:
    """Names and values; a refused MSR stops the call, which returns how many were set."""
    vcpu = _stopped(stage)
    pairs = [(msr(words[at]), number(word(words, at + 1, "a value"))) for at in range(0, len(words), 2)]
    rule = Rule("__msr_io, kvm_set_msr_common, vmx_set_msr (x86.c, vmx.c)")
    for done, (index, value) in enumerate(pairs):
        outcome = vcpu.set_msr(index, value)
        rule.checks += outcome.checks
        if outcome.code == errno.EINVAL:
            return rule.short(done, len(pairs))
        if not outcome.accepted:
            return rule.refuse(outcome.code)
    return rule.ok(len(pairs))


def _get_xcrs(stage: Stage, _: Words) -> Outcome:
    """The value is XCR0."""
    vcpu = _stopped(stage)
    rule = Rule("kvm_vcpu_ioctl_x86_get_xcrs (x86.c)")
    if vcpu.xfam and not rule.check("not a TD: its state is protected", held=False):
        return rule.refuse(errno.EINVAL)
    return rule.ok(vcpu.xcr0)


def _get_msrs(stage: Stage, words: Words) -> Outcome:
    """The value is the MSR's."""
    return _stopped(stage).get_msr(msr(word(words, 0, "an MSR")))


def _get_xsave(stage: Stage, _: Words) -> Outcome:
    return _stopped(stage).get_xsave()


def _get_xsave2(stage: Stage, _: Words) -> Outcome:
    return _stopped(stage).get_xsave2()


def _set_xsave(stage: Stage, words: Words) -> Outcome:
    """The captured image, or the vCPU's own: cut to 4096 bytes, or with another XSTATE_BV."""
    vcpu = _stopped(stage)
    if words[:1] == [CAPTURED]:
        return vcpu.set_xsave(stage.what_was_captured().image.ljust(vcpu.uabi_size_bytes, b"\0"))
    image = vcpu.user_image()
    if words[:1] == ["cut"]:
        # What a VMM with a 4096-byte structure kept; the memory behind it is taken as zero.
        return vcpu.set_xsave(image[:KVM_XSAVE_SIZE_BYTES].ljust(len(image), b"\0"))
    return vcpu.set_xsave(with_xstate_bv(image, number(words[0])) if words else image)


def boot(stage: Stage, words: Words) -> Outcome:
    """The guest's Linux, of a kernel profile, on its first vCPUs."""
    guest = stage.guest()
    assert stage.vm is not None
    kernel = profile_for(words[0]) if words else stage.host.kernel
    return stage.vm.boot(kernel, max(guest.number + 1, len(stage.vm.guests)))


def bare(guest: Guest, words: Words, memory: bytes) -> Outcome:
    """An instruction of the guest in its kernel: what needs no guest Linux."""
    name, rest = word(words, 0, "an instruction"), words[1:]
    if name == "xsetbv":
        return guest.xsetbv(number(word(rest, 0, "a value")))
    if name == "wrmsr":
        return guest.wrmsr(msr(word(rest, 0, "an MSR")), number(word(rest, 1, "a value")))
    if name == "rdmsr":
        return guest.rdmsr(msr(word(rest, 0, "an MSR")))
    if name == "xgetbv":
        index = number(rest[0]) if rest else 0
        return guest.execute(lambda cpu: control.xgetbv(cpu, index))
    return guest.execute(instructions.parse(words, memory))


KVM_EVENTS: dict[str, Callable[[Stage, Words], Outcome]] = {
    "KVM_CREATE_VM": _create_vm,
    "KVM_TDX_INIT_VM": _tdx_init_vm,
    "KVM_CREATE_VCPU": _create_vcpu,
    "KVM_CHECK_EXTENSION": _check_extension,
    "KVM_GET_SUPPORTED_CPUID": _get_supported_cpuid,
    "KVM_SET_CPUID2": _set_cpuid2,
    "KVM_SET_XCRS": _set_xcrs,
    "KVM_SET_MSRS": _set_msrs,
    "KVM_GET_XCRS": _get_xcrs,
    "KVM_GET_MSRS": _get_msrs,
    "KVM_GET_XSAVE": _get_xsave,
    "KVM_GET_XSAVE2": _get_xsave2,
    "KVM_SET_XSAVE": _set_xsave,
    "KVM_RUN": _run,
    "exit": _exit,
    "preempt": _preempt,
    "softirq": _softirq,
    "return": _return,
}
