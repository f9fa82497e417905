"""What others see of a task's registers: signal frames, core dumps, ptrace.

Source: Linux arch/x86/kernel/fpu/signal.c, regset.c, xstate.c.
"""

from __future__ import annotations

import errno
import signal

from inspector.machine.outcome import Outcome, Rule
from inspector.machine.x86 import images
from inspector.machine.x86.host import XTILE
from inspector.machine.x86.instructions import xsave
from inspector.machine.x86.linux import Cpu, Linux
from inspector.machine.x86.process import Thread
from inspector.machine.x86.registers import PKRU

MAGIC1, MAGIC2 = 0x46505853, 0x46505845
_MAGIC2_SIZE_BYTES = 4
_FPSSE = 3
_LEGACY_SIZE_BYTES = 512


def deliver(linux: Linux, cpu: Cpu, thread: Thread) -> Outcome:
    """A signal with a handler: the frame's image is the outcome's, its xstate_size the value.

    XSAVE writes user components; tile state that is not in use is left out, so stale bytes stay
    (xfeatures_to_write in xsave_to_user_sigframe).
    """
    rule = Rule("copy_fpstate_to_sigframe, save_xstate_epilog (fpu/signal.c)")
    wrong = linux.to_user(cpu, thread)
    if wrong is not None:
        return wrong
    host = linux.host
    size = thread.fpstate.user_size_bytes
    needed = host.frame_size_bytes(size)
    room = thread.altstack_size_bytes
    if room and not rule.check(f"the alternate stack of {room} bytes holds a frame ({needed})", room >= needed):
        return rule.signal(signal.SIGSEGV, 0x80)
    before = (thread.signal_frames[-1] if thread.signal_frames else b"").ljust(size + _MAGIC2_SIZE_BYTES, b"\0")
    image = before[:_LEGACY_SIZE_BYTES] + bytes(64) + before[576:]
    mask = thread.fpstate.user_xfeatures
    in_use = linux.registers(thread).in_use
    outcome = cpu.machine.execute(lambda p: xsave.xsave(p, "xsave", image, mask & ~(XTILE & ~in_use)), user=True)
    if not outcome.accepted:
        return outcome
    found = bytearray(outcome.image.ljust(size + _MAGIC2_SIZE_BYTES, b"\0"))
    for offset, value, width in (
        (464, MAGIC1, 4),
        (468, size + _MAGIC2_SIZE_BYTES, 4),
        (472, mask, 8),
        (480, size, 4),
        (size, MAGIC2, 4),
        (512, images.xstate_bv(found) | _FPSSE | (host.user_max & 1 << PKRU), 8),
    ):
        found[offset : offset + width] = value.to_bytes(width, "little")
    thread.signal_frames.append(bytes(found))
    linux.clear_user_states(cpu, thread)
    rule.check(f"the frame has {size} bytes of state", True)
    return rule.ok(size, bytes(found))


def sigreturn(linux: Linux, cpu: Cpu, thread: Thread) -> Outcome:
    """rt_sigreturn: the registers are those of the newest frame, within what the buffer has room for."""
    rule = Rule("__fpu_restore_sig, check_xstate_in_sigframe (fpu/signal.c)")
    if not rule.check("a signal frame is there", thread.signal_frames):
        return rule.signal(signal.SIGSEGV, 0x80)
    frame = thread.signal_frames.pop()
    size = int.from_bytes(frame[480:484], "little")
    whole = (
        rule.check("magic1 is there", int.from_bytes(frame[464:468], "little") == MAGIC1)
        and rule.check(f"xstate_size {size} fits the buffer", 576 <= size <= thread.fpstate.user_size_bytes)
        and rule.check("magic2 is behind the image", int.from_bytes(frame[size : size + 4], "little") == MAGIC2)
    )
    mask = thread.fpstate.user_xfeatures if whole else _FPSSE
    linux.to_user(cpu, thread)
    linux.write_xfd(cpu, thread.fpstate.xfd)
    image = frame[:464] + bytes(48) + frame[512:] if whole else images.with_xstate_bv(frame, _FPSSE)
    restored = cpu.machine.execute(
        lambda p: xsave.xrstor(p, "xrstor", images.with_xstate_bv(image, images.xstate_bv(image) & mask), mask),
        user=True,
    )
    if not restored.accepted:
        rule.checks += restored.checks
        return rule.signal(signal.SIGSEGV, 0x80)
    return rule.ok()


def core_note(linux: Linux, thread: Thread) -> Outcome:
    """NT_X86_XSTATE, in a core file or by PTRACE_GETREGSET: always the size of everything Linux supports."""
    host = linux.host
    fpstate = thread.fpstate
    registers = linux.registers(thread)
    bv = (registers.in_use if thread.loaded else fpstate.xstate_bv) & fpstate.user_xfeatures
    size = host.standard_size_bytes(host.user_max)
    image = images.user_image(registers, bv, host.user_places(host.user_max), size, host.user_max)
    return Rule("xstateregs_get, __copy_xstate_to_uabi_buf (fpu/regset.c, xstate.c)").ok(size, image)


def set_regset(linux: Linux, thread: Thread, image: bytes) -> Outcome:
    """PTRACE_SETREGSET of NT_X86_XSTATE."""
    rule = Rule("xstateregs_set, copy_uabi_to_xstate (fpu/regset.c, xstate.c)")
    host = linux.host
    size = host.standard_size_bytes(host.user_max)
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
    cpu = thread.cpu
    if cpu is not None and thread.loaded:
        # fpu_force_restore: what the processor holds is no longer valid.
        linux.save_thread(cpu, thread)
        cpu.owner = None
    thread.fpstate.put(host, images.load(image, bv, host.user_places(host.user_max)), bv)
    return rule.ok()
