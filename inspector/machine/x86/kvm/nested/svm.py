"""Nested state on AMD: format 1, a VMCB after the header.

Source: Linux arch/x86/kvm/svm/nested.c (svm_set_nested_state, svm_get_nested_state, nested_vmcb_check_controls,
nested_vmcb_check_save).
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

from inspector.machine.outcome import Outcome, Rule
from inspector.machine.x86.kvm.debugregs import valid_dr
from inspector.machine.x86.kvm.efer import valid_efer
from inspector.machine.x86.kvm.nested.state import GIF_SET, GUEST_MODE, HEADER_SIZE_BYTES, RUN_PENDING, NestedState
from inspector.machine.x86.kvm.pat import PAT, PAT_RESET, valid_pat
from inspector.machine.x86.kvm.segments import SEGMENTS, Segment
from inspector.machine.x86.kvm.sregs import legal_cr3, valid_cr4
from layouts.light import NamedTuple
from layouts.x86.vcpu_rules import nested_checks_of_7_1, tlb_control_is_checked

VMCB_SIZE_BYTES = 4096
_SAVE = 0x400
CR0_PE, CR0_NW, CR0_CD, CR0_PG = 1, 1 << 29, 1 << 30, 1 << 31
CR4_PAE = 1 << 5
EFER_LME, EFER_SVME = 1 << 8, 1 << 12
RFLAGS_VM = 1 << 17
_SEGMENT_L, _SEGMENT_DB = 1 << 9, 1 << 10
_NP_ENABLE = 1
_V_NMI_ENABLE = 1 << 26
_MSRPM_SIZE_BYTES, _IOPM_SIZE_BYTES = 0x2000, 0x3000
_INJECTED = 1 << 31
_INJECTED_TYPES = (0, 2, 3, 4)
_EXCEPTION = 3
#: Exceptions that any guest has, and those of a feature (nested_svm_event_inj_valid_exept).
_EXCEPTIONS = frozenset((0, 1, *range(3, 9), *range(10, 15), *range(16, 20), 28, 30))
_EXCEPTION_OF = {21: "SHSTK", 29: "SEV_ES"}
#: TLB_CONTROL_DO_NOTHING, TLB_CONTROL_FLUSH_ALL_ASID.
_TLB_CONTROLS = (0, 1)
#: KVM_X86_QUIRK_NESTED_SVM_SHARED_PAT (from 7.2 on): L2 has L1's PAT, and hdr.svm.gpat is 0.
_QUIRK_SHARED_PAT = 1 << 11
_LMA_WITHOUT_LME, _LME_AND_LMA = 0x400, 0x500


class Vmcb(NamedTuple):
    """The fields of a VMCB that KVM checks (AMD APM vol. 2, appendix B)."""

    intercepts: int
    iopm: int
    msrpm: int
    asid: int
    tlb_control: int
    interrupts: int
    nested_control: int
    injected: int
    nested_cr3: int
    cs_attributes: int
    efer: int
    cr4: int
    cr3: int
    cr0: int
    dr7: int
    dr6: int
    rflags: int

    @classmethod
    def read(cls, image: bytes) -> Vmcb:
        """From its 4096 bytes."""
        places = (
            *((0, 24), (0x40, 8), (0x48, 8), (0x58, 4), (0x5C, 1), (0x60, 4), (0x90, 8), (0xA8, 4), (0xB0, 8)),
            *((_SAVE + at, size) for at, size in ((0x12, 2), (0xD0, 8), (0x148, 8), (0x150, 8), (0x158, 8))),
            *((_SAVE + at, size) for at, size in ((0x160, 8), (0x168, 8), (0x170, 8))),
        )
        return cls(*(int.from_bytes(image[at : at + size], "little") for at, size in places))

    def intercepts_event(self, number: int) -> bool:
        """vmcb12_is_intercept: VMRUN is 128, NMI 97."""
        return bool(self.intercepts >> number & 1)


#: Offsets in a VMCB: of the save area's DR6 and DR7, segments and MSRs that VMRUN does not save.
_SAVED_DR6, _SAVED_DR7, _DR7_RESET = 0x568, 0x560, 0x400
_SAVED_SEGMENTS = {"fs": 0x440, "gs": 0x450, "ldt": 0x470, "tr": 0x490}
_SYSENTER = (0x175, 0x176)
_SAVED_MSRS = {
    0xC0000081: 0x600,
    0xC0000082: 0x608,
    0xC0000083: 0x610,
    0xC0000084: 0x618,
    0xC0000102: 0x620,
    0x174: 0x628,
    0x175: 0x630,
    0x176: 0x638,
    PAT: 0x668,
}


class SvmNested(NestedState):
    """GIF, and the L1 hypervisor's VMCB while the vCPU is in its guest."""

    format = 1
    source = "svm_set_nested_state (svm/nested.c)"

    gif = True
    vmcb_pa = 0
    gpat = 0
    vmcb = bytes(VMCB_SIZE_BYTES)

    @property
    def blocks_init(self) -> bool:
        """svm_apic_init_signal_blocked: GIF is clear."""
        return not self.gif

    def leave(self) -> None:
        """svm_leave_nested: from 7.0 on GIF is set where the vCPU was in its guest."""
        if self.vcpu.is_guest_mode and self.vcpu.kvm.since(7, 0):
            self.gif = True
        super().leave()

    def saved(self) -> tuple[int, bytes, bytes]:
        """svm_get_nested_state."""
        flags = GIF_SET * self.gif
        if not self.vcpu.is_guest_mode:
            return flags, b"", b""
        flags |= GUEST_MODE | RUN_PENDING * self.run_pending
        return flags, self.vmcb_pa.to_bytes(8, "little") + self.gpat.to_bytes(8, "little"), self._saved_vmcb()

    def _saved_vmcb(self) -> bytes:
        """L1's VMCB. From 5.13 on it is one of KVM's own, to which only what VMRUN saves was copied.

        (svm_copy_vmrun_state: not DR6. The halves of SYSENTER_ESP and EIP above bit 31 are kept beside it.)
        """
        if not self.vcpu.kvm.since(5, 13):
            return self.vmcb
        made = bytearray(self.vmcb)
        for offset, value in self._not_copied():
            made[offset : offset + 8] = value.to_bytes(8, "little")
        return bytes(made)

    def _not_copied(self) -> Iterator[tuple[int, int]]:
        """The words of L1's save area that are the vCPU's own: what VMLOAD loads, DR6, DR7, the PAT."""
        vcpu = self.vcpu
        yield from ((_SAVED_DR6, 0), (_SAVED_DR7, _DR7_RESET))
        for name, offset in _SAVED_SEGMENTS.items():
            found = Segment.of(vcpu.segments[SEGMENTS.index(name)])
            yield offset, found.selector | found.vmcb_attributes << 16 | found.limit << 32
            yield offset + 8, found.base
        for index, offset in _SAVED_MSRS.items():
            value = vcpu.msrs.get(index, PAT_RESET if index == PAT else 0)
            yield offset, value & 0xFFFFFFFF if index in _SYSENTER else value

    def restore(self, rule: Rule, flags: int, size: int, image: bytes) -> Outcome:
        """svm_set_nested_state: outside of guest mode only GIF is taken."""
        vcpu = self.vcpu
        held = rule.check("no flags of VMX", not flags & ~(GUEST_MODE | RUN_PENDING | GIF_SET))
        if held and not vcpu.efer & EFER_SVME:
            # From 7.0 on GIF may be clear: clearing SVME does not set it.
            allowed = (0, GIF_SET) if vcpu.kvm.since(7, 0) else (GIF_SET,)
            held = rule.check("EFER.SVME is set, or only GIF is", flags in allowed)
        held = held and (not flags & GUEST_MODE or rule.check("no guest mode in SMM", not vcpu.is_smm))
        if not held:
            return rule.refuse(errno.EINVAL)
        if not flags & GUEST_MODE:
            self.leave()
            self.gif = bool(flags & GIF_SET)
            return rule.ok()
        address = int.from_bytes(image[8:16], "little")
        data = image[HEADER_SIZE_BYTES : HEADER_SIZE_BYTES + VMCB_SIZE_BYTES].ljust(VMCB_SIZE_BYTES, b"\0")
        held = rule.check("the VMCB's address is a page of the guest's", self.page_address_valid(address))
        held = held and rule.check("a VMCB follows the header", size >= HEADER_SIZE_BYTES + VMCB_SIZE_BYTES)
        vmcb, gpat = Vmcb.read(data), int.from_bytes(image[16:24], "little")
        if not held or not self._check(rule, vmcb) or not self._check_gpat(rule, vmcb, gpat):
            return rule.refuse(errno.EINVAL)
        self.gpat = gpat if self._has_own_pat(vmcb) else 0
        return self._enter(rule, flags, address, data)

    def _enter(self, rule: Rule, flags: int, address: int, data: bytes) -> Outcome:
        """All checks are done. 5.10 takes neither GIF nor that a run is pending."""
        if self.vcpu.kvm.since(5, 11):
            self.gif = bool(flags & GIF_SET)
            self.run_pending = bool(flags & RUN_PENDING)
        self.vcpu.is_guest_mode = True
        self.vmcb_pa, self.vmcb = address, data
        return rule.ok()

    def _check(self, rule: Rule, vmcb: Vmcb) -> bool:
        return (
            self._check_controls(rule, vmcb)
            and rule.check("the vCPU's CR0 has no NW without CD", self.vcpu.cr0 & (CR0_NW | CR0_CD) != CR0_NW)
            and self._check_save(rule, vmcb)
        )

    def _pages(self, vmcb: Vmcb) -> bool:
        """Nested paging; from 7.1 on what the guest cannot use is cleared (__nested_copy_vmcb_control_to_cache)."""
        return bool(vmcb.nested_control & _NP_ENABLE) and (not self.vcpu.kvm.since(7, 1) or self.vcpu.guest.has("NPT"))

    def _check_controls(self, rule: Rule, vmcb: Vmcb) -> bool:
        """nested_vmcb_check_controls."""
        kvm, pages = self.vcpu.kvm, self._pages(vmcb)
        held = (
            rule.check("VMRUN is intercepted", vmcb.intercepts_event(128))
            and rule.check("the ASID is not 0", vmcb.asid)
            and (not pages or rule.check("nested paging needs NPT on the host", kvm.uses_tdp))
        )
        if held and pages and self._checks_as_7_1:
            held = rule.check("nested CR3 is within the guest's width", self.legal_gpa(vmcb.nested_cr3))
        if not held or not kvm.since(5, 11):
            return held
        held = rule.check(
            "the MSR bitmap is within the guest's width", self._legal_map(vmcb.msrpm, _MSRPM_SIZE_BYTES)
        ) and rule.check("the I/O bitmap is within the guest's width", self._legal_map(vmcb.iopm, _IOPM_SIZE_BYTES))
        if held and tlb_control_is_checked(kvm.release):
            held = rule.check("TLB_CONTROL is 0 or 1", vmcb.tlb_control in _TLB_CONTROLS)
        if held and kvm.since(6, 4) and vmcb.interrupts & _V_NMI_ENABLE:
            held = rule.check("virtual NMIs need NMI intercepted", vmcb.intercepts_event(97))
        return held and (not kvm.since(7, 1) or self._check_injected(rule, vmcb.injected))

    @property
    def _checks_as_7_1(self) -> bool:
        """The checks that came with 7.1, and with updates of older series."""
        return nested_checks_of_7_1(self.vcpu.kvm.release)

    def _legal_map(self, address: int, size: int) -> bool:
        start = address & ~0xFFF
        return self.legal_gpa(start) and self.legal_gpa(start + size - 1)

    def _check_injected(self, rule: Rule, event: int) -> bool:
        """nested_svm_check_event_inj."""
        if not event & _INJECTED:
            return True
        kind, vector = event >> 8 & 7, event & 0xFF
        held = rule.check("the injected event's type is known", kind in _INJECTED_TYPES)
        if not held or kind != _EXCEPTION:
            return held
        feature = _EXCEPTION_OF.get(vector)
        known = vector in _EXCEPTIONS if feature is None else self.vcpu.guest.has(feature)
        return rule.check("an injected exception's vector is one that the guest has", known)

    def _has_own_pat(self, vmcb: Vmcb) -> bool:
        """l2_has_separate_pat."""
        return self._pages(vmcb) and self.vcpu.kvm.since(7, 2) and not self.vcpu.has_quirk(_QUIRK_SHARED_PAT)

    def _check_gpat(self, rule: Rule, vmcb: Vmcb, gpat: int) -> bool:
        return not self._has_own_pat(vmcb) or rule.check("L2's PAT has memory types", valid_pat(gpat))

    def _check_save(self, rule: Rule, vmcb: Vmcb) -> bool:
        """L1's state from before VMRUN (nested_vmcb_check_save; 5.10 looks at CR0.PG and EFER.SVME)."""
        held = rule.check("L1's CR0 has PG", vmcb.cr0 & CR0_PG)
        if held and not self.vcpu.kvm.since(5, 11):
            return rule.check("L1's EFER has SVME", vmcb.efer & EFER_SVME)
        held = (
            held
            and rule.check("L1's CR0 has PE", vmcb.cr0 & CR0_PE)
            and rule.check("L1's RFLAGS has no VM", not vmcb.rflags & RFLAGS_VM)
        )
        if held and self.vcpu.kvm.since(7, 3):
            held = rule.check("L1's EFER has no LMA without LME", vmcb.efer & _LME_AND_LMA != _LMA_WITHOUT_LME)
        held = (
            held
            and rule.check("L1's EFER has SVME", vmcb.efer & EFER_SVME)
            and rule.check("L1's CR0 has no NW without CD", vmcb.cr0 & (CR0_NW | CR0_CD) != CR0_NW)
            and rule.check("L1's CR0 has 32 bits", not vmcb.cr0 >> 32)
            and rule.check("L1's DR6 and DR7 have 32 bits", valid_dr(vmcb.dr6) and valid_dr(vmcb.dr7))
        )
        return held and self._check_long(rule, vmcb) and self._check_features(rule, vmcb)

    def _check_long(self, rule: Rule, vmcb: Vmcb) -> bool:
        if not vmcb.efer & EFER_LME:
            return True
        held = rule.check("L1's long mode has PAE", vmcb.cr4 & CR4_PAE) and rule.check(
            "L1's CR3 is within the guest's width", legal_cr3(self.vcpu, vmcb.cr3)
        )
        both = _SEGMENT_L | _SEGMENT_DB
        if held and self._checks_as_7_1:
            held = rule.check("L1's CS is not 64-bit and 32-bit at once", vmcb.cs_attributes & both != both)
        return held

    def _check_features(self, rule: Rule, vmcb: Vmcb) -> bool:
        """__kvm_is_valid_cr4, kvm_valid_efer: the same rules as for KVM_SET_SREGS."""
        return valid_cr4(self.vcpu, rule, vmcb.cr4) and valid_efer(self.vcpu, rule, vmcb.efer)
