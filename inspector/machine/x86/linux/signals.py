"""What others see of a task's registers: signal frames, core dumps, ptrace.

Source: Linux arch/x86/kernel/fpu/signal.c, regset.c, xstate.c.
"""

from __future__ import annotations

import errno
import signal

from inspector.machine.outcome import GP, Outcome, Rule
from inspector.machine.x86.cpu import images
from inspector.machine.x86.cpu.instructions import x87, xsave
from inspector.machine.x86.cpu.processor import Processor
from inspector.machine.x86.host import Host
from inspector.machine.x86.linux.kernel import Linux
from inspector.machine.x86.linux.process import Cpu, Thread
from layouts.members import Member
from layouts.x86.xsave import (
    EXTENDED_OFFSET,
    FPX_SW_AT,
    HEADER_AT,
    HEADER_OFFSET,
    HEADER_SIZE_BYTES,
    LEGACY_AT,
    LEGACY_SIZE_BYTES,
    PKRU,
    XTILE,
)

MAGIC1, MAGIC2 = 0x46505853, 0x46505845
_MAGIC2_SIZE_BYTES = 4
_FPSSE = 3
_RT_SIGFRAME_SIZE_BYTES = 440
_SI_KERNEL = 0x80
_REGISTER_SIZE_BYTES = 8


def deliver(linux: Linux, cpu: Cpu, thread: Thread, stack: bytes = b"", *, on_stack: bool = True) -> Outcome:
    """A signal with a handler: the frame's image is the outcome's, its xstate_size the value.

    XSAVE writes user components; tile state that is not in use is left out, so stale bytes stay
    (xfeatures_to_write in xsave_to_user_sigframe). ``stack``: what was where the frame goes; the last frame if it is
    not said. ``on_stack``: the handler has SA_ONSTACK.
    """
    rule = Rule("copy_fpstate_to_sigframe, save_xstate_epilog (fpu/signal.c)")
    wrong = linux.to_user(cpu, thread)
    if wrong is not None:
        return wrong
    host = linux.host
    size = thread.fpstate.user_size_bytes
    room = thread.altstack_size_bytes
    if on_stack and room and not _fits(rule, room, size):
        return rule.signal(signal.SIGSEGV, _SI_KERNEL)
    before = stack or (thread.signal_frames[-1] if thread.signal_frames else b"")
    before = before.ljust(size + _MAGIC2_SIZE_BYTES, b"\0")
    image = before[:HEADER_OFFSET] + bytes(HEADER_SIZE_BYTES) + before[EXTENDED_OFFSET:]
    mask = thread.fpstate.user_xfeatures
    in_use = linux.registers(thread).in_use
    outcome = cpu.machine.execute(lambda p: xsave.xsave(p, "xsave", image, mask & ~(XTILE & ~in_use)), user=True)
    if not outcome.accepted:
        return outcome
    found = bytearray(outcome.image.ljust(size + _MAGIC2_SIZE_BYTES, b"\0"))
    told = {
        "magic1": MAGIC1,
        "extended_size": size + _MAGIC2_SIZE_BYTES,
        "xfeatures": mask,
        "xstate_size": size,
        "padding": 0,
    }
    for name, value in told.items():
        FPX_SW_AT[name].store(found, value)
    _magic2(size).store(found, MAGIC2)
    HEADER_AT["xstate_bv"].store(found, images.xstate_bv(found) | _FPSSE | (host.user_max & 1 << PKRU))
    thread.signal_frames.append(bytes(found))
    linux.clear_user_states(cpu, thread)
    rule.check(f"the frame has {size} bytes of state", held=True)
    return rule.ok(size, bytes(found))


def _magic2(size: int) -> Member:
    """FP_XSTATE_MAGIC2, right behind an image of this size."""
    return Member(size, _MAGIC2_SIZE_BYTES)


def without_software(image: bytes) -> bytes:
    """The legacy region as FXSAVE's users see it: the software area is zero."""
    at = LEGACY_AT["sw_xcr0"].offset
    return image[:at] + bytes(LEGACY_SIZE_BYTES - at)


