"""The XSAVE area: legacy region, header, every state component, whole registers.

Only the legacy region and the header have fixed offsets. Where a component lies comes
from CPUID leaf 0xD of the CPU that wrote the image (:mod:`layouts.x86.cpus`), from a
note, or in the compacted format from XCOMP_BV.
"""

from __future__ import annotations

from layouts.declare import Array, Bytes, Int8ul, Int16ul, Int32ul, Int64ul, Padded, Struct
from layouts.light import NamedTuple
from layouts.members import Member, members
from layouts.vocabulary import Bits, Component, Layout, Register, flag
from layouts.x86 import msr_registers as msr
from layouts.x86 import registers as reg

_SDM = "Intel SDM vol. 1"

#: XCOMP_BV bit 63: the image is in the compacted format.
XCOMP_COMPACTED = 1 << 63

X87 = 0
SSE = 1
AVX = 2

FXSAVE = Struct(
    "fcw" / Int16ul * "x87 control word",
    "fsw" / Int16ul * "x87 status word",
    "ftw" / Int8ul * "abridged x87 tag word",
    "reserved5" / Int8ul * "reserved",
    "fop" / Int16ul * "last x87 opcode",
    "fip" / Int64ul * "last x87 instruction (with REX.W: 64 bits, else FIP32 and FCS)",
    "fdp" / Int64ul * "last x87 operand (with REX.W: 64 bits, else FDP32 and FDS)",
    "mxcsr" / Int32ul * "SSE control and status",
    "mxcsr_mask" / Int32ul * "MXCSR bits this CPU supports (0 means 0xffbf)",
    "st" / Array(8, Padded(16, Bytes(10))) * "x87 stack register, ST(0) first; MMX in its low 64 bits",
    "xmm" / Array(16, Bytes(16)) * "SSE register",
    "reserved416" / Bytes(48) * "reserved",
)

FXSAVE_REGISTERS = {"fcw": reg.FCW, "fsw": reg.FSW, "ftw": reg.FTW, "mxcsr": reg.MXCSR}

LEGACY = Layout(
    "xsave-legacy",
    "XSAVE legacy region",
    "legacy",
    Struct(
        *FXSAVE.subcons,
        "sw_xcr0" / Int64ul * "software: Linux puts the XCR0 mask that the image's layout follows here",
        "sw_reserved" / Bytes(40) * "software area",
    ),
    f"{_SDM}, 10.5.1 and 13.4.1; Linux arch/x86/kernel/fpu/xstate.c",
    registers=FXSAVE_REGISTERS,
)

#: Component that owns each member of the legacy region; a member not named here belongs to none.
LEGACY_OWNERS = {
    "fcw": X87,
    "fsw": X87,
    "ftw": X87,
    "fop": X87,
    "fip": X87,
    "fdp": X87,
    "st": X87,
    "mxcsr": SSE,
    "xmm": SSE,
}

#: Values of an initial component that are not zero.
INITIAL_VALUES = {"fcw": 0x037F, "mxcsr": 0x1F80}

HEADER = Layout(
    "xsave-header",
    "XSAVE header",
    "header",
    Struct(
        "xstate_bv" / Int64ul * "components with data in the image; 0 = in the initial configuration",
        "xcomp_bv" / Int64ul * "bit 63: compacted format; below it, the components that have room",
        "reserved" / Bytes(48) * "must be zero",
    ),
    f"{_SDM}, 13.4.2",
)

#: Bytes of the legacy region and of the header, which are in every image, and where the first component behind lies.
LEGACY_SIZE_BYTES = int(LEGACY.construct.sizeof())
HEADER_OFFSET, HEADER_SIZE_BYTES = LEGACY_SIZE_BYTES, int(HEADER.construct.sizeof())
EXTENDED_OFFSET = HEADER_OFFSET + HEADER_SIZE_BYTES
#: Members of both by name, at their offset in the image.
LEGACY_AT = members(LEGACY.construct)
HEADER_AT = members(HEADER.construct, HEADER_OFFSET)

