"""X0524 to X0532: nested state against EFER, CR4, CPUID and events."""

from __future__ import annotations

from collections.abc import Iterator

from inspector.lint.registry import Hit, check
from inspector.lint.state import State
from layouts.x86.kvm import KVM_NESTED_STATE

_VMX, _SVM = 0, 1
#: vmxon_pa outside VMX operation.
_INVALID_GPA = (1 << 64) - 1
_FEATURES = {_VMX: "1.0.ecx.vmx", _SVM: "80000001.0.ecx.svm"}
_VENDORS = {
    "GenuineIntel": _VMX,
    "CentaurHauls": _VMX,
    "  Shanghai  ": _VMX,
    "AuthenticAMD": _SVM,
    "HygonGenuine": _SVM,
}
_FLAGS = "nested_state.flags"
_HEADER_BYTES = int(KVM_NESTED_STATE.construct.sizeof())


def _is_vmx_on(state: State) -> bool:
    address = state.number("nested_state.hdr.vmxon_or_vmcb_pa")
    return state.number("nested_state.format") == _VMX and address not in (None, _INVALID_GPA)


def _is_used(state: State) -> bool:
    """More than what every vCPU of a host with nesting gives."""
    return _is_vmx_on(state) or bool(state.bit(f"{_FLAGS}.GUEST_MODE"))


@check("X0524")
def guest_mode_without_svme(state: State) -> Iterator[Hit]:
    """Flags of SVM state against EFER.SVME."""
    flags, gif = state.number(_FLAGS) or 0, state.bits(f"{_FLAGS}.GIF_SET")
    is_svm = state.number("nested_state.format") == _SVM
    if is_svm and gif and flags & ~gif.mask and state.bit("sregs.efer.SVME") == 0:
        yield Hit(_FLAGS, f"flags is {flags:#x}, EFER is {state.hex('sregs.efer')}")


@check("X0525")
def vmx_without_vmxe(state: State) -> Iterator[Hit]:
    """A VMXON region against CR4.VMXE."""
    if _is_vmx_on(state) and state.bit("sregs.cr4.VMXE") == 0 and not state.number("nested_state.hdr.smm_flags"):
        yield Hit("nested_state.hdr.vmxon_or_vmcb_pa", f"CR4 is {state.hex('sregs.cr4')}")


@check("X0526")
def not_offered(state: State) -> Iterator[Hit]:
    """The format against CPUID."""
    feature = _FEATURES.get(state.number("nested_state.format") or 0)
    if feature and _is_used(state) and state.feature(feature) is False:
        yield Hit("nested_state.format", f"CPUID has no {feature}")


@check("X0527")
def other_vendor(state: State) -> Iterator[Hit]:
    """The format against the vendor."""
    found, expected = state.number("nested_state.format"), _VENDORS.get(state.cpuid.vendor())
    if found is not None and expected is not None and found != expected and _is_used(state):
        yield Hit("nested_state.format", f"format {found}, the vendor is {state.cpuid.vendor()}")


@check("X0528")
def pending_into_nothing(state: State) -> Iterator[Hit]:
    """RUN_PENDING against GUEST_MODE."""
    if state.bit(f"{_FLAGS}.RUN_PENDING") and not state.bit(f"{_FLAGS}.GUEST_MODE"):
        yield Hit(_FLAGS, f"flags is {state.hex(_FLAGS)}")


@check("X0529")
def size(state: State) -> Iterator[Hit]:
    """Size against the bytes."""
    for area in state.areas(KVM_NESTED_STATE.name):
        said = state.number(f"{area.prefix}.size") or 0
        if not _HEADER_BYTES <= said <= len(area.data):
            yield Hit(f"{area.prefix}.size", f"size is {said}, {len(area.data)} bytes are there")


@check("X0530")
def nested_in_smm(state: State) -> Iterator[Hit]:
    """GUEST_MODE against SMM."""
    if state.bit(f"{_FLAGS}.GUEST_MODE") and state.number("vcpu_events.smi.smm"):
        yield Hit(_FLAGS, "smi.smm is 1")


@check("X0531")
def not_captured(state: State) -> Iterator[Hit]:
    """EFER.SVME and CR4.VMXE without nested state."""
    if state.has("kvm-sregs") and not state.has(KVM_NESTED_STATE.name):
        for path in ("sregs.efer.SVME", "sregs.cr4.VMXE"):
            if state.bit(path):
                yield Hit(path, f"{path.rpartition('.')[2]} is 1, the capture has no nested state")


@check("X0532")
def flags(state: State) -> Iterator[Hit]:
    """Unknown flags."""
    unknown = (state.number(_FLAGS) or 0) & ~KVM_NESTED_STATE.registers["flags"].known_mask
    if unknown:
        yield Hit(_FLAGS, f"flags has {unknown:#x}")
