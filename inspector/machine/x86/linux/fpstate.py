"""struct fpstate: the buffer from which Linux loads, and to which it saves, extended registers.

Source: Linux arch/x86/include/asm/fpu/types.h, struct fpstate; fpu/core.c, fpstate_init_user;
fpu/xstate.c, fpstate_realloc.
"""

from __future__ import annotations

from inspector.machine.x86.cpu import images
from inspector.machine.x86.cpu.registers import Registers
from inspector.machine.x86.host import Host


class Fpstate:
    """A buffer: its masks, its XFD, and ``image``, the kernel's XSAVE image as bytes.

    ``xfeatures`` is what the image has room for, ``user_xfeatures`` what user images may hold,
    ``user_size_bytes`` the size of such an image in the standard format.
    """

    __slots__ = (
        "image",
        "in_use",
        "is_confidential",
        "is_guest",
        "is_valloc",
        "is_virtual_xfd",
        "last_cpu",
        "user_size_bytes",
        "user_xfeatures",
        "xfd",
        "xfeatures",
        "xinuse",
    )

    def __init__(self, host: Host, xfeatures: int, user_xfeatures: int, xfd: int, *, is_guest: bool = False) -> None:
        self.xfeatures = xfeatures
        self.user_xfeatures = user_xfeatures
        self.xfd = xfd
        self.is_guest = is_guest
        self.is_valloc = is_guest
        self.is_confidential = False
        self.in_use = False
        #: The proposal's meaning of in_use: XINUSE at the last VM exit.
        self.xinuse = 0
        #: The proposal before passthrough: the guest's XFD is KVM's only, the processor keeps the host's.
        self.is_virtual_xfd = False
        #: The CPU where these registers were loaded or saved last (fpu->last_cpu), -1 for none.
        self.last_cpu = -1
        self.user_size_bytes = host.standard_size_bytes(user_xfeatures)
        self.image = host.initial_image(xfeatures)

    @classmethod
    def of_task(cls, host: Host) -> Fpstate:
        """The buffer that is part of a task: no dynamic component, XFD set for them."""
        return cls(host, host.kernel_default, host.user_default, host.default_xfd)

    @classmethod
    def of_guest(cls, host: Host) -> Fpstate:
        """A new vCPU's buffer (fpu_alloc_guest_fpstate); the guest's XFD is 0 at reset."""
        return cls(host, host.guest_default, host.user_default, 0, is_guest=True)

    def larger(self, host: Host, features: int) -> Fpstate:
        """The buffer that replaces this one, with room for more; its contents are not copied."""
        grown = Fpstate(host, self.xfeatures | features, self.user_xfeatures | features, self.xfd & ~features)
        grown.is_guest, grown.is_confidential, grown.in_use = self.is_guest, self.is_confidential, self.in_use
        grown.is_valloc, grown.is_virtual_xfd, grown.xinuse = True, self.is_virtual_xfd, self.xinuse
        grown.last_cpu = self.last_cpu
        # vzalloc and XCOMP_BV only: FCW and MXCSR are zero, and initial because XSTATE_BV is 0.
        grown.image = host.empty_image(grown.xfeatures)
        return grown

    @property
    def size_bytes(self) -> int:
        """Size of the image."""
        return len(self.image)

    @property
    def xstate_bv(self) -> int:
        """XSTATE_BV of the image."""
        return images.xstate_bv(self.image)

    def registers(self, host: Host) -> Registers:
        """What the image holds."""
        return images.load(self.image, self.xstate_bv, host.kernel_places(self.xfeatures))

    def put(self, host: Host, image: bytes, bv: int) -> Registers:
        """Take these components of a standard image; supervisor ones stay. Gives what was taken.

        x87's are the first 160 bytes, with MXCSR and its mask; SSE and AVX bring the two as well
        (copy_uabi_to_xstate in fpu/xstate.c; before 5.15 copy_kernel_to_xstate).
        """
        registers = images.load(image, bv, host.user_places(host.user_max))
        kept = self.xstate_bv & host.supervisor
        places = host.kernel_places(self.xfeatures)
        self.image = images.store(self.image, registers, bv, bv | kept, places, with_mxcsr=0)
        if bv & 7:
            self.image = images.with_mxcsr_of(self.image, image)
        return registers
