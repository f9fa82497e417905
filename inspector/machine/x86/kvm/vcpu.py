"""KVM's ioctls on a vCPU: CPUID, XCR0, MSRs, XSAVE images.

Source: Linux arch/x86/kvm/x86.c, cpuid.c, vmx/vmx.c; arch/x86/kernel/fpu/core.c.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping

from inspector.capture.host import Cpuid, CpuidValues
from inspector.machine.outcome import Outcome, Rule
from inspector.machine.x86.cpu import images
from inspector.machine.x86.cpu.instructions.control import (
    CET_STATE,
    MSR_S_CET,
    MSR_XFD,
    MSR_XFD_ERR,
    MSR_XSS,
    check_cet,
    check_xcr0,
)
from inspector.machine.x86.host import Host
from inspector.machine.x86.kvm.intercepts import Intercepts
from inspector.machine.x86.kvm.supported import KVM_XSAVE_SIZE_BYTES
from inspector.machine.x86.linux.fpstate import Fpstate
from inspector.machine.x86.linux.process import Process, Thread
from layouts.light import partial
from layouts.x86 import call_chains
from layouts.x86.xsave import DYNAMIC, PKRU

KVM_MAX_XCRS = 16
KVM_MAX_CPUID_ENTRIES = 256
_ZERO: CpuidValues = (0, 0, 0, 0)


def _user_image(host: Host, image: bytes, xfeatures: int, pkru: int, bv: int, *, size_bytes: int) -> bytes:
    """__copy_xstate_to_uabi_buf: PKRU from the vCPU, the host's mask in the software area."""
    registers = images.load(image, bv, host.kernel_places(xfeatures))
    registers.components[PKRU] = pkru.to_bytes(8, "little")
    given = images.user_image(registers, bv, host.user_places(host.user_max), size_bytes, host.user_max)
    # MXCSR and its mask are copied as one where SSE or AVX has state, else both are initial.
    return images.with_mxcsr_mask(given, images.mxcsr_mask(image)) if bv & 6 else given


