"""KVM_CHECK_EXTENSION on x86, and the attributes of /dev/kvm.

Source: Linux arch/x86/kvm/x86.c (kvm_vm_ioctl_check_extension, __kvm_x86_dev_get_attr), virt/kvm/kvm_main.c
(kvm_vm_ioctl_check_extension_generic), svm/sev.c (sev_dev_get_attr).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from inspector.machine.x86.kvm.supported import xsave2_capability
from layouts.light import TYPE_CHECKING
from layouts.x86.capabilities import BUILT, BY_RELEASE, CAPABILITIES, QUIRK_IGNORE_GUEST_PAT, QUIRKS

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.module import Kvm
    from inspector.machine.x86.kvm.whole import VmConfig

_SPLIT = 2
_PAUSE, _HLT_CSTATE, _MWAIT, _APERFMPERF = 4, 2 | 8, 1, 16
_NESTED_HEADER_SIZE_BYTES, _VMCB_SIZE_BYTES, _VMCS12_SIZES_BYTES = 128, 4096, 2 * 4096
_XSAVE2_SIZE_BYTES = 4096
_SOFT_MAX_VCPUS = 240
#: CPUID(6).ECX[0].
_APERFMPERF_BIT = (6, 0, 2, 0)


def of_release(kvm: Kvm, values: Sequence[tuple[tuple[int, int], int]]) -> int:
    """The value of the newest release that the kernel is not older than; 0 before the first."""
    return next((value for since, value in reversed(values) if kvm.since(*since)), 0)


def supported_quirks(kvm: Kvm) -> int:
    """kvm_caps.supported_quirks: without self-snoop on Intel, or two-dimensional paging, PAT is not ignored."""
    quirks = of_release(kvm, QUIRKS)
    honest = not kvm.uses_tdp or (kvm.is_vmx and not kvm.boot_has("SELFSNOOP"))
    return quirks & ~QUIRK_IGNORE_GUEST_PAT if honest else quirks


def allowed_disable_exits(kvm: Kvm) -> int:
    """kvm_get_allowed_disable_exits; APERFMPERF from 6.17 on."""
    exits = _PAUSE
    if kvm.since(6, 17) and kvm.host.has(*_APERFMPERF_BIT):
        exits |= _APERFMPERF
    if not kvm.is_on("mitigate_smt_rsb"):
        exits |= _HLT_CSTATE
        # kvm_can_mwait_in_guest.
        if kvm.boot_has("MWAIT") and kvm.boot_has("ARAT") and not kvm.has_bug("MONITOR"):
            exits |= _MWAIT
    return exits


def nested_state_size_bytes(kvm: Kvm) -> int:
    """What KVM_GET_NESTED_STATE may need; from 7.2 on 0 without ``nested``."""
    if kvm.is_pvm or (kvm.since(7, 2) and not kvm.nests):
        return 0
    return _NESTED_HEADER_SIZE_BYTES + (_VMCS12_SIZES_BYTES if kvm.is_vmx else _VMCB_SIZE_BYTES)


def enlightens_vmcs(kvm: Kvm) -> bool:
    """nested_ops->enable_evmcs is there: on VMX, from 7.2 on only with ``nested``."""
    return kvm.is_vmx and not kvm.is_pvm and (kvm.nests or not kvm.since(7, 2))


def _x2apic(kvm: Kvm, vm: VmConfig | None) -> int:
    if not kvm.since(6, 19):
        return 3
    return 0xB if vm is not None and vm.irqchip != _SPLIT else 0xF


def _vm_types(kvm: Kvm, _vm: VmConfig | None) -> int:
    """kvm_caps.supported_vm_types: the default, SEV's and TDX's."""
    types = ((kvm.is_svm, "sev", 2), (kvm.is_svm, "sev_es", 3), (kvm.is_svm, "sev_snp", 4), (kvm.is_vmx, "tdx", 5))
    return 1 | sum(1 << number for mine, parameter, number in types if mine and kvm.is_on(parameter))


def _memfd(kvm: Kvm, vm: VmConfig | None) -> int:
    return int(vm is None or kvm.since(6, 18))


RULES: dict[str, Callable[[Kvm, VmConfig | None], int]] = {
    # Before 5.17 KVM asks whether the processor has a TPR shadow (flexpriority), now it is always there.
    "TPR": lambda kvm, _: int(kvm.since(5, 17) or not (kvm.is_vmx and kvm.is_on("flexpriority"))),
    "cpus": lambda kvm, _: kvm.processor.online_cpus if kvm.since(5, 16) else _SOFT_MAX_VCPUS,
    "XSAVE": lambda kvm, _: int(kvm.boot_has("XSAVE")),
    "TSC scaling": lambda kvm, _: int(kvm.scales_tsc),
    # vmx_has_emulated_msr(MSR_IA32_SMBASE): not where real mode is emulated by vm86.
    # pvm_has_emulated_msr has none.
    "SMM": lambda kvm, _: int(
        not kvm.is_pvm and (kvm.is_svm or kvm.is_on("unrestricted_guest") or kvm.is_on("emulate_invalid_guest_state"))
    ),
    "x2APIC": _x2apic,
    "exits": lambda kvm, _: allowed_disable_exits(kvm),
    "nesting": lambda kvm, _: nested_state_size_bytes(kvm),
    "Hyper-V's VMCS": lambda kvm, _: int(enlightens_vmcs(kvm)),
    "smaller MAXPHYADDR": lambda kvm, _: int(kvm.is_on("allow_smaller_maxphyaddr") if kvm.is_vmx else not kvm.uses_tdp),
    "bus locks": lambda kvm, _: 3 * ("bus_lock_detection" in kvm.processor.vmx_flags),
    "XSAVE size": lambda kvm, _: max(xsave2_capability(kvm.process()), _XSAVE2_SIZE_BYTES),
    "PMU": lambda kvm, _: int(kvm.is_on("enable_pmu")),
    "quirks": lambda kvm, _: supported_quirks(kvm),
    "notify VM exits": lambda kvm, _: int(kvm.has_notify_vmexit),
    "private memory attributes": lambda _, vm: 8 * (vm is None),
    "guest_memfd": _memfd,
    "VM types": _vm_types,
    "two-dimensional paging": lambda kvm, _: int(kvm.uses_tdp),
    "APIC bus": lambda _, vm: vm.caps.get(237, 1) if vm is not None else 1,
}


def check_extension(kvm: Kvm, vm: VmConfig | None = None) -> dict[int, int]:
    """What KVM_CHECK_EXTENSION answers for each capability that is not 0; ``vm`` is None on /dev/kvm itself."""
    found = {}
    for one in CAPABILITIES:
        if not kvm.since(*one.since):
            continue
        if one.rule == "by release":
            value = of_release(kvm, BY_RELEASE[one.name])
        else:
            value = RULES[one.rule](kvm, vm) if one.rule else one.value
        if value:
            found[one.number] = value
    return found


def hangs_on_build(kvm: Kvm, name: str) -> str:
    """The option that decides what a capability is, in words; empty where the release does."""
    since, option = BUILT.get(name, ((0, 0), ""))
    return option if kvm.since(*since) else ""


def device_attributes(kvm: Kvm) -> dict[tuple[int, int], int]:
    """KVM_GET_DEVICE_ATTR on /dev/kvm by group and attribute: XCR0 for guests; kvm-amd's of SEV, where it is off."""
    if not kvm.since(5, 17):
        return {}
    found = {(0, 0): kvm.xcr0}
    if kvm.is_svm:
        # KVM_X86_SEV_VMSA_FEATURES, KVM_X86_SNP_POLICY_BITS, KVM_X86_SEV_SNP_REQ_CERTS.
        for attribute, since in ((0, (6, 10)), (1, (6, 19)), (2, (7, 0))):
            if kvm.since(*since):
                found[1, attribute] = 0
    return found


def mce_capabilities(kvm: Kvm) -> int:
    """KVM_X86_GET_MCE_CAP_SUPPORTED: CTL_P and SER_P, on Intel LMCE_P, and CMCI_P from 6.0 on."""
    value = 1 << 8 | 1 << 24
    if kvm.is_vmx and not kvm.is_pvm:
        value |= 1 << 27
        if kvm.since(6, 0):
            value |= 1 << 10
    return value
