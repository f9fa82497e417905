"""What an x86 host supports: CPUID and the kernel's masks (Linux fpu/xstate.c, kvm/x86.c)."""

from __future__ import annotations

from functools import cached_property

from inspector.capture.host import Cpuid, CpuidValues
from inspector.decode.placement import XsaveTable, compacted_places, standard_places, table_from_cpuid
from layouts.x86.cpus import cpu_layouts
from layouts.x86.kernels import KernelProfile

TILECFG = 17
TILEDATA = 18
XTILE = 1 << TILECFG | 1 << TILEDATA
AVX512 = 0xE0
MPX = 0x18
_CET = 0x1800
#: Components that the kernel allocates on demand (XFEATURE_MASK_USER_DYNAMIC).
DYNAMIC = 1 << TILEDATA
#: User components that Linux and KVM know (XFEATURE_MASK_USER_SUPPORTED, KVM_SUPPORTED_XCR0).
_KERNEL_USER = 0x602FF
_KVM_XCR0 = 0x602FF
#: Components that need a CPUID bit of their own: number -> (leaf, register, bit).
_NEEDS = {3: (7, 1, 14), 4: (7, 1, 14), 9: (7, 2, 4), TILECFG: (7, 3, 24), TILEDATA: (7, 3, 24)}
#: Largest signal frame without the FPU image, on a 64-bit kernel with IA32 emulation.
_FRAME_SIZE_BYTES = 736
_FSAVE_SIZE_BYTES = 112
_MAGIC2_SIZE_BYTES = 4


class Host:
    """A host: its processor by CPUID, its kernel by profile.

    ``emulated``: the processor is the emulator of the recorded answers, which does not get
    back what a guest buffer of the default size holds when a vCPU runs again (docs/x86-machine.md).
    """

    def __init__(self, cpuid: Cpuid, kernel: KernelProfile, *, emulated: bool = False) -> None:
        self.cpuid = cpuid
        self.kernel = kernel
        self.emulated = emulated

    @cached_property
    def table(self) -> XsaveTable:
        """Where this CPU puts components."""
        return table_from_cpuid(self.cpuid.xsave_table(), "CPUID of the host") or XsaveTable((), "none")

    def _bit(self, leaf: int, register: int, bit: int) -> bool:
        values = self.cpuid.get(leaf)
        return bool(values and values[register] >> bit & 1)

    @cached_property
    def cpu_xcr0(self) -> int:
        """User components that the CPU enumerates."""
        values = self.cpuid.get(0xD)
        return values[0] | values[3] << 32 if values else 3

    @cached_property
    def has_xfd(self) -> bool:
        """CPUID(0xD,1).EAX[4]."""
        values = self.cpuid.get(0xD, 1)
        return bool(values and values[0] >> 4 & 1)

    @cached_property
    def xfd_capable(self) -> int:
        """Components with CPUID(0xD,n).ECX[2]: the bits that IA32_XFD may have."""
        return sum(1 << n for n, values in self.cpuid.xsave_table().items() if n >= 2 and values[2] & 4)

    @cached_property
    def user_max(self) -> int:
        """fpu_user_cfg.max_features: what Linux sets XCR0 to."""
        mask = self.cpu_xcr0 & _KERNEL_USER
        for component, (leaf, register, bit) in _NEEDS.items():
            if not self._bit(leaf, register, bit):
                mask &= ~(1 << component)
        return mask if self.has_xfd else mask & ~DYNAMIC

    @property
    def user_default(self) -> int:
        """fpu_user_cfg.default_features: permitted to everybody."""
        return self.user_max & ~DYNAMIC

    @cached_property
    def kvm_xcr0(self) -> int:
        """kvm_caps.supported_xcr0. VMX without the MPX controls drops MPX."""
        return self.user_max & _KVM_XCR0 & ~MPX

    @cached_property
    def kvm_xss(self) -> int:
        """kvm_caps.supported_xss: what KVM knows and the CPU has; CET in user and kernel, or not at all."""
        values = self.cpuid.get(0xD, 1)
        mask = self.kernel.kvm_xss & (values[2] | values[3] << 32) if values else 0
        return mask if mask & _CET == _CET else mask & ~_CET

    def standard_size_bytes(self, mask: int) -> int:
        """Size of a standard image with these components."""
        placed = standard_places(self.table, mask | 3, 1 << 16)
        return max((place.offset + place.size_bytes for place in placed), default=576)

    def compacted_size_bytes(self, mask: int) -> int:
        """Size of a compacted image with these components."""
        placed = compacted_places(self.table, mask & ~3)
        return max((place.offset + place.size_bytes for place in placed), default=576)

    def frame_size_bytes(self, user_size_bytes: int) -> int:
        """get_sigframe_size() for a user image of this size (kernel/signal.c)."""
        size = _FRAME_SIZE_BYTES + 15 + user_size_bytes + _MAGIC2_SIZE_BYTES + _FSAVE_SIZE_BYTES + 63
        return -(-size // 16) * 16

    @property
    def frame_without_state_bytes(self) -> int:
        """The largest signal frame less its FPU state (max_frame_size - fpu_default_state_size)."""
        state = self.standard_size_bytes(self.user_max)
        return self.frame_size_bytes(state) - state - _MAGIC2_SIZE_BYTES - _FSAVE_SIZE_BYTES


def shipped_cpu(name: str) -> Cpuid:
    """A shipped CPU's leaf 0xD, and the bits of leaf 7 that its components ask for."""
    leaf_0xd = cpu_layouts()[name].leaf_0xd
    leaf_7 = [0, 0, 0, 0]
    for component, (_, register, bit) in _NEEDS.items():
        if leaf_0xd[0][0] >> component & 1:
            leaf_7[register] |= 1 << bit
    leaves: dict[tuple[int, int], CpuidValues] = {(0xD, subleaf): values for subleaf, values in leaf_0xd.items()}
    leaves[7, 0] = (leaf_7[0], leaf_7[1], leaf_7[2], leaf_7[3])
    return Cpuid(leaves)