FPX_SW_BYTES = Struct(
    "magic1" / Int32ul * "FP_XSTATE_MAGIC1: what follows is there",
    "extended_size" / Int32ul * "bytes of the whole frame's image, with FP_XSTATE_MAGIC2 behind it",
    "xfeatures" / Int64ul * "components of the image",
    "xstate_size" / Int32ul * "bytes of the image",
    "padding" / Bytes(28) * "zero",
)
#: What Linux has in the software area of a signal frame's image (arch/x86/include/uapi/asm/sigcontext.h).
FPX_SW_AT = members(FPX_SW_BYTES, LEGACY_AT["sw_xcr0"].offset)

#: Components that live in the legacy region, by their bytes there. Of x87's, MXCSR and its mask are SSE's.
LEGACY_COMPONENTS = {X87: Member(0, LEGACY_AT["st"].end), SSE: LEGACY_AT["xmm"]}

COMPONENTS = (
    Component(X87, "x87", "x87 FPU and MMX", LEGACY_COMPONENTS[X87].size_bytes, None, f"{_SDM}, 13.5.1", touch="FNOP"),
    Component(
        SSE, "sse", "SSE: XMM and MXCSR", LEGACY_COMPONENTS[SSE].size_bytes, None, f"{_SDM}, 13.5.2", touch="MOVDQU"
    ),
    Component(
        2,
        "avx",
        "AVX: upper halves of YMM0-15",
        256,
        Struct("ymm_hi128" / Array(16, Bytes(16)) * "bits 255:128"),
        f"{_SDM}, 13.5.3",
        touch="VMOVDQU",
    ),
    Component(
        3,
        "bndregs",
        "MPX bound registers",
        64,
        Struct(
            "bnd"
            / Array(
                4,
                Struct(
                    "lower" / Int64ul * "lower bound",
                    "upper" / Int64ul * "upper bound, ones' complement",
                ),
            )
        ),
        f"{_SDM}, 13.5.4",
        feature=(0, 1, 14),
        group="mpx",
    ),
    Component(
        4,
        "bndcsr",
        "MPX configuration and status",
        64,
        Struct(
            "bndcfgu" / Int64ul * "user configuration",
            "bndstatus" / Int64ul * "status",
            "reserved" / Bytes(48) * "reserved",
        ),
        f"{_SDM}, 13.5.4",
        registers={"bndcfgu": reg.BNDCFG, "bndstatus": reg.BNDSTATUS},
        feature=(0, 1, 14),
        group="mpx",
    ),
    Component(
        5,
        "opmask",
        "AVX-512 mask registers",
        64,
        Struct("k" / Array(8, Int64ul) * "mask register"),
        f"{_SDM}, 13.5.5",
        group="avx512",
        touch="KMOVQ",
    ),
    Component(
        6,
        "zmm_hi256",
        "AVX-512: upper halves of ZMM0-15",
        512,
        Struct("zmm_hi256" / Array(16, Bytes(32)) * "bits 511:256"),
        f"{_SDM}, 13.5.5",
        group="avx512",
        touch="VMOVDQU64 ZMM0",
    ),
    Component(
        7,
        "hi16_zmm",
        "AVX-512: ZMM16-31",
        1024,
        Struct("zmm" / Array(16, Bytes(64)) * "ZMM16 + n, whole"),
        f"{_SDM}, 13.5.5",
        group="avx512",
        touch="VMOVDQU64 ZMM16",
    ),
    Component(
        8,
        "pt",
        "processor trace",
        128,
        Struct(
            "rtit_ctl" / Int64ul * "IA32_RTIT_CTL",
            "rtit_output_base" / Int64ul * "IA32_RTIT_OUTPUT_BASE",
            "rtit_output_mask" / Int64ul * "IA32_RTIT_OUTPUT_MASK_PTRS",
            "rtit_status" / Int64ul * "IA32_RTIT_STATUS",
            "rtit_cr3_match" / Int64ul * "IA32_RTIT_CR3_MATCH",
            "rtit_addr"
            / Array(
                4,
                Struct("a" / Int64ul * "IA32_RTIT_ADDRn_A", "b" / Int64ul * "IA32_RTIT_ADDRn_B"),
            ),
            "reserved" / Bytes(24) * "reserved",
        ),
        f"{_SDM}, 13.5.6",
        supervisor=True,
        registers={"rtit_ctl": msr.RTIT_CTL},
    ),
    Component(
        9,
        "pkru",
        "protection keys, user",
        8,
        Struct("pkru" / Int32ul * "key rights", "reserved" / Int32ul * "not used"),
        f"{_SDM}, 13.5.7",
        registers={"pkru": reg.PKRU},
        feature=(0, 2, 4),
        touch="RDPKRU",
    ),
    Component(
        10,
        "pasid",
        "process address space identifier",
        8,
        Struct("pasid" / Int64ul * "IA32_PASID"),
        f"{_SDM}, 13.5.8",
        supervisor=True,
        registers={"pasid": msr.PASID},
        feature=(0, 2, 29),
    ),
    Component(
        11,
        "cet_u",
        "CET, user",
        16,
        Struct(
            "u_cet" / Int64ul * "IA32_U_CET",
            "pl3_ssp" / Int64ul * "IA32_PL3_SSP: user shadow stack pointer",
        ),
        f"{_SDM}, 13.5.9",
        supervisor=True,
        registers={"u_cet": reg.CET},
        feature=(0, 2, 7),
        group="cet",
        touch="INCSSP",
    ),
    Component(
        12,
        "cet_s",
        "CET, supervisor",
        24,
        Struct("pl_ssp" / Array(3, Int64ul) * "IA32_PLn_SSP: shadow stack pointer of ring n"),
        f"{_SDM}, 13.5.9",
        supervisor=True,
        feature=(0, 2, 7),
        group="cet",
    ),
    Component(
        13,
        "hdc",
        "hardware duty cycling",
        8,
        Struct("pm_ctl1" / Int64ul * "IA32_PM_CTL1"),
        f"{_SDM}, 13.5.10",
        supervisor=True,
        registers={
            "pm_ctl1": Register(
                "IA32_PM_CTL1",
                "power management control",
                (flag("HDC_ALLOW_BLOCK", 0, "may be forced idle"),),
                "Intel SDM vol. 4 (IA32_PM_CTL1)",
            )
        },
    ),
    Component(
        14,
        "uintr",
        "user interrupts",
        48,
        Struct(
            "uihandler" / Int64ul * "IA32_UINTR_HANDLER",
            "uistackadjust" / Int64ul * "IA32_UINTR_STACKADJUST",
            "misc" / Int64ul * "UITTSZ, UINV and UIF",
            "upidaddr" / Int64ul * "IA32_UINTR_PD: posted-interrupt descriptor",
            "uirr" / Int64ul * "IA32_UINTR_RR: requests",
            "uittaddr" / Int64ul * "IA32_UINTR_TT: target table",
        ),
        f"{_SDM}, 13.5.11",
        supervisor=True,
        registers={"misc": msr.UINTR_MISC},
    ),
    Component(
        15,
        "lbr",
        "architectural last branch records",
        808,
        Struct(
            "lbr_ctl" / Int64ul * "IA32_LBR_CTL",
            "lbr_depth" / Int64ul * "IA32_LBR_DEPTH",
            "ler_from" / Int64ul * "IA32_LER_FROM_IP",
            "ler_to" / Int64ul * "IA32_LER_TO_IP",
            "ler_info" / Int64ul * "IA32_LER_INFO",
            "lbr"
            / Array(
                32,
                Struct(
                    "from" / Int64ul * "IA32_LBR_n_FROM_IP",
                    "to" / Int64ul * "IA32_LBR_n_TO_IP",
                    "info" / Int64ul * "IA32_LBR_n_INFO",
                ),
            ),
        ),
        f"{_SDM}, 13.5.12; depth 32 as in Linux struct arch_lbr_state",
        supervisor=True,
        registers={"lbr_ctl": msr.LBR_CTL},
    ),
    Component(
        16,
        "hwp",
        "hardware P-states",
        8,
        Struct("hwp_request" / Int64ul * "IA32_HWP_REQUEST"),
        f"{_SDM}, 13.5.13",
        supervisor=True,
        registers={"hwp_request": msr.HWP_REQUEST},
    ),
    Component(
        17,
        "xtilecfg",
        "AMX tile configuration",
        64,
        Struct(
            "palette_id" / Int8ul * "palette: 0 = not configured, 1 = 8 tiles of up to 16 rows x 64 B",
            "start_row" / Int8ul * "row at which an interrupted instruction goes on",
            "reserved" / Bytes(14) * "must be zero",
            "colsb" / Array(8, Int16ul) * "bytes a row of tile n",
            "reserved_colsb" / Bytes(16) * "must be zero in palette 1",
            "rows" / Array(8, Int8ul) * "rows of tile n",
            "reserved_rows" / Bytes(8) * "must be zero in palette 1",
        ),
        f"{_SDM}, 13.5.14; Intel SDM vol. 2, LDTILECFG",
        align64=True,
        registers={
            "palette_id": Register(
                "palette_id",
                "tile palette",
                (Bits("PALETTE", 0, 8, "palette", {0: "init", 1: "8 tiles, 1 KiB each"}),),
                "Intel SDM vol. 2, LDTILECFG",
            )
        },
        feature=(0, 3, 24),
        group="amx",
        touch="STTILECFG",
    ),
    Component(
        18,
        "xtiledata",
        "AMX tiles",
        8192,
        Struct("tmm" / Array(8, Bytes(1024)) * "tile: 16 rows of 64 bytes"),
        f"{_SDM}, 13.5.14",
        align64=True,
        xfd=True,
        feature=(0, 3, 24),
        group="amx",
        touch="TILESTORED",
    ),
    Component(
        19,
        "apx",
        "APX: R16-R31",
        128,
        Struct("r" / Array(16, Int64ul) * "R16 + n"),
        "Intel APX architecture specification, 3.1.4.2",
        feature=(1, 3, 21),
        group="apx",
    ),
    Component(
        62,
        "lwp",
        "lightweight profiling (AMD, before Zen)",
        128,
        Struct("lwp" / Bytes(128) * "LWP state"),
        "AMD APM vol. 2, 13.4",
    ),
)

