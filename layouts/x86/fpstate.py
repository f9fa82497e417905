"""struct fpstate: the head of the buffer in which Linux keeps a task's or a guest's extended registers.

Source: Linux arch/x86/include/asm/fpu/types.h. The XSAVE image follows at offset 64.
"""

from __future__ import annotations

from layouts.declare import Bytes, Int32ul, Int64ul, Struct
from layouts.vocabulary import Layout, Register, flag
from layouts.x86.xsave_views import XSTATE_BITMAP

HEAD_SIZE_BYTES = 64
_SOURCE = "Linux arch/x86/include/asm/fpu/types.h, struct fpstate"

_FLAGS = Register(
    "flags",
    "what kind of buffer it is",
    (
        flag("is_valloc", 0, "allocated on its own, not part of the task"),
        flag("is_guest", 1, "a vCPU's"),
        flag("is_confidential", 2, "the guest's registers are not in it: a TD's or an SEV-ES guest's"),
        flag("in_use", 3, "a vCPU's, in the place of the task's while KVM_RUN lasts"),
    ),
    _SOURCE,
)

FPSTATE = Layout(
    "fpstate",
    "buffer for extended registers (struct fpstate)",
    "fpstate",
    Struct(
        "size" / Int32ul * "size of the kernel's image in bytes",
        "user_size" / Int32ul * "size of an image for user space in bytes",
        "xfeatures" / Int64ul * "components that the image has room for",
        "user_xfeatures" / Int64ul * "components that images for user space may hold",
        "xfd" / Int64ul * "XFD while these registers are loaded",
        "flags" / Int32ul * "flags",
        "padding" / Bytes(28) * "padding up to the image",
    ),
    _SOURCE,
    registers={"xfeatures": XSTATE_BITMAP, "user_xfeatures": XSTATE_BITMAP, "xfd": XSTATE_BITMAP, "flags": _FLAGS},
)