def _fits(rule: Rule, room: int, size: int) -> bool:
    """get_sigframe: state and rt_sigframe lie above the stack's first byte; a stack begins at a page."""
    state = room - size - _MAGIC2_SIZE_BYTES & ~63
    frame = (state - _RT_SIGFRAME_SIZE_BYTES & ~15) - 8
    return rule.check(f"the alternate stack of {room} bytes holds a frame ({room - frame + 1})", frame > 0)


def sigreturn(linux: Linux, cpu: Cpu, thread: Thread, *, fpstate: int = 0) -> Outcome:
    """rt_sigreturn: the registers are those of the newest frame. Every component that it does not give is initial.

    ``fpstate`` is how far the frame's pointer to the image was moved; an empty frame is a pointer of NULL.
    """
    rule = Rule("__fpu_restore_sig, check_xstate_in_sigframe (fpu/signal.c)")
    if not rule.check("a signal frame is there", thread.signal_frames):
        return rule.signal(signal.SIGSEGV, _SI_KERNEL)
    frame = thread.signal_frames.pop()
    linux.to_user(cpu, thread)
    if not frame:
        linux.clear_user_states(cpu, thread)
        mapped = rule.check("the pointer to the image is NULL, or the image can be read", not fpstate)
        return rule.ok() if mapped else rule.signal(signal.SIGSEGV, _SI_KERNEL)
    frame = frame[fpstate:] if fpstate > 0 else bytes(-fpstate) + frame
    mask = thread.fpstate.user_xfeatures
    whole = _has_xstate(rule, frame, thread.fpstate.user_size_bytes)
    wanted = (FPX_SW_AT["xfeatures"].get(frame) if whole else _FPSSE) & mask
    linux.write_xfd(cpu, thread.fpstate.xfd)
    restored = cpu.machine.execute(lambda p: _restore(p, frame, mask, wanted, fpstate, whole=whole))
    if not restored.accepted:
        rule.checks += restored.checks
        linux.clear_user_states(cpu, thread)
        return rule.signal(signal.SIGSEGV, _SI_KERNEL)
    return rule.ok()


def _has_xstate(rule: Rule, frame: bytes, user_size_bytes: int) -> bool:
    """check_xstate_in_sigframe; where it fails only FXRSTOR is done."""
    size, extended = FPX_SW_AT["xstate_size"].get(frame), FPX_SW_AT["extended_size"].get(frame)
    return (
        rule.check("magic1 is there", FPX_SW_AT["magic1"].get(frame) == MAGIC1)
        and rule.check(f"xstate_size {size} fits the buffer", EXTENDED_OFFSET <= size <= user_size_bytes)
        and rule.check(f"xstate_size {size} fits extended_size {extended}", size <= extended)
        and rule.check("magic2 is behind the image", _magic2(size).get(frame) == MAGIC2)
    )


def _restore(cpu: Processor, frame: bytes, mask: int, wanted: int, moved: int, *, whole: bool) -> Outcome:
    """__restore_fpregs_from_user: XRSTOR, or FXRSTOR alone, then the rest from init_fpstate."""
    alignment = 64 if whole else 16
    rule = Rule("xrstor_from_user_sigframe, fxrstor_from_user_sigframe (fpu/xstate.h, signal.c)")
    if not rule.check(f"the image is at a multiple of {alignment}", not moved % alignment):
        return rule.fault(GP)
    outcome = xsave.xrstor(cpu, "xrstor", frame, wanted) if whole else x87.fxrstor(cpu, frame)
    if outcome.accepted:
        for component in range(mask.bit_length()):
            if mask & ~wanted & 1 << component:
                cpu.registers.clear(component)
    return outcome


def core_note(linux: Linux, thread: Thread) -> Outcome:
    """NT_X86_XSTATE, in a core file or by PTRACE_GETREGSET: always the size of everything Linux supports.

    PKRU is thread.pkru, which only a context switch stores: stale for a thread that crashed without one.
    """
    host = linux.host
    fpstate = thread.fpstate
    registers = linux.registers(thread)
    bv = (registers.in_use if thread.loaded else fpstate.xstate_bv) & fpstate.user_xfeatures
    size = host.standard_size_bytes(host.user_max)
    image = images.user_image(registers, bv, host.user_places(host.user_max), size, host.user_max)
    if bv & 6 and not thread.loaded:
        image = images.with_mxcsr_mask(image, images.mxcsr_mask(fpstate.image))
    image = _with_pkru(image, thread.pkru, host)
    return Rule("xstateregs_get, __copy_xstate_to_uabi_buf (fpu/regset.c, xstate.c)").ok(size, image)


