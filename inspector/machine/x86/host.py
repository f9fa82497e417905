"""What an x86 host supports: CPUID and the kernel's masks (Linux fpu/xstate.c, kvm/x86.c)."""

from __future__ import annotations

from inspector.capture.attributes import XsaveTable
from inspector.capture.host import Cpuid, CpuidValues
from inspector.decode.placement import Place, compacted_places, standard_places, table_from_cpuid
from inspector.machine.outcome import Evidence
from inspector.machine.x86.cpu import images
from layouts.light import cache, cached_property
from layouts.x86.cpus import cpu_layouts
from layouts.x86.kernels import X86Kernel
from layouts.x86.xsave import APX, BY_NUMBER, CET, DYNAMIC, EXTENDED_OFFSET, MPX, XTILE

#: CPUID(7,0).ECX: the CPU has protection keys, and the kernel that runs on it has turned them on.
PKU, OSPKE = 1 << 3, 1 << 4
#: CPUID(7,0).EDX: AMX-BF16, AMX-TILE, AMX-INT8.
AMX_FEATURES = 1 << 22 | 1 << 24 | 1 << 25
#: Largest signal frame without the FPU image, on a 64-bit kernel with IA32 emulation.
_FRAME_SIZE_BYTES = 736
_FSAVE_SIZE_BYTES = 112
_MAGIC2_SIZE_BYTES = 4