class Vcpu:
    """One vCPU. Its registers lie in ``fpstate`` between runs; a run loads and saves it.

    ``thread`` is the task that does KVM_RUN, ``number`` the vCPU's own. ``xfam`` is a TD's.
    """

    def __init__(self, process: Process, number: int = 0, thread: Thread | None = None) -> None:
        process.guest_perm_locked = True
        self.process = process
        self.host: Host = process.host
        self.policy = process.linux.policy
        self.number = number
        self.thread = thread or process.leader
        self.cpuid = Cpuid({})
        #: guest_supported_xcr0: what CPUID and KVM let XCR0 have.
        self.guest_xcr0 = 0
        self.ran = False
        self.xcr0 = 1
        self.xss = 0
        self.xfd_err = 0
        self.s_cet = 0
        self.pkru = self.host_pkru = 0
        self.xfam = 0
        self.cr4_osxsave = False
        self.fpstate = Fpstate.of_guest(self.host)
        self.process.linux.trace.costs.allocated_bytes += self.fpstate.size_bytes
        #: A non-zero XFD was seen: reads and writes no longer exit, #NM does (xfd_no_write_intercept).
        self.passthrough = False
        self.intercepts = Intercepts()
        #: The proposal: KVM_RUN is on its way out, and the FPU core will be asked for a larger buffer.
        self.wants_buffer = False
        self.fpstate.is_virtual_xfd = self.policy.is_proposal
        #: Inside KVM_RUN; and there, whether the guest itself runs on the thread's CPU.
        self.in_run = self.in_guest = False

    # What the guest's CPUID allows

    @property
    def large(self) -> bool:
        """The buffer has room for dynamic components."""
        return bool(self.fpstate.xfeatures & DYNAMIC)

    @property
    def xfd(self) -> int:
        """The guest's XFD as KVM knows it."""
        return self.fpstate.xfd

    @property
    def guest_xss(self) -> int:
        """guest_supported_xss."""
        values = self.cpuid.get(0xD, 1)
        return (values[2] | values[3] << 32) & self.host.kvm_xss if values else 0

    @property
    def has_xfd(self) -> bool:
        """The guest has CPUID(0xD,1).EAX[4], and KVM supports it."""
        values = self.cpuid.get(0xD, 1)
        return bool(values and values[0] >> 4 & 1) and self.host.uses_xfd

    def has_cet(self, register: int, bit: int) -> bool:
        """Shadow stacks (ECX 7) or IBT (EDX 20) of leaf 7, where KVM virtualizes CET."""
        values = self.cpuid.get(7)
        return bool(values and values[register] >> bit & 1) and bool(self.host.kvm_xss)

    @property
    def user_xfeatures(self) -> int:
        """Components that images from user space may have: the buffer has room for them."""
        return self.fpstate.user_xfeatures

    @property
    def uabi_size_bytes(self) -> int:
        """What KVM_GET_XSAVE2 returns."""
        return max(KVM_XSAVE_SIZE_BYTES, self.fpstate.user_size_bytes) if self.large else KVM_XSAVE_SIZE_BYTES

    # ioctls

    def set_cpuid(self, leaves: Mapping[tuple[int, int], CpuidValues]) -> Outcome:
        """KVM_SET_CPUID2: permission and buffer for dynamic components are settled here."""
        rule = Rule("kvm_set_cpuid, kvm_check_cpuid (cpuid.c), fpu_enable_guest_xfd_features (fpu/core.c)")
        if not rule.check(f"at most {KVM_MAX_CPUID_ENTRIES} entries", len(leaves) <= KVM_MAX_CPUID_ENTRIES):
            return rule.refuse(errno.E2BIG)
        if self.ran:
            same = dict(leaves) == self.cpuid.leaves
            if not rule.check("after the first run: the table is the one that was set", same):
                return rule.refuse(errno.EINVAL)
            return rule.ok()
        address_bits = leaves.get((0x80000008, 0), _ZERO)[0] >> 8 & 0xFF
        if not rule.check("linear addresses of 48 or 57 bits, or none said", address_bits in (0, 48, 57)):
            return rule.refuse(errno.EINVAL)
        eax, _, _, edx = leaves.get((0xD, 0), _ZERO)
        wanted = eax & self.host.kernel.user_dynamic
        if wanted and not self.large:
            permitted = self.process.guest_perm & wanted == wanted
            if not rule.check("the process has guest permission for component 18", permitted):
                return rule.refuse(errno.EPERM)
            if self.policy.allocates == "KVM_SET_CPUID2":
                if not rule.check("memory for the larger buffer is there (fpstate_realloc)", self.process.allocate()):
                    return rule.refuse(errno.EFAULT)
                self.grow()
        self.cpuid = Cpuid(leaves)
        self.guest_xcr0 = (eax | edx << 32) & self.host.kvm_xcr0
        self.intercepts.after_set_cpuid(self)
        return rule.ok()

    def log(self, text: str, calls: tuple[str, ...] = ()) -> None:
        """Say what KVM does for this vCPU, and in which functions; the proposal names none."""
        self.process.linux.log(self.thread, f"vCPU {self.number}: {text}", () if self.policy.is_proposal else calls)

    def grow(self) -> None:
        """Room for the dynamic components that the process's guests may use (fpstate_realloc); never inside KVM_RUN."""
        self.fpstate = self.fpstate.larger(self.host, self.process.guest_perm & DYNAMIC)
        self.process.linux.trace.costs.allocated_bytes += self.fpstate.size_bytes
        self.log(f"guest's buffer is now {self.fpstate.size_bytes} bytes", call_chains.GUEST_BUFFER)

    def check_xcr(self, rule: Rule, index: int, value: int) -> bool:
        """__kvm_set_xcr: the seven checks of an XCR0 value."""
        return (
            rule.check("the register is XCR0", index == 0)
            and rule.check("bit 0 (x87) is set", value & 1)
            and check_xcr0(rule, value, self.guest_xcr0 | 1, "the guest's CPUID and KVM have")
        )

    def set_xcrs(self, *entries: tuple[int, int], flags: int = 0) -> Outcome:
        """KVM_SET_XCRS with entries (register, value).

        The first entry for XCR0 counts; entries for other registers are passed over, and so is what follows.
        """
        rule = Rule("kvm_vcpu_ioctl_x86_set_xcrs, __kvm_set_xcr (x86.c)")
        held = (not self.xfam or rule.check("not a TD: its state is protected", held=False)) and rule.check(
            f"at most {KVM_MAX_XCRS} entries, no flags", len(entries) <= KVM_MAX_XCRS and not flags
        )
        values = [value for register, value in entries if register == 0]
        if held and not values:
            rule.check("no entry is for XCR0: nothing is set", held=True)
            return rule.ok()
        if not held or not self.check_xcr(rule, 0, values[0]):
            return rule.refuse(errno.EINVAL)
        return rule.ok() if self.store_xcr0(rule, values[0]) else rule.refuse(errno.EFAULT)

    def store_xcr0(self, rule: Rule, value: int) -> bool:
        """Take a value that the checks let through; False, and nothing changed, without memory."""
        before, self.xcr0 = self.xcr0, value
        if self._reallocate(rule):
            return True
        self.xcr0 = before
        return False

    def check_msr(self, rule: Rule, index: int, value: int, *, guest: bool) -> bool:
        """The checks of __kvm_set_msr and kvm_set_msr_common."""
        if index == MSR_XSS:
            values = self.cpuid.get(0xD, 1)
            has_xsaves = bool(values and values[0] >> 3 & 1)
            # kvm_do_msr_access lets the host write 0 to what it lists (kvm_probe_msr_to_save: XSS where KVM has some of
            # it); before 6.18, when KVM had none, kvm_set_msr_common asked for XSAVES only of a guest's WRMSR.
            is_listed = bool(self.host.kvm_xss) or not self.host.kernel.kvm_xss
            return rule.check(
                "the guest has XSAVES, or the host writes 0 to an XSS that KVM has",
                has_xsaves or (not guest and not value and is_listed),
            ) and (
                rule.check(f"within what the guest may have in XSS ({self.guest_xss:#x})", not value & ~self.guest_xss)
            )
        if index in CET_STATE or index == MSR_S_CET:
            if not guest and not value and not (self.has_cet(2, 7) or self.has_cet(3, 20)):
                return rule.check("the host writes 0 to an MSR that the guest lacks", self.host.kvm_xss)
            return check_cet(rule, index, value, has_shstk=self.has_cet(2, 7), has_ibt=self.has_cet(3, 20))
        if guest and not rule.check("the guest's CPUID has XFD", self.has_xfd):
            return False
        if not self.host.kernel.user_dynamic and not rule.check("KVM has XFD (from 5.17 on)", held=False):
            return False
        allowed = self.guest_xcr0 & DYNAMIC
        return rule.check(f"only dynamic components of the guest's XCR0 ({allowed:#x})", not value & ~allowed)

    def set_msr(self, index: int, value: int) -> Outcome:
        """KVM_SET_MSRS with one entry; refused means that the ioctl counts one less."""
        rule = Rule("kvm_set_msr_common, vmx_set_msr (x86.c, vmx.c)")
        if self.xfam and not rule.check("not a TD: its MSRs are the TDX module's", held=False):
            return rule.refuse(errno.EINVAL)
        if not self.check_msr(rule, index, value, guest=False):
            return rule.refuse(errno.EINVAL)
        return rule.ok() if self.store_msr(rule, index, value) else rule.refuse(errno.EFAULT)

    def get_msr(self, index: int) -> Outcome:
        """KVM_GET_MSRS with one entry; what the guest's CPUID lacks is not read, unless it is 0 for the host.

        Of a TD none of these is KVM's (tdx_has_emulated_msr, vmx/tdx.c): the call stops there, as for an MSR it lacks.
        """
        rule = Rule("kvm_get_msr_common (x86.c)")
        if self.xfam and not rule.check("not a TD: its MSRs are the TDX module's", held=False):
            return rule.short(0, 1)
        if index in (MSR_XFD, MSR_XFD_ERR):
            there = rule.check("KVM has XFD", self.host.uses_xfd)
            value = self.xfd if index == MSR_XFD else self.xfd_err
        elif index == MSR_XSS:
            there, value = rule.check("KVM has XSAVES", self.host.has(0xD, 1, 0, 3)), self.xss
        else:
            there = rule.check("KVM has CET, and so has the guest's CPUID", self.has_cet(2, 7) or self.has_cet(3, 20))
            value = self.s_cet
            if index in CET_STATE:
                component, offset = CET_STATE[index]
                raw = self.fpstate.registers(self.host).get(component)
                value = int.from_bytes(raw[offset : offset + 8], "little")
        return rule.ok(value) if there else rule.short(0, 1)

    def store_msr(self, rule: Rule, index: int, value: int) -> bool:
        """Take a value that the checks let through; False, and nothing changed, without memory."""
        if index == MSR_XFD:
            return self._store_xfd(rule, value)
        if index == MSR_XFD_ERR:
            self.xfd_err = value
            self.log(f"XFD_ERR := {value:#x}", self._msr_calls)
        elif index == MSR_XSS:
            self.xss = value
        elif index == MSR_S_CET:
            self.s_cet = value
        else:
            component, offset = CET_STATE[index]
            registers = self.fpstate.registers(self.host)
            registers.write(component, offset, value.to_bytes(8, "little"))
            bv = self.fpstate.xstate_bv | 1 << component
            places = self.host.kernel_places(self.fpstate.xfeatures)
            self.fpstate.image = images.store(self.fpstate.image, registers, 1 << component, bv, places)
        return True

    def _store_xfd(self, rule: Rule, value: int) -> bool:
        """fpu_update_guest_xfd, and the passthrough that follows (vmx_set_msr).

        It leaves XSTATE_BV alone: TIF_NEED_FPU_LOAD, upon which commit b45f72177594 takes bits out, is clear in a
        thread that makes an ioctl and in one whose guest's WRMSR exits.
        """
        fpstate, thread = self.fpstate, self.thread
        before = fpstate.xfd
        fpstate.xfd = value
        if not self._reallocate(rule):
            fpstate.xfd = before
            return False
        if fpstate.in_use and thread.cpu is not None and not fpstate.is_virtual_xfd:
            self.process.linux.write_xfd(thread.cpu, value)
        self.log(f"XFD := {value:#x}", self._msr_calls)
        if value and not self.policy.is_proposal and not self.passthrough:
            self.passthrough = True
            self.log("XFD is passed through, #NM is trapped", self._msr_calls[1:])
        return True

    @property
    def _msr_calls(self) -> tuple[str, ...]:
        return call_chains.MSR_BY_EXIT if self.in_run else call_chains.MSR_BY_IOCTL

    def _reallocate(self, rule: Rule) -> bool:
        """The proposal's room on demand: XCR0[i]=1 and XFD[i]=0 for a component without room.

        An ioctl gets it at once. In KVM_RUN the exit goes on to user space, and the FPU core gives it on the way.
        """
        wanted = self.xcr0 & ~self.fpstate.xfd & DYNAMIC
        if not self.policy.is_proposal or self.large or not wanted:
            return True
        if self.in_run:
            rule.check("KVM_RUN goes back to the VMM: the guest needs a larger buffer", held=True)
            self.wants_buffer = True
            return True
        return self.give_buffer(rule)

    def give_buffer(self, rule: Rule) -> bool:
        """The FPU core's part: a larger buffer, from which on XFD is passed through."""
        if not rule.check("memory for the larger buffer is there", self.process.allocate()):
            return False
        self.wants_buffer = False
        self.grow()
        self.passthrough = True
        self.fpstate.is_virtual_xfd = False
        self.log("XFD is passed through")
        return True

    # Images

    def get_xsave(self) -> Outcome:
        """KVM_GET_XSAVE: 4096 bytes, or EINVAL when the state is larger."""
        rule = Rule("kvm_vcpu_ioctl_x86_get_xsave (x86.c)")
        if not rule.check("the state fits in 4096 bytes", self.uabi_size_bytes <= KVM_XSAVE_SIZE_BYTES):
            return rule.refuse(errno.EINVAL)
        return self._give(rule)

    def get_xsave2(self) -> Outcome:
        """KVM_GET_XSAVE2: the state, however large."""
        rule = Rule("kvm_vcpu_ioctl_x86_get_xsave2 (x86.c)")
        if not self.host.kernel.kvm_xsave2 and not rule.check("KVM has the ioctl (from 5.17 on)", held=False):
            return rule.refuse(errno.EINVAL)
        return self._give(rule)

    def _give(self, rule: Rule) -> Outcome:
        if self.xfam and not rule.check("not a TD: its state is protected", held=False):
            return rule.refuse(errno.EINVAL)
        return rule.ok(image=self.user_image())

    @property
    def visible_bv(self) -> int:
        """XSTATE_BV as user space sees it: without what the guest's CPUID lacks."""
        return self.fpstate.xstate_bv & self.user_xfeatures & (self.guest_xcr0 | 3)

    def user_image(self) -> bytes:
        """The state in the standard format."""
        return self.image_maker()()

    def image_maker(self) -> Callable[[], bytes]:
        """What makes the state as it is now into a standard image, whenever it is asked."""
        fpstate, bv = self.fpstate, self.visible_bv
        return partial(
            _user_image, self.host, fpstate.image, fpstate.xfeatures, self.pkru, bv, size_bytes=self.uabi_size_bytes
        )

    def set_xsave(self, image: bytes) -> Outcome:
        """KVM_SET_XSAVE: the header's rules, against what KVM supports and the buffer has room for."""
        rule = Rule("fpu_copy_uabi_to_guest_fpstate (fpu/core.c), copy_uabi_to_xstate (fpu/xstate.c)")
        if self.xfam and not rule.check("not a TD: its state is protected", held=False):
            return rule.refuse(errno.EINVAL)
        size = self.uabi_size_bytes
        if not rule.check(f"{size} bytes are there", len(image) >= size):
            return rule.refuse(errno.EFAULT)
        # What XFD turns off is dropped first (commit b45f72177594, in 6.1.y and 6.12.y as well).
        bv = images.xstate_bv(image) & ~self.fpstate.xfd
        held = (
            rule.check(f"XSTATE_BV within KVM's XCR0 ({self.host.kvm_xcr0:#x})", not bv & ~self.host.kvm_xcr0)
            and rule.check(
                f"XSTATE_BV within the buffer's components ({self.user_xfeatures:#x})", not bv & ~self.user_xfeatures
            )
            and rule.check("XCOMP_BV is 0 (standard format)", not images.xcomp_bv(image))
            and rule.check("the header's reserved bytes are 0", not any(images.reserved(image)))
            and rule.check(
                "MXCSR has no reserved bit, where x87, SSE or AVX is restored",
                not bv & 7 or not images.mxcsr(image) >> 16,
            )
        )
        if not held:
            return rule.refuse(errno.EINVAL)
        registers = self.fpstate.put(self.host, image, bv)
        if bv >> PKRU & 1:
            self.pkru = int.from_bytes(registers.get(PKRU)[:4], "little")
        return rule.ok()
