"""KVM: a vCPU's XCR0, XFD, images and runs.

Source: Linux arch/x86/kvm/x86.c, cpuid.c, vmx/vmx.c; arch/x86/kernel/fpu/core.c.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping

from inspector.capture.host import Cpuid, CpuidValues
from inspector.machine.outcome import NM, Outcome, Rule
from inspector.machine.x86.host import AVX512, DYNAMIC, MPX, XTILE, Host
from inspector.machine.x86.process import Process
from inspector.machine.x86.registers import Registers, components_of, standard_image
from layouts.x86.kernels import POLICIES, Policy

MSR_XFD = 0x1C4
MSR_XFD_ERR = 0x1C5
MSR_XSS = 0xDA0
KVM_XSAVE_SIZE_BYTES = 4096
PKRU = 9

_XSTATE_BV, _XCOMP_BV, _RESERVED = slice(512, 520), slice(520, 528), slice(528, 576)
_HOST_PKRU = (0x55555554).to_bytes(8, "little")


def supported_xcr0(process: Process) -> int:
    """The XCR0 bits of KVM_GET_SUPPORTED_CPUID: dynamic ones only with guest permission.

    Without it newer kernels hide XTILECFG too; 6.1 offers it alone, and no XCR0 can have it.
    """
    mask = process.host.kvm_xcr0
    if mask & DYNAMIC and not process.guest_perm & DYNAMIC:
        mask &= ~(XTILE if process.host.kernel.filters_xtile else DYNAMIC)
    return mask


def supported_leaf_0xd(process: Process) -> dict[int, CpuidValues]:
    """Leaf 0xD of KVM_GET_SUPPORTED_CPUID (__do_cpuid_func, case 0xd)."""
    host = process.host
    mask = supported_xcr0(process)
    xss = host.kvm_xss
    native = host.cpuid.xsave_table()
    size = host.standard_size_bytes(mask)
    leaves: dict[int, CpuidValues] = {0: (mask & 0xFFFFFFFF, size, size, mask >> 32)}
    one = native.get(1, (0, 0, 0, 0))
    if one[0] & 0xA:
        leaves[1] = (one[0] & 0x1F, host.compacted_size_bytes(mask | xss), xss, 0)
    else:
        leaves[1] = (one[0] & 0x1F, 0, 0, 0)
    for component in range(2, 63):
        values = native.get(component)
        if values is None or not (mask | xss) >> component & 1:
            continue
        ecx = values[2] if host.has_xfd else values[2] & ~4
        leaves[component] = (values[0], 0 if values[2] & 1 else values[1], ecx, 0)
    return leaves


def supported_cpuid(process: Process, change: Callable[[int], int] = int) -> dict[tuple[int, int], CpuidValues]:
    """Entries for KVM_SET_CPUID2: the supported leaf 0xD, its XCR0 bits (EAX) changed."""
    leaves = {(0xD, subleaf): values for subleaf, values in supported_leaf_0xd(process).items()}
    eax, ebx, ecx, edx = leaves[0xD, 0]
    leaves[0xD, 0] = (change(eax), ebx, ecx, edx)
    return leaves


def xsave2_capability(process: Process) -> int:
    """KVM_CHECK_EXTENSION(KVM_CAP_XSAVE2)."""
    return max(KVM_XSAVE_SIZE_BYTES, process.host.standard_size_bytes(supported_xcr0(process)))


class Vcpu:
    """One vCPU. Its image lies in memory between runs; a run loads and saves it."""

    def __init__(self, process: Process, policy: Policy = POLICIES[0]) -> None:
        process.guest_perm_locked = True
        self.policy = policy
        self.process = process
        self.host: Host = process.host
        self.cpuid = Cpuid({})
        self.ran = False
        self.xcr0 = 1
        self.xss = 0
        self.xfd = 0
        self.xfd_err = 0
        self.cr4_osxsave = False
        self.large = False
        #: A non-zero XFD was seen: reads and writes no longer exit, #NM does (xfd_no_write_intercept).
        self.passthrough = False
        self.image = Registers()
        self.image_bv = 0
        #: Inside KVM_RUN: exits are handled in the kernel and registers stay in the processor.
        self.in_run = False
        self.resident: Registers | None = None

    # What the guest's CPUID allows

    @property
    def guest_xcr0(self) -> int:
        """guest_supported_xcr0."""
        values = self.cpuid.get(0xD)
        return (values[0] | values[3] << 32) & self.host.kvm_xcr0 if values else 0

    @property
    def guest_xss(self) -> int:
        """guest_supported_xss."""
        values = self.cpuid.get(0xD, 1)
        return (values[2] | values[3] << 32) & self.host.kvm_xss if values else 0

    @property
    def has_xfd(self) -> bool:
        """The guest has CPUID(0xD,1).EAX[4], and KVM supports it."""
        values = self.cpuid.get(0xD, 1)
        return bool(values and values[0] >> 4 & 1) and self.host.has_xfd

    @property
    def user_xfeatures(self) -> int:
        """Components that images from user space may have: the buffer has room for them."""
        return self.host.user_default | (DYNAMIC if self.large else 0)

    @property
    def uabi_size_bytes(self) -> int:
        """What KVM_GET_XSAVE2 returns."""
        return max(KVM_XSAVE_SIZE_BYTES, self.host.standard_size_bytes(self.user_xfeatures)) if self.large else 4096

    # ioctls

    def set_cpuid(self, leaves: Mapping[tuple[int, int], CpuidValues]) -> Outcome:
        """KVM_SET_CPUID2: permission and buffer for dynamic components are settled here."""
        rule = Rule("kvm_set_cpuid, kvm_check_cpuid (cpuid.c), fpu_enable_guest_xfd_features (fpu/core.c)")
        if self.ran:
            same = dict(leaves) == self.cpuid.leaves
            if not rule.check("after the first run: the table is the one that was set", same):
                return rule.refuse(errno.EINVAL)
            return rule.ok()
        values = leaves.get((0xD, 0))
        wanted = (values[0] if values else 0) & DYNAMIC
        if wanted and not self.large:
            permitted = self.process.guest_perm & wanted == wanted
            if not rule.check("the process has guest permission for component 18", permitted):
                return rule.refuse(errno.EPERM)
            if self.policy.allocates == "KVM_SET_CPUID2":
                if not rule.check("memory for the larger buffer is there (fpstate_realloc)", self.process.allocate()):
                    return rule.refuse(errno.EFAULT)
                self.large = True
                self.image, self.image_bv = Registers(), 0
        self.cpuid = Cpuid(leaves)
        return rule.ok()

    def check_xcr(self, rule: Rule, index: int, value: int) -> bool:
        """__kvm_set_xcr: the seven checks of an XCR0 value."""
        allowed = self.guest_xcr0 | 1
        return (
            rule.check("the register is XCR0", index == 0)
            and rule.check("bit 0 (x87) is set", value & 1)
            and rule.check("AVX has SSE with it", not value & 4 or value & 2)
            and rule.check(f"no bit outside what the guest's CPUID and KVM have ({allowed:#x})", not value & ~allowed)
            and rule.check("BNDREGS and BNDCSR both or none", value & MPX in (0, MPX))
            and rule.check(
                "AVX-512: all three, and AVX", not value & AVX512 or (value & AVX512 == AVX512 and value & 4)
            )
            and rule.check("XTILECFG and XTILEDATA both or none", value & XTILE in (0, XTILE))
        )

    def set_xcrs(self, value: int) -> Outcome:
        """KVM_SET_XCRS with one entry for XCR0."""
        rule = Rule("kvm_vcpu_ioctl_x86_set_xcrs, __kvm_set_xcr (x86.c)")
        if not self.check_xcr(rule, 0, value):
            return rule.refuse(errno.EINVAL)
        return rule.ok() if self.store_xcr0(rule, value) else rule.refuse(errno.EFAULT)

    def store_xcr0(self, rule: Rule, value: int) -> bool:
        """Take a value that the checks let through; False, and nothing changed, without memory."""
        before, self.xcr0 = self.xcr0, value
        if self._reallocate(rule):
            return True
        self.xcr0 = before
        return False

    def check_msr(self, rule: Rule, index: int, value: int, *, guest: bool) -> bool:
        """The checks of kvm_set_msr_common for XFD, XFD_ERR and XSS."""
        if index == MSR_XSS:
            values = self.cpuid.get(0xD, 1)
            has_xsaves = bool(values and values[0] >> 3 & 1)
            return rule.check(
                "the guest has XSAVES, or the host writes 0", has_xsaves or (not guest and not value)
            ) and (
                rule.check(f"within what the guest may have in XSS ({self.guest_xss:#x})", not value & ~self.guest_xss)
            )
        if guest and not rule.check("the guest's CPUID has XFD", self.has_xfd):
            return False
        allowed = self.guest_xcr0 & DYNAMIC
        return rule.check(f"only dynamic components of the guest's XCR0 ({allowed:#x})", not value & ~allowed)

    def set_msr(self, index: int, value: int) -> Outcome:
        """KVM_SET_MSRS with one entry; refused means that the ioctl counts one less."""
        rule = Rule("kvm_set_msr_common, vmx_set_msr (x86.c, vmx.c)")
        if not self.check_msr(rule, index, value, guest=False):
            return rule.refuse(errno.EINVAL)
        return rule.ok() if self.store_msr(rule, index, value) else rule.refuse(errno.EFAULT)

    def store_msr(self, rule: Rule, index: int, value: int) -> bool:
        """Take a value that the checks let through; False, and nothing changed, without memory."""
        if index == MSR_XFD:
            before, self.xfd = self.xfd, value
            if not self._reallocate(rule):
                self.xfd = before
                return False
            at_write = self.policy.allocates == "KVM_SET_CPUID2"
            self.passthrough = self.passthrough or (value != 0 and at_write)
        elif index == MSR_XFD_ERR:
            self.xfd_err = value
        elif index == MSR_XSS:
            self.xss = value
        return True

    def get_xsave(self) -> Outcome:
        """KVM_GET_XSAVE: 4096 bytes, or EINVAL when the state is larger."""
        rule = Rule("kvm_vcpu_ioctl_x86_get_xsave (x86.c)")
        if not rule.check("the state fits in 4096 bytes", self.uabi_size_bytes <= KVM_XSAVE_SIZE_BYTES):
            return rule.refuse(errno.EINVAL)
        return rule.ok(image=self.user_image())

    def get_xsave2(self) -> Outcome:
        """KVM_GET_XSAVE2: the state, however large."""
        return Rule("kvm_vcpu_ioctl_x86_get_xsave2 (x86.c)").ok(image=self.user_image())

    @property
    def visible_bv(self) -> int:
        """XSTATE_BV as user space sees it: without what the guest's CPUID lacks."""
        return self.image_bv & self.user_xfeatures & (self.guest_xcr0 | 3)

    def user_image(self) -> bytes:
        """__copy_xstate_to_uabi_buf: the standard format, the host's mask in the software area."""
        host = self.host
        return standard_image(
            self.image, host.user_max, host.table, self.uabi_size_bytes, host.user_max, self.visible_bv
        )

    def set_xsave(self, image: bytes) -> Outcome:
        """KVM_SET_XSAVE: the header's rules, against what KVM supports and the buffer has room for."""
        rule = Rule("fpu_copy_uabi_to_guest_fpstate (fpu/core.c), copy_uabi_to_xstate (fpu/xstate.c)")
        # What XFD turns off is dropped first (commit b45f72177594, in 6.1.y and 6.12.y as well).
        bv = int.from_bytes(image[_XSTATE_BV], "little") & ~self.xfd
        mxcsr = int.from_bytes(image[24:28], "little")
        held = (
            rule.check(f"XSTATE_BV within KVM's XCR0 ({self.host.kvm_xcr0:#x})", not bv & ~self.host.kvm_xcr0)
            and rule.check(
                f"XSTATE_BV within the buffer's components ({self.user_xfeatures:#x})", not bv & ~self.user_xfeatures
            )
            and rule.check("XCOMP_BV is 0 (standard format)", not any(image[_XCOMP_BV]))
            and rule.check("the header's reserved bytes are 0", not any(image[_RESERVED]))
            and rule.check(
                "MXCSR has no reserved bit, where x87, SSE or AVX is restored", not bv & 7 or not mxcsr >> 16
            )
        )
        if not held:
            return rule.refuse(errno.EINVAL)
        self.image = Registers(components_of(image, bv, self.host.table, self.host.user_max))
        self.image_bv = bv
        return rule.ok()

    # Runs

    def _reallocate(self, rule: Rule) -> bool:
        """The proposal's room on demand: XCR0[i]=1 and XFD[i]=0 leaves KVM_RUN with a request.

        The FPU core reallocates on the way out, and passthrough of XFD starts.
        """
        wanted = self.xcr0 & ~self.xfd & DYNAMIC
        if self.policy.allocates != "KVM_RUN" or self.large or not wanted:
            return True
        if not rule.check("KVM_RUN returns, and memory for the larger buffer is there", self.process.allocate()):
            return False
        self.large = self.passthrough = True
        return True

    def check_restore(self) -> Outcome | None:
        """What goes wrong before the guest runs: XRSTORS of live state that XFD turns off is #NM in the host.

        KVM_SET_MSRS of XFD leaves XSTATE_BV alone unless TIF_NEED_FPU_LOAD is set
        (fpu_update_guest_xfd). Recorded on 6.12.107 and 7.2.13 with an emulated CPU.
        """
        rule = Rule("fpu_swap_kvm_fpstate, XRSTORS (fpu/core.c)")
        if self.policy.keeps_in_use or self.resident is not None:
            return None
        if rule.check("no component of the image is turned off by the guest's XFD", not self.image_bv & self.xfd):
            return None
        return rule.oops(NM)

    def enter(self) -> Registers:
        """KVM_RUN loads the image; a component whose XSTATE_BV bit is 0 becomes initial.

        PKRU is swapped apart from the image: in a run it is the guest's own.
        """
        self.ran = True
        if self.resident is not None:
            return self.resident.copy()
        if self.host.emulated and not self.large:
            return Registers()
        return Registers(self.image.within(self.image_bv & ~(1 << PKRU)).components)

    def leave(self, live: Registers) -> None:
        """After an instruction: KVM_RUN returns and saves, unless events go on inside it."""
        self.resident = live
        if not self.in_run:
            self.save()

    def save(self) -> int:
        """XSAVES of what is in the processor. Returns the components that it lost.

        With the guest's XFD in force it drops what XFD turns off; the proposal's options save
        it, and the merged code accepts the loss as its ABI.
        """
        live = self.resident
        if live is None:
            return 0
        self.resident = None
        lost = 0 if self.policy.keeps_in_use else live.in_use & self.xfd
        if self.host.user_max >> PKRU & 1:
            live.components[PKRU] = _HOST_PKRU
        bv = live.in_use & ~lost
        self.image = live.within(bv)
        self.image_bv = bv
        return lost