class Host:
    """A host: its processor by CPUID, its kernel by profile.

    ``emulated``: the processor is the emulator of the recorded answers, else it is silicon. The emulator tracks
    use by contents, looks at XFD before the tile configuration and at MXCSR before XFD, takes any TILECFG from
    an image, clears the reserved header with XSAVEC, and does not get back what a guest buffer of the default
    size holds when a vCPU runs again (docs/x86-machine.md). ``vmx_mpx``: VMX has the controls that load and clear
    BNDCFGS.
    """

    def __init__(self, cpuid: Cpuid, kernel: X86Kernel, *, emulated: bool = False, vmx_mpx: bool = False) -> None:
        self.cpuid = cpuid
        self.vmx_mpx = vmx_mpx
        self.kernel = kernel
        self.emulated = emulated
        self._images: dict[int, bytes] = {}
        # A place is asked for at each event, and a table is slow to hash.
        self._places: dict[tuple[bool, int], tuple[Place, ...]] = {}

    @cached_property
    def table(self) -> XsaveTable:
        """Where this CPU puts components."""
        return table_from_cpuid(self.cpuid.xsave_table(), "CPUID of the host") or XsaveTable((), "none")

    def has(self, leaf: int, subleaf: int, register: int, bit: int) -> bool:
        """A bit of CPUID; registers are EAX 0 to EDX 3."""
        values = self.cpuid.get(leaf, subleaf)
        return bool(values and values[register] >> bit & 1)

    def _known(self, mask: int) -> int:
        """Without the components whose feature the CPU does not have."""
        for component in BY_NUMBER.values():
            if mask >> component.number & 1 and component.feature and not self.has(7, *component.feature):
                mask &= ~(1 << component.number)
        return mask

    @cached_property
    def cpu_xcr0(self) -> int:
        """User components that the CPU enumerates."""
        values = self.cpuid.get(0xD)
        return values[0] | values[3] << 32 if values else 3

    @cached_property
    def cpu_xss(self) -> int:
        """Supervisor components that the CPU enumerates."""
        values = self.cpuid.get(0xD, 1)
        return values[2] | values[3] << 32 if values else 0

    @property
    def is_intel(self) -> bool:
        """KVM runs on VMX: Intel, Centaur and Zhaoxin."""
        return self.cpuid.vendor() in ("GenuineIntel", "CentaurHauls", "  Shanghai  ")

    @cached_property
    def evidence(self) -> Evidence:
        """Who says what this processor's instructions do: recordings, but for a vendor whose nobody recorded."""
        if self.emulated:
            return "emulator"
        return "silicon" if self.cpuid.vendor() in ("GenuineIntel", "") else "unmeasured"

    @property
    def fast_strings(self) -> bool:
        """IA32_MISC_ENABLE[0], which firmware sets; the emulator of the recorded answers has it clear."""
        return not self.emulated

    @property
    def has_shstk(self) -> bool:
        """The CPU has shadow stacks."""
        return self.has(7, 0, 2, 7)

    @property
    def has_ibt(self) -> bool:
        """The CPU has indirect branch tracking."""
        return self.has(7, 0, 3, 20)

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
        mask = self._known(self.cpu_xcr0 & self.kernel.user_supported)
        # fpu__init_system_xstate turns XSAVE off altogether: one offset for two components
        # (APX and MPX), or a size that is not the kernel's structure (paranoid_xstate_size_valid).
        if (mask & APX and mask & MPX) or not self._sizes_are_known(mask):
            return 3
        return mask if self.has_xfd else mask & ~DYNAMIC

    def _sizes_are_known(self, mask: int) -> bool:
        sizes = self.cpuid.xsave_table()
        return all(
            sizes.get(number, (0,))[0] == BY_NUMBER[number].size_bytes
            for number in range(2, mask.bit_length())
            if mask >> number & 1
        )

    @cached_property
    def default_xfd(self) -> int:
        """init_fpstate.xfd: what a task has that uses nothing dynamic, and a CPU that comes up."""
        return self.user_max & DYNAMIC

    @cached_property
    def user_default(self) -> int:
        """fpu_user_cfg.default_features: permitted to everybody."""
        return self.user_max & ~DYNAMIC

    @cached_property
    def supervisor(self) -> int:
        """Supervisor components that Linux keeps (XSS): none without XSAVES."""
        values = self.cpuid.get(0xD, 1)
        if values is None or not values[0] & 8:
            return 0
        return self._known((values[2] | values[3] << 32) & self.kernel.supervisor_supported)

    @cached_property
    def kernel_max(self) -> int:
        """fpu_kernel_cfg.max_features."""
        return self.user_max | self.supervisor

    @cached_property
    def kernel_default(self) -> int:
        """fpu_kernel_cfg.default_features: what a task's buffer has room for before it asks for more."""
        return self.kernel_max & ~(DYNAMIC | self.kernel.guest_supervisor)

    @cached_property
    def guest_default(self) -> int:
        """guest_default_cfg.features: what a new vCPU's buffer has room for."""
        return self.kernel_max & ~DYNAMIC

    @cached_property
    def compacted(self) -> bool:
        """The kernel's own images are in the compacted format: the CPU has XSAVEC or XSAVES."""
        values = self.cpuid.get(0xD, 1)
        return bool(values and values[0] & 0xA)

    @cached_property
    def kvm_xcr0(self) -> int:
        """kvm_caps.supported_xcr0. VMX without the MPX controls drops MPX."""
        return self.user_max & self.kernel.kvm_xcr0 & (~0 if self.vmx_mpx else ~MPX)

    def permitted_xcr0(self, guest_perm: int) -> int:
        """kvm_get_filtered_xcr0: dynamic components only with permission.

        Without it newer kernels hide XTILECFG too; 6.1 offers it alone, and no XCR0 can have it.
        """
        mask = self.kvm_xcr0
        if mask & DYNAMIC and not guest_perm & DYNAMIC:
            mask &= ~(XTILE if self.kernel.filters_xtile else DYNAMIC)
        return mask

    @cached_property
    def uses_xfd(self) -> bool:
        """Linux and KVM know XFD: the CPU has it, and the kernel dynamic components."""
        return self.has_xfd and bool(self.kernel.user_dynamic)

    @cached_property
    def kvm_xss(self) -> int:
        """kvm_caps.supported_xss: what KVM knows and the CPU has; CET in user and kernel, or not at all."""
        values = self.cpuid.get(0xD, 1)
        mask = self.kernel.kvm_xss & (values[2] | values[3] << 32) if values else 0
        return mask if mask & CET == CET else mask & ~CET

    def user_places(self, mask: int) -> tuple[Place, ...]:
        """Where components lie in a standard image."""
        return self._placed(mask, compacted=False)

    def kernel_places(self, mask: int) -> tuple[Place, ...]:
        """Where components lie in the kernel's own images."""
        return self._placed(mask, compacted=self.compacted)

    def compacted_places(self, mask: int) -> tuple[Place, ...]:
        """Where components lie in a compacted image."""
        return self._placed(mask, compacted=True)

    def _placed(self, mask: int, *, compacted: bool) -> tuple[Place, ...]:
        found = self._places.get((compacted, mask))
        if found is None:
            table = self.table
            found = compacted_places(table, mask & ~3) if compacted else standard_places(table, mask | 3)
            self._places[compacted, mask] = found
        return found

    def kernel_size_bytes(self, mask: int) -> int:
        """Size of a kernel image with these components."""
        return _end(self.kernel_places(mask))

    def standard_size_bytes(self, mask: int) -> int:
        """Size of a standard image with these components."""
        return _end(self.user_places(mask))

    def compacted_size_bytes(self, mask: int) -> int:
        """Size of a compacted image with these components."""
        return _end(self.compacted_places(mask))

    def empty_image(self, mask: int) -> bytes:
        """A kernel image as vzalloc and XCOMP_BV make it."""
        return images.empty(self.kernel_size_bytes(mask), images.compacted_xcomp(mask) if self.compacted else 0)

    def initial_image(self, mask: int) -> bytes:
        """A kernel image with FCW and MXCSR and nothing else (fpstate_init_user)."""
        found = self._images.get(mask)
        if found is None:
            found = self._images[mask] = images.with_defaults(self.empty_image(mask))
        return found

    def frame_size_bytes(self, user_size_bytes: int) -> int:
        """get_sigframe_size() for a user image of this size (kernel/signal.c)."""
        size = _FRAME_SIZE_BYTES + 15 + user_size_bytes + _MAGIC2_SIZE_BYTES + _FSAVE_SIZE_BYTES + 63
        return -(-size // 16) * 16

    @property
    def frame_without_state_bytes(self) -> int:
        """The largest signal frame less its FPU state (max_frame_size - fpu_default_state_size)."""
        state = self.standard_size_bytes(self.user_max)
        return self.frame_size_bytes(state) - state - _MAGIC2_SIZE_BYTES - _FSAVE_SIZE_BYTES


def _end(places: tuple[Place, ...]) -> int:
    """Places are in the order of their offsets."""
    return places[-1].offset + places[-1].size_bytes if places else EXTENDED_OFFSET


@cache
def shipped_host(cpu: str, kernel: X86Kernel) -> Host:
    """A host with a shipped CPU; the same one each time, for what it has worked out."""
    return Host(shipped_cpu(cpu), kernel)


def shipped_cpu(name: str) -> Cpuid:
    """A shipped CPU's leaf 0xD, and the bits of leaf 7 that its components ask for."""
    leaf_0xd = cpu_layouts()[name].leaf_0xd
    one = leaf_0xd.get(1, (0, 0, 0, 0))
    leaves: dict[tuple[int, int], CpuidValues] = {(0xD, subleaf): values for subleaf, values in leaf_0xd.items()}
    signature = cpu_layouts()[name].signature
    vendor = signature.vendor if signature is not None else "GenuineIntel"
    ebx, edx, ecx = (int.from_bytes(vendor[at : at + 4].encode(), "little") for at in (0, 4, 8))
    leaves[0, 0] = (0xD, ebx, ecx, edx)
    return Cpuid({**leaves, **enumerated_features(leaf_0xd[0][0] | one[2])})


def booted(cpuid: Cpuid) -> Cpuid:
    """CPUID as a Linux sees it that has turned PKU on: OSPKE follows CR4.PKE (setup_pku, kernel/cpu/common.c)."""
    eax, ebx, ecx, edx = cpuid.get(7) or (0, 0, 0, 0)
    return Cpuid({**cpuid.leaves, (7, 0): (eax, ebx, ecx | (OSPKE if ecx & PKU else 0), edx)})


def enumerated_features(components: int) -> dict[tuple[int, int], CpuidValues]:
    """Leaf 7 with the bits that these components ask for, and no other."""
    features = {0: [0, 0, 0, 0], 1: [0, 0, 0, 0]}
    for component in BY_NUMBER.values():
        if components >> component.number & 1 and component.feature:
            subleaf, register, bit = component.feature
            features[subleaf][register] |= 1 << bit
    if features[0][2] & OSPKE:
        features[0][2] |= PKU
    return {(7, subleaf): (eax, ebx, ecx, edx) for subleaf, (eax, ebx, ecx, edx) in features.items()}