def _pkru_at(host: Host) -> int | None:
    return next((p.offset for p in host.user_places(host.user_max) if p.component == PKRU), None)


def _with_pkru(image: bytes, value: int, host: Host) -> bytes:
    at = _pkru_at(host)
    if at is None:
        return image
    return image[:at] + value.to_bytes(8, "little") + image[at + 8 :]


def get_regset(linux: Linux, thread: Thread, size: int, *, legacy: bool = False) -> Outcome:
    """PTRACE_GETREGSET of NT_X86_XSTATE, or of NT_PRFPREG (``legacy``), into ``size`` bytes."""
    rule = Rule("ptrace_regset (kernel/ptrace.c)")
    if not rule.check("iov_len is a multiple of 8", not size % _REGISTER_SIZE_BYTES):
        return rule.refuse(errno.EINVAL)
    image = core_note(linux, thread).image
    if legacy:
        image = without_software(image)
    return rule.ok(min(size, len(image)), image[:size])


def set_fpregs(linux: Linux, thread: Thread, image: bytes) -> Outcome:
    """PTRACE_SETFPREGS, and PTRACE_SETREGSET of NT_PRFPREG: 512 bytes, x87 and SSE; both are in use afterwards."""
    rule = Rule("xfpregs_set (fpu/regset.c)")
    held = (
        rule.check("iov_len is a multiple of 8", not len(image) % _REGISTER_SIZE_BYTES)
        and rule.check("512 bytes (a longer vector is cut)", len(image) >= LEGACY_SIZE_BYTES)
        and rule.check("MXCSR has no reserved bit", not images.mxcsr(image) >> 16)
    )
    if not held:
        return rule.refuse(errno.EINVAL)
    _take_off(linux, thread)
    bv = thread.fpstate.xstate_bv | _FPSSE
    thread.fpstate.put(linux.host, image, _FPSSE)
    thread.fpstate.image = images.with_xstate_bv(thread.fpstate.image, bv)
    return rule.ok()


def set_regset(linux: Linux, thread: Thread, image: bytes) -> Outcome:
    """PTRACE_SETREGSET of NT_X86_XSTATE."""
    rule = Rule("ptrace_regset, xstateregs_set, copy_uabi_to_xstate (kernel/ptrace.c, fpu/regset.c, xstate.c)")
    host = linux.host
    size = host.standard_size_bytes(host.user_max)
    if not rule.check("iov_len is a multiple of 8", not len(image) % _REGISTER_SIZE_BYTES):
        return rule.refuse(errno.EINVAL)
    if not rule.check(f"{size} bytes (a longer vector is cut, a shorter one is not filled)", len(image) >= size):
        return rule.refuse(errno.EFAULT)
    allowed = thread.fpstate.user_xfeatures
    bv = images.xstate_bv(image)
    held = (
        rule.check(f"XSTATE_BV within the thread's buffer ({allowed:#x})", not bv & ~allowed)
        and rule.check("XCOMP_BV is 0 (standard format)", not images.xcomp_bv(image))
        and rule.check("the header's reserved bytes are 0", not any(images.reserved(image)))
        and rule.check("MXCSR has no reserved bit", not bv & 7 or not images.mxcsr(image) >> 16)
    )
    if not held:
        return rule.refuse(errno.EINVAL)
    _take_off(linux, thread)
    thread.fpstate.put(host, image, bv)
    at = _pkru_at(host)
    if at is not None:
        thread.pkru = int.from_bytes(image[at : at + 4], "little") if bv >> PKRU & 1 else 0
        if thread.cpu is not None and thread.cpu.current is thread:
            linux.write_pkru(thread.cpu, thread.pkru)
    return rule.ok()


def _take_off(linux: Linux, thread: Thread) -> None:
    """fpu_force_restore: what a processor holds of the thread is no longer valid."""
    cpu = thread.cpu
    if cpu is not None and thread.loaded:
        linux.save_thread(cpu, thread)
        cpu.owner = None
    thread.fpstate.last_cpu = -1
