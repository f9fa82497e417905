"""The odd states of the section ``run``, by the recorder's words: what is changed in which structure.

A change is ``field=value`` or ``field|=value`` or ``field&=value`` in the recorder's structure; numbers as in C.
"""

from __future__ import annotations

#: Changes of struct kvm_sregs over the state ``long``.
SREGS = {
    "cs.l=0 cs.db=0": "cs.l=0",
    "cs.l=0 db=1 (compat)": "cs.l=0 cs.db=1",
    "cs.l=1 db=1": "cs.db=1",
    "cs type 3 (data)": "cs.type=3",
    "cs not present": "cs.present=0",
    "cs s=0": "cs.s=0",
    "cs unusable": "cs.unusable=1",
    "cs dpl 3": "cs.dpl=3",
    "ss unusable": "ss.unusable=1",
    "ss dpl 3": "ss.dpl=3",
    "ss type 11": "ss.type=11",
    "ss not present": "ss.present=0",
    "tr unusable": "tr.unusable=1",
    "tr type 3": "tr.type=3",
    "tr type 9": "tr.type=9",
    "tr not present": "tr.present=0",
    "tr s=1": "tr.s=1",
    "tr selector TI": "tr.selector|=4",
    "tr limit with low bits 0 g=1": "tr.limit=0xff000 tr.g=1",
    "ldt type 0 usable": "ldt.unusable=0 ldt.type=0 ldt.present=1",
    "fs base non-canonical": "fs.base=0x800000000000",
    "gdt base non-canonical": "gdt.base=0x800000000000",
    "idt base non-canonical": "idt.base=0x800000000000",
    "idt limit 0": "idt.limit=0",
    "cr3 = 0 (no tables)": "cr3=0",
    "cr3 outside memory": "cr3=0x40000000",
    "cr3 high bit 40": "cr3|=0x10000000000",
    "cr3 bit 3,4": "cr3|=0x18",
    "cr4.pge smep umip": "cr4|=0x80",
    "cr4 vmxe": "cr4|=0x2000",
    "efer.svme": "efer|=0x1000",
    "efer.lma without lme": "efer=0x400",
    "efer.lme without lma, paging": "efer=0x100",
    "efer.nx": "efer|=0x800",
    "cr0 cd nw": "cr0|=0x60000000",
    "cr0 ne off": "cr0&=~0x20",
    "cr0 wp off": "cr0&=~0x10000",
    "cr0.em": "cr0|=4",
    "cr8=15": "cr8=15",
    "apic disabled": "apic_base=0xfee00000",
    "apic x2apic": "apic_base=0xfee00d00",
    "real mode, reset state kept": "cr0=0x10 efer=0 cr4=0 cs.base=0 cs.selector=0 cs.l=0 cs.limit=0xffff cs.g=0",
    "protected, cr0.pg=0, efer.lme": "cr0=0x31 efer=0x100 cs.l=0 cs.db=1",
    "PAE paging, pdpte reserved bit": "efer=0 cs.l=0 cs.db=1 cr3=0x8000",
    "PAE paging, pdpte ok": "efer=0 cs.l=0 cs.db=1 cr3=0x8000",
    "PAE paging, cr3 outside memory": "efer=0 cs.l=0 cs.db=1 cr3=0x40000000",
    "SMEP/SMAP set, then CPUID min": "",
}
#: Of struct kvm_regs.
REGS = {
    "rflags bit1 clear": "rflags=0",
    "rflags vm in long mode": "rflags=0x20002",
    "rflags tf": "rflags=0x102",
    "rflags high bits": "rflags=0x10000000002",
    "rflags bit 3,5,15": "rflags=0x802a",
    "rflags if": "rflags=0x202",
    "rip non-canonical": "rip=0x800000000000",
    "rip unmapped": "rip=0x40000000",
    "rip high half": "rip=0xffff800000000000",
    "rsp non-canonical": "rsp=0x800000000000",
}
#: Of struct kvm_debugregs.
DEBUGREGS = {
    "dr7 gd": "dr7=0x2400",
    "dr7 low bits": "dr7=0x4ff",
    "dr6 ones low": "dr6=0xffffffff",
    "dr7 bit 11,12": "dr7=0x1c00",
    "dr0 = rip, enabled": "db0=0x10000 dr7=0x401",
}
#: Of struct kvm_vcpu_events, whose flags are 0 else.
EVENTS = {
    "inject #UD": "injected=1 vector=6",
    "inject #GP with error": "injected=1 vector=13 has_error_code=1 error_code=0x18",
    "inject #PF no error code": "injected=1 vector=14",
    "inject #UD with error code": "injected=1 vector=6 has_error_code=1",
    "inject exception 15": "injected=1 vector=15",
    "inject exception 9": "injected=1 vector=9",
    "inject exception 31": "injected=1 vector=31",
    "inject exception 3": "injected=1 vector=3",
    "inject exception 4": "injected=1 vector=4",
    "inject #DB": "injected=1 vector=1",
    "inject interrupt 0x30 (idt too short)": "interrupt_injected=1 interrupt_vector=0x30",
    "inject soft interrupt 3": "interrupt_injected=1 interrupt_vector=3 interrupt_soft=1",
    "inject interrupt 20 with IF=0": "interrupt_injected=1 interrupt_vector=20",
    "nmi injected": "nmi_injected=1",
    "nmi pending": "nmi_pending=1 flags=1",
    "nmi masked + injected": "nmi_injected=1 nmi_masked=1",
    "nmi + exception + interrupt": "nmi_injected=1 injected=1 vector=6 interrupt_injected=1 interrupt_vector=20",
    "shadow 1": "flags=4 shadow=1",
    "shadow 3": "flags=4 shadow=3",
    "smm set": "flags=8 smm=1",
    "smi pending": "flags=8 smi_pending=1",
    "latched init outside smm": "flags=8 latched_init=1",
    "sipi vector": "flags=2 sipi_vector=0x9a",
    "triple fault pending": "flags=0x20 triple_fault=1",
}
#: Changes of struct kvm_sregs over the state ``long``; the leaf, register and bits that the table set next lacks.
TABLES = {
    "osxsave in cr4, xcr0=7, then CPUID without XSAVE": ("cr4|=0x40000", 1, 2, 1 << 26 | 1 << 28),
    "sregs long mode, then CPUID without LM": ("", 0x80000001, 3, 1 << 29),
}
#: MSRs that are written.
EFER = {
    "tsc_aux, efer by msr: lma cleared while paging": 0x100,
    "efer by msr: lme cleared while paging": 0,
}
