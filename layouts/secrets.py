"""What a report leaves out unless it is asked to keep it: which fields tell more than how a state was saved, and why.

Paths are globs over field paths (``[`` and ``]`` are literal), case-insensitive. Zero is never a secret: what is all
zero stays. Bytes that no field claims, and those of which no layout is known, are memory.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from layouts.light import lru_cache


class Secret(NamedTuple):
    """Fields that are left out: their kind, a key of :data:`KINDS`, and what they would tell."""

    kind: str
    why: str
    paths: tuple[str, ...]


MEMORY, KEY, POINTER, NAME = "memory", "key", "pointer", "name"

#: The words that ``--keep`` takes for a whole kind, and what the kind is.
KINDS = {
    MEMORY: "what programs and guests compute with",
    KEY: "secrets of the CPU and of protocols",
    POINTER: "where code, stacks and page tables lie",
    NAME: "files, commands, users and machines",
}

SECRETS = (
    Secret(
        KEY,
        "pointer authentication keys: with them pointers can be forged (Arm ARM D8.10)",
        ("sysreg.AP??Key*",),
    ),
    Secret(KEY, "the seed of MTE's tags (Arm ARM, RGSR_EL1)", ("sysreg.RGSR_EL1",)),
    Secret(KEY, "software context numbers, against branch prediction attacks", ("sysreg.SCXTNUM_EL*",)),
    Secret(KEY, "where the kernel put the random bytes of stack canaries (getauxval(3))", ("auxv.AT_RANDOM",)),
    Secret(
        MEMORY,
        "vector registers carry what is copied, and the round keys of AES",
        (
            *("*.xmm[*]", "*.ymm[*]", "*.zmm[*]", "*.ymm_hi128[*]", "*.zmm_hi256[*]", "*.k[*]", "*.tmm[*]"),
            *("core.v[*]", "*sve.z[*]", "*sve.p[*]", "*sve.ffr", "*sve.v*[*]", "za.*[*]", "zt0*"),
        ),
    ),
    Secret(MEMORY, "x87 and MMX registers", ("*.st[*]", "fpr[*]", "st[*]")),
    Secret(MEMORY, "state of devices and of QEMU itself, with buffers that the guest filled", ("qemu.*",)),
    Secret(
        MEMORY,
        "no table here says what it holds",
        (
            "*.gap[*",
            "*.reserved416",
            "msr.MSR_0x*",
            "sysreg.S?_?_C*",
            "sysreg32.*",
            "gdb.*",
            "xsave*.component*",
            "xsave*.lwp.*",
        ),
    ),
    Secret(
        MEMORY,
        "words that a debugger or another CPU passed",
        ("sysreg.DBGDTR*", "sysreg.OSDTR*", "sysreg.ACCDATA_EL1"),
    ),
    Secret(MEMORY, "what a signal carried", ("siginfo.fields",)),
    Secret(
        POINTER,
        "general registers: addresses, arguments, whatever the program had at hand",
        (
            *("regs.r?x", "regs.r?i", "regs.r?p", "regs.r?", "regs.r1?", "regs.e?x", "regs.e?i", "regs.e?p"),
            *("core.x[*]", "core.sp*", "core.pc", "core.elr_el1", "xsave*.apx.r[*]"),
        ),
    ),
    Secret(
        POINTER,
        "bases of segments and descriptor tables: KASLR and thread pointers",
        (
            *("*.fs_base", "*.gs_base", "sregs*.?s.base", "sregs*.tr.base", "sregs*.ldt.base", "sregs*.gdt.base"),
            *("sregs*.idt.base", "msr.IA32_FS_BASE", "msr.IA32_GS_BASE", "msr.IA32_KERNEL_GS_BASE", "tls.*"),
            *("sysreg.TPIDR*", "sysreg.CONTEXTIDR_EL*"),
        ),
    ),
    Secret(
        POINTER,
        "page tables, and the address that faulted last",
        (
            *("sregs*.cr2", "sregs*.cr3", "sregs*.pdptrs[*]", "vcpu_events.exception_payload", "siginfo.si_addr"),
            *("sysreg.TTBR*", "sysreg.VTTBR*", "sysreg.FAR_EL*", "sysreg.HPFAR*", "sysreg.PFAR*", "sysreg.MFAR*"),
            *("sysreg.PAR_EL1", "sysreg.VNCR*", "sysreg.ERXADDR*", "msr.IA32_MC*_ADDR", "msr.IA32_MC*_MISC"),
            *("sysreg.LORSA*", "sysreg.LOREA*", "sysreg.PMBPTR*", "sysreg.TRBPTR*", "sysreg.TRBBASER*"),
        ),
    ),
    Secret(
        POINTER,
        "entry points and stacks of the kernel",
        (
            *("msr.IA32_LSTAR", "msr.IA32_CSTAR", "msr.IA32_SYSENTER_E*", "msr.IA32_FRED_*SP*", "msr.IA32_FRED_CONFIG"),
            *("sysreg.VBAR*", "sysreg.RVBAR*", "sysreg.ELR*", "sysreg.SP_EL*", "sysreg.DLR_EL0"),
        ),
    ),
    Secret(
        POINTER,
        "shadow stacks",
        (
            *("msr.IA32_PL?_SSP", "msr.IA32_INT*_SSP_TAB*", "msr.*GUEST_SSP", "shstk.ssp", "*.pl3_ssp", "*.pl_ssp[*]"),
            *("*.gcspr_el0", "sysreg.GCSPR*"),
        ),
    ),
    Secret(
        POINTER,
        "the last instruction, operand, branch or breakpoint",
        (
            *("*.fip", "*.fdp", "*.last_ip", "*.last_dp", "debugregs.db[*]", "hw_*.slot[*].addr", "sysreg.DBG?VR*"),
            *("msr.MSR_LAST*", "msr.MSR_LBR*", "msr.IA32_LBR_*FROM*", "msr.IA32_LBR_*TO*", "*.ler_from", "*.ler_to"),
            *("*.lbr.*.from", "*.lbr.*.to", "*.from", "*.to", "sysreg.BRBSRC*", "sysreg.BRBTGT*"),
        ),
    ),
    Secret(
        POINTER,
        "memory that the guest shares with the CPU or the hypervisor",
        (
            *("msr.IA32_DS_AREA", "msr.IA32_SMBASE", "msr.MSR_VM_HSAVE_PA", "msr.MSR_KVM_*TIME*", "msr.MSR_KVM_WALL*"),
            *("msr.MSR_KVM_ASYNC_PF_EN", "msr.MSR_KVM_PV_EOI_EN", "msr.HV_X64_MSR_HYPERCALL", "msr.HV_X64_MSR_*PAGE"),
            *(
                "msr.HV_X64_MSR_REFERENCE_TSC",
                "msr.HV_X64_MSR_SI?P",
                "msr.HV_X64_MSR_*BUFFER",
                "msr.HV_X64_MSR_CRASH_P?",
            ),
            *(
                "nested_state.hdr.vm*_pa*",
                "*.rtit_output_base",
                "*.rtit_cr3_match",
                "*.addr[*].?",
                "msr.IA32_RTIT_OUTPUT*",
            ),
            *("*.uihandler", "*.uistackadjust", "*.upidaddr", "*.uittaddr", "*.lower", "*.upper", "*.bndcfgu"),
            *("*.bndstatus", "msr.IA32_BNDCFGS", "msr.IA32_UINTR_*", "msr.*GHCB*"),
        ),
    ),
    Secret(
        POINTER,
        "where the hypervisor's code, stacks and tables lie, and the address at which a guest left",
        (
            *("vmcs.host.*ip", "vmcs.host.*sp", "vmcs.host.*base", "vmcs.host.cr3", "vmcs.*_addr*"),
            *("vmcs.*pointer*", "vmcs.*eptp*", "vmcs.*qualification", "vmcs.*load.*", "vmcs.*linear*"),
            *("vmcs.*physical*", "vmcs.*SYSENTER_E*"),
            *("vmcb.*_pa", "vmcb.exit_info*", "vmcb.*cr3", "vmcb.*rip", "vmcb.*rsp", "vmcb.avic*", "vmcb.*base*"),
        ),
    ),
    Secret(
        POINTER,
        "where the program and its libraries were loaded",
        (
            *(
                "auxv.AT_PHDR",
                "auxv.AT_BASE",
                "auxv.AT_ENTRY",
                "auxv.AT_EXECFN",
                "auxv.AT_PLATFORM",
                "auxv.AT_SYSINFO*",
            ),
            *("file[*].start", "file[*].end"),
        ),
    ),
    Secret(NAME, "files that were mapped", ("file[*].name",)),
    Secret(NAME, "the program and its command line", ("prpsinfo.fname", "prpsinfo.psargs")),
)

#: Layouts all of whose bytes are left out, whatever their fields are called.
SECRET_LAYOUTS = {
    "raw": Secret(MEMORY, "no layout is known for these bytes", ()),
    "elf-arm64-paca-keys": Secret(KEY, "pointer authentication keys", ()),
    "elf-arm64-pacg-keys": Secret(KEY, "the generic authentication key", ()),
    "elf-arm64-tls": Secret(POINTER, "thread pointers", ()),
}

#: Targets whose names everybody has.
PUBLIC_SCHEMES = ("sample:", "sim:", "model:", "kvm:")

#: Lines of a log that are told as they are: they hold what a CPU can do, and no register of a guest.
PLAIN_LINES = ("calls.*CPUID*", "calls.*cpuid", "calls.*ARCH_*", "calls.*CHECK_EXTENSION", "calls.*CREATE*")

#: What is left out of the other lines: see LOG_LINES.
LOG = Secret(MEMORY, "numbers, words in quotes and paths in the lines of a log", ())
LOG_LINES = ("calls.*", "said.*")

#: Bytes of an area that no field claims.
UNCLAIMED = Secret(MEMORY, "bytes that no field claims", ())


def is_log_line(path: str) -> bool:
    """A field is a line of a log that may hold a guest's registers."""
    plain, lines = (re.compile("|".join(map(_expression, globs)), re.IGNORECASE) for globs in (PLAIN_LINES, LOG_LINES))
    return bool(lines.fullmatch(path)) and not plain.fullmatch(path)


@lru_cache(maxsize=1 << 14)
def secret_of(path: str, layout: str = "") -> Secret | None:
    """Why a field is left out of a report; None for one that stays."""
    whole = SECRET_LAYOUTS.get(layout)
    if whole is not None:
        return whole
    found = _pattern().fullmatch(path)
    return SECRETS[found.lastindex - 1] if found is not None and found.lastindex else None


@lru_cache(maxsize=1)
def _pattern() -> re.Pattern[str]:
    """One group a secret."""
    return re.compile("|".join(f"({'|'.join(map(_expression, secret.paths))})" for secret in SECRETS), re.IGNORECASE)


def _expression(glob: str) -> str:
    return re.escape(glob).replace(r"\*", ".*").replace(r"\?", ".")
