"""KVM_SET_XSAVE, KVM_GET_XSAVE2, KVM_SET_FPU and their KVM_GET of a whole vCPU, by kernel and host.

Source: Linux arch/x86/kvm/x86.c (kvm_vcpu_ioctl_x86_get_xsave, set_xsave, kvm_arch_vcpu_ioctl_set_fpu; 5.10:
fill_xsave, load_xsave); arch/x86/kernel/fpu/core.c, fpu_copy_uabi_to_guest_fpstate, fpu_copy_guest_fpstate_to_uabi.
"""

from __future__ import annotations

import errno

from inspector.machine.outcome import Outcome, Rule
from inspector.machine.x86.cpu import images
from inspector.machine.x86.kvm.supported import KVM_XSAVE_SIZE_BYTES
from layouts.light import TYPE_CHECKING
from layouts.x86.kvm import KVM_FPU
from layouts.x86.xsave import LEGACY_SIZE_BYTES, PKRU

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.whole import WholeVcpu

FPU_SIZE_BYTES = int(KVM_FPU.construct.sizeof())
_LEGACY = LEGACY_SIZE_BYTES
_X87_SSE = 3
_MXCSR_CHECK = "MXCSR has no reserved bit"
#: struct kvm_fpu and the FXSAVE image: where each part is, in both, and its size. st registers, fcw to fsw, ftwx,
#: last_opcode, last_ip and last_dp, xmm. MXCSR is not copied in either direction.
_FPU_PARTS = ((0, 32, 128), (128, 0, 4), (132, 4, 1), (134, 6, 2), (136, 8, 16), (152, 160, 256))
#: twd is a word, of which struct kvm_fpu has the lower byte alone.
_TAG_WORD_TOP = 5


def get_xsave(vcpu: WholeVcpu) -> bytes:
    """KVM_GET_XSAVE, or KVM_GET_XSAVE2 where the state is larger: a standard image."""
    if not vcpu.kvm.boot_has("XSAVE"):
        image = vcpu.fpstate.image[:_LEGACY] + _X87_SSE.to_bytes(8, "little")
        return image.ljust(KVM_XSAVE_SIZE_BYTES, b"\0")
    return vcpu.user_image() if vcpu.kvm.since(5, 16) else _filled(vcpu)


def set_xsave(vcpu: WholeVcpu, image: bytes) -> Outcome:
    """KVM_SET_XSAVE."""
    if not vcpu.kvm.boot_has("XSAVE"):
        return _set_fxsave(vcpu, image)
    return vcpu.set_xsave(image) if vcpu.kvm.since(5, 16) else _load(vcpu, image)


def _set_fxsave(vcpu: WholeVcpu, image: bytes) -> Outcome:
    """Without XSAVE in Linux: the legacy part alone; of the header XSTATE_BV is looked at."""
    rule = Rule("fpu_copy_uabi_to_guest_fpstate (fpu/core.c), without XSAVE")
    held = rule.check("XSTATE_BV has x87 and SSE alone", not images.xstate_bv(image) & ~_X87_SSE) and rule.check(
        _MXCSR_CHECK, not images.mxcsr(image) >> 16
    )
    if not held:
        return rule.refuse(errno.EINVAL)
    vcpu.fpstate.image = image[:_LEGACY] + vcpu.fpstate.image[_LEGACY:]
    return rule.ok()


def _load(vcpu: WholeVcpu, image: bytes) -> Outcome:
    """load_xsave of 5.10: nothing of the header but XSTATE_BV is looked at, the legacy part is copied whole."""
    rule = Rule("kvm_vcpu_ioctl_x86_set_xsave, load_xsave (x86.c)")
    bv = images.xstate_bv(image)
    held = rule.check(f"XSTATE_BV within KVM's XCR0 ({vcpu.kvm.xcr0:#x})", not bv & ~vcpu.kvm.xcr0) and rule.check(
        _MXCSR_CHECK, not images.mxcsr(image) >> 16
    )
    if not held:
        return rule.refuse(errno.EINVAL)
    host, fpstate = vcpu.host, vcpu.fpstate
    kept = bytearray(fpstate.image)
    kept[:_LEGACY] = image[:_LEGACY]
    sources = {place.component: place for place in host.user_places(host.user_max)}
    for place in host.kernel_places(fpstate.xfeatures):
        if not bv >> place.component & 1 or place.component < 2:
            continue
        at = sources[place.component].offset
        part = image[at : at + place.size_bytes]
        if place.component == PKRU:
            vcpu.pkru = int.from_bytes(part[:4], "little")
        else:
            kept[place.offset : place.offset + place.size_bytes] = part
    fpstate.image = images.with_xstate_bv(bytes(kept), bv)
    return rule.ok()


def _filled(vcpu: WholeVcpu) -> bytes:
    """fill_xsave of 5.10: the legacy part as it lies there, components that XSTATE_BV and the guest's CPUID have."""
    host, fpstate = vcpu.host, vcpu.fpstate
    bv = fpstate.xstate_bv & (vcpu.guest_xcr0 | _X87_SSE)
    made = bytearray(KVM_XSAVE_SIZE_BYTES)
    made[:_LEGACY] = fpstate.image[:_LEGACY]
    made[_LEGACY : _LEGACY + 8] = bv.to_bytes(8, "little")
    targets = {place.component: place for place in host.user_places(host.user_max)}
    for place in host.kernel_places(fpstate.xfeatures):
        if place.component < 2 or not bv >> place.component & 1:
            continue
        at = targets[place.component].offset
        part = fpstate.image[place.offset : place.offset + place.size_bytes]
        if place.component == PKRU:
            part = vcpu.pkru.to_bytes(4, "little")
        made[at : at + len(part)] = part
    return bytes(made)


def get_fpu(vcpu: WholeVcpu) -> bytes:
    """KVM_GET_FPU: registers as they lie in the image, whatever XSTATE_BV says; MXCSR is 0."""
    image, made = vcpu.fpstate.image, bytearray(FPU_SIZE_BYTES)
    for to, at, size in _FPU_PARTS:
        made[to : to + size] = image[at : at + size]
    return bytes(made)


def set_fpu(vcpu: WholeVcpu, given: bytes) -> Outcome:
    """KVM_SET_FPU: every value is taken; XSTATE_BV and MXCSR stay. The tag word's upper byte, reserved, becomes 0."""
    rule = Rule("kvm_arch_vcpu_ioctl_set_fpu (x86.c)")
    image = bytearray(vcpu.fpstate.image)
    for at, to, size in _FPU_PARTS:
        image[to : to + size] = given[at : at + size]
    image[_TAG_WORD_TOP] = 0
    vcpu.fpstate.image = bytes(image)
    return rule.ok()
