"""What ``inspector sim --help`` says beside its options: examples, and the words of events."""

from __future__ import annotations

import textwrap

from layouts.coming import coming_words

_WORDS = """\
  inspector sim list
  inspector sim snapshot-einval
  inspector sim new --host granite-rapids --lab
  inspector sim new --host cpuid-r.txt --why 18
  inspector sim restore --from sample:amx
  inspector sim guest-xfd --save tiles.xsave
  inspector sim two-buffers --save machine.vcpu
  inspector sim --from-log strace.txt --host emerald-rapids --kernel 6.18
  inspector sim host-oops --event 'guest tilerelease'
  inspector sim arm64-grace-to-graviton3
  inspector sim arm64-sve-abi --against proposal
  inspector sim guest-xfd --against 'kernel=6.1 host=granite-rapids'
  inspector sim my.events                        a file, or - for standard input: an event a line, # comments, and
                                                 before them host=CPU kernel=RELEASE policy=NAME
  inspector sim new --host neoverse-v1 --to a64fx --event KVM_CREATE_VM --event 'KVM_CREATE_VM host=1'
  inspector sim new --host zen5 --event KVM_CREATE_VCPU --event 'KVM_SET_CPUID2 amx'

events of x86
of a Linux: the host's, or with "guest" before them that of the guest after guest boot
  arch_prctl REQ_XCOMP_PERM|REQ_XCOMP_GUEST_PERM N | GET_XCOMP_SUPP|GET_XCOMP_PERM|GET_XCOMP_GUEST_PERM
  process INSTRUCTION | clone | fork | exec | schedule | kernel_thread | sigaltstack SIZE | signal | sigreturn
  core | PTRACE_GETREGSET | PTRACE_SETREGSET [XSTATE_BV [SIZE]] | fail_allocation
of KVM
  KVM_CREATE_VM [tdx] | KVM_TDX_INIT_VM XFAM | KVM_CREATE_VCPU | KVM_CHECK_EXTENSION CAP
  KVM_GET_SUPPORTED_CPUID | KVM_SET_CPUID2 supported|captured|amx|no-amx|avx-only|tilecfg-only|unknown-bits-3-19
  KVM_SET_XCRS [XCR:]VALUE... [flags=N] | KVM_GET_XCRS | KVM_SET_MSRS MSR VALUE [MSR VALUE...] | KVM_GET_MSRS MSR
  KVM_GET_XSAVE | KVM_GET_XSAVE2 | KVM_SET_XSAVE [captured|cut|XSTATE_BV]
  KVM_RUN (the guest's next instructions are in one run) | exit [fast] | preempt | softirq | return
of the guest
  guest boot [KERNEL] | guest INSTRUCTION
instructions
  xsetbv VALUE | xgetbv 0|1 | wrmsr MSR VALUE | rdmsr MSR      MSR: XFD XFD_ERR XSS U_CET S_CET PL0_SSP..PL3_SSP
  ldtilecfg [PALETTE] | sttilecfg | tilerelease | tilezero N | tileloadd N | tilestored N
  movdqu N | vmovdqu N | vmovdqu64 N | kmovq N [VALUE] | wrpkru VALUE | rdpkru | rdssp | incssp N
  xsave|xsaveopt|xsavec|xsaves [MASK] | xrstor|xrstors [MASK [XSTATE_BV]]
Anywhere in an event: cpu=N (where on the host), vcpu=N, thread=N.

events of arm64
of /dev/kvm and the VM
  open | KVM_GET_API_VERSION | KVM_CHECK_EXTENSION CAP [vm] | KVM_CREATE_VM [IPA_BITS] [protected] | KVM_ENABLE_CAP CAP
  KVM_SET_USER_MEMORY_REGION SLOT ADDRESS SIZE [FLAGS] | KVM_ARM_GET_REG_WRITABLE_MASKS | KVM_ARM_PREFERRED_TARGET
  KVM_CREATE_DEVICE vgic-v2|vgic-v3|its | KVM_SET_DEVICE_ATTR VGIC_ADDR|VGIC_CTRL_INIT|PMU_V3_IRQ|PMU_V3_INIT
of the vCPU
  KVM_CREATE_VCPU [N] | KVM_ARM_VCPU_INIT [target=N] STATE|FEATURE... | KVM_ARM_VCPU_FINALIZE SVE | KVM_RUN
  KVM_GET_REG_LIST | KVM_GET_ONE_REG REGISTER[.FIELD]|all | KVM_SET_ONE_REG REGISTER[.FIELD] VALUE|STATE
  KVM_SET_ONE_REG SVE_VLS LENGTH...|STATE | KVM_SET_ONE_REG STATE (every register of it)
  KVM_ARM_VCPU_GET_SVE_VLS | KVM_ARM_VCPU_SET_SVE_VLS LENGTH...|STATE   (the interface as proposed)
of the guest, at EL1
  guest mrs REGISTER | guest msr REGISTER VALUE | guest fadd | guest rdvl | guest smstart | guest pacia
STATE is saved (by KVM_GET_ONE_REG all), captured (--from) or model:NAME,PROPERTY=VALUE (inspector models list).
FEATURE: POWER_OFF EL1_32BIT PSCI_0_2 PMU_V3 SVE PTRAUTH HAS_EL2 HAS_EL2_E2H0 PMU_V3_STRICT bitN. A long VALUE: aa..
Anywhere in an event: vcpu=N, vm=N (KVM_CREATE_VM again makes the next), host=N (--to and a scenario's destinations
are 1 and on). Hosts also CPU,pkvm=on (kvm-arm.mode=protected).

With --kernel next also what series that are not merged would bring; what hangs on them is depends-on:
{not_merged}

The exit code is 1 when an event was refused."""
#: Examples, and the words of events.
EXAMPLES = _WORDS.format(
    not_merged="\n".join(
        textwrap.fill(f"{arch}: {' '.join(coming_words(arch))}", 118, initial_indent="  ", subsequent_indent="    ")
        for arch in ("x86", "arm64")
    )
)
