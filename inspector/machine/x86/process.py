"""A process on the host: permissions, alternate stacks, first use of AMX.

Source: Linux arch/x86/kernel/fpu/xstate.c, arch/x86/kernel/signal.c, arch/x86/kernel/traps.c.
"""

from __future__ import annotations

import errno
import signal

from inspector.machine.outcome import Outcome, Rule
from inspector.machine.x86.host import DYNAMIC, TILECFG, TILEDATA, Host

MINSIGSTKSZ = 2048
_ILL_ILLOPC, _ILL_ILLOPN, _SI_KERNEL = 1, 2, 0x80


class Process:
    """A thread group: what it may use, and the one thread that matters here."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.perm = host.user_default
        self.guest_perm = host.user_default
        self.guest_perm_locked = False
        self.altstacks: list[int] = []
        self.fpstate_xfeatures = host.user_default
        self.in_use: set[int] = set()
        #: The next allocation of a buffer fails (injected).
        self.allocation_fails = False

    def fork(self) -> Process:
        """The child has the permissions and their lock, tile configuration, and no tile data."""
        child = Process(self.host)
        child.perm, child.guest_perm, child.guest_perm_locked = self.perm, self.guest_perm, self.guest_perm_locked
        child.in_use = self.in_use - {TILEDATA}
        return child

    def exec(self) -> Process:
        """The same process with another program: the defaults (fpu_flush_thread, fpstate_reset)."""
        return Process(self.host)

    def allocate(self) -> bool:
        """Get memory for a buffer; False for an injected failure, once."""
        fails, self.allocation_fails = self.allocation_fails, False
        return not fails

    def get_supported(self) -> Outcome:
        """ARCH_GET_XCOMP_SUPP."""
        return Rule("fpu_xstate_prctl").ok(self.host.user_max | 3)

    def get_permission(self, *, guest: bool = False) -> Outcome:
        """ARCH_GET_XCOMP_PERM and ARCH_GET_XCOMP_GUEST_PERM."""
        return Rule("xstate_get_host_group_perm").ok(self.guest_perm if guest else self.perm)

    def request_permission(self, component: int, *, guest: bool = False) -> Outcome:
        """ARCH_REQ_XCOMP_PERM and ARCH_REQ_XCOMP_GUEST_PERM."""
        rule = Rule("xstate_request_perm, __xstate_request_perm (fpu/xstate.c)")
        host = self.host
        if not rule.check(
            f"{component} is below XFEATURE_MAX ({host.kernel.xfeature_max})", component < host.kernel.xfeature_max
        ):
            return rule.refuse(errno.EINVAL)
        if not rule.check("the component is allocated on demand (only 18 is)", component == TILEDATA):
            return rule.refuse(errno.EOPNOTSUPP)
        if not rule.check("the kernel supports the component on this CPU", host.user_max >> component & 1):
            return rule.refuse(errno.EOPNOTSUPP)
        permitted = self.guest_perm if guest else self.perm
        if permitted >> component & 1:
            rule.check("it is permitted already", True)
            return rule.ok()
        if guest and not rule.check("no vCPU was created yet (the first one locks)", not self.guest_perm_locked):
            return rule.refuse(errno.EBUSY)
        wanted = permitted | 1 << component
        if not guest:
            needed = host.frame_size_bytes(host.standard_size_bytes(wanted))
            if not rule.check(
                f"every alternate stack has {needed} bytes", all(size >= needed for size in self.altstacks)
            ):
                return rule.refuse(errno.ENOSPC)
            self.perm = wanted
        else:
            self.guest_perm = wanted
        return rule.ok()

    def sigaltstack(self, size: int) -> Outcome:
        """An alternate signal stack: it must hold a frame with everything that is permitted."""
        rule = Rule("sigaltstack_size_valid (kernel/signal.c)")
        if not rule.check(f"at least MINSIGSTKSZ ({MINSIGSTKSZ})", size >= MINSIGSTKSZ):
            return rule.refuse(errno.ENOMEM)
        host = self.host
        if self.perm & DYNAMIC:
            # max_frame_size - fpu_default_state_size + __user_state_size
            needed = host.frame_without_state_bytes + host.standard_size_bytes(self.perm)
            if not rule.check(f"more than {needed} bytes, for a frame with the permitted state", size > needed):
                return rule.refuse(errno.ENOMEM)
        self.altstacks = [size]
        return rule.ok()

    def tile_instruction(self, name: str) -> Outcome:
        """An AMX instruction of a user program: #NM, and what handle_xfd_event makes of it."""
        rule = Rule("handle_xfd_event, __xfd_enable_feature (traps.c, fpu/xstate.c)")
        host = self.host
        if not rule.check("XCR0 has the AMX components", host.user_max >> TILEDATA & 1):
            return rule.signal(signal.SIGILL, _ILL_ILLOPN)
        uses_tiles = name not in ("ldtilecfg", "tilerelease", "sttilecfg")
        if uses_tiles and not self.fpstate_xfeatures >> TILEDATA & 1:
            rule.check("XFD[18] is 1: #NM", True)
            if not rule.check("the process has permission for component 18", self.perm >> TILEDATA & 1):
                return rule.signal(signal.SIGILL, _ILL_ILLOPC)
            if not rule.check("memory for the larger buffer is there (fpstate_realloc)", self.allocate()):
                return rule.signal(signal.SIGSEGV, _SI_KERNEL)
            self.fpstate_xfeatures |= DYNAMIC
        if uses_tiles and not rule.check("tiles are configured", TILECFG in self.in_use):
            return rule.signal(signal.SIGILL, _ILL_ILLOPN)
        if name == "tileloadd":
            self.in_use.add(TILEDATA)
        elif name == "ldtilecfg":
            self.in_use = (self.in_use | {TILECFG}) - {TILEDATA}
        elif name == "tilerelease":
            self.in_use -= {TILECFG, TILEDATA}
        return rule.ok()