BY_NUMBER = {component.number: component for component in COMPONENTS}
_NUMBERS = {component.name: component.number for component in COMPONENTS}
PKRU, TILECFG, TILEDATA, LWP = (_NUMBERS[name] for name in ("pkru", "xtilecfg", "xtiledata", "lwp"))
OPMASK, ZMM_HI256, HI16_ZMM, CET_U = (_NUMBERS[name] for name in ("opmask", "zmm_hi256", "hi16_zmm", "cet_u"))


def group_mask(name: str) -> int:
    """The components that are had together, as bits of XCR0 or IA32_XSS."""
    return sum(1 << component.number for component in COMPONENTS if component.group == name)


MPX, AVX512, CET, XTILE, APX = (group_mask(name) for name in ("mpx", "avx512", "cet", "amx", "apx"))


class Xcr0Set(NamedTuple):
    """Bits of XCR0 that are set and cleared together, and those without which they cannot be set."""

    bits: int
    needs: int
    source: str


#: XSETBV of anything else is #GP.
XCR0_SETS = (
    Xcr0Set(1 << 2, 1 << 1, "Intel SDM vol. 1, 13.3: AVX state needs SSE state"),
    Xcr0Set(MPX, 0, "Intel SDM vol. 1, 13.3; vol. 2, XSETBV: BNDREGS and BNDCSR"),
    Xcr0Set(AVX512, 1 << 1 | 1 << 2, "Intel SDM vol. 1, 13.3: opmask, ZMM_Hi256 and Hi16_ZMM need AVX state"),
    Xcr0Set(XTILE, 0, "Intel SDM vol. 1, 13.3: TILECFG and TILEDATA"),
)

#: XCR0's components; the others are IA32_XSS's.
USER = sum(1 << component.number for component in COMPONENTS if not component.supervisor)
#: Components that software allocates on demand: those that XFD can turn off.
DYNAMIC = sum(1 << component.number for component in COMPONENTS if component.xfd)
