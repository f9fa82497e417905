"""The records of answers of x86 kernels: keys, and what they hold."""

from __future__ import annotations

from inspector.machine.shapes import (
    ANY_TEXT,
    ERRNO,
    U64,
    Shape,
    Value,
    number,
    optional,
    rows,
    table,
    text,
    tuple_of,
    word,
)
from inspector.machine.x86.cpu.instructions.control import CET_STATE, MSR_S_CET, MSR_XFD, MSR_XFD_ERR, MSR_XSS
from inspector.machine.x86.kvm.supported import CPUIDS
from inspector.machine.x86.replay.kvm import BV_BITS, FIELDS, OTHER_NAMES

_U32 = number(0, (1 << 32) - 1, "a 32-bit number")
_NUMBER = number()
#: What a guest's instruction came to: 100 executed, else the vector; -1 not run.
_RESULT = number(-1, 100, "a result from -1 to 100")
_FLAG, _BYTE = number(0, 1), number(0, 0xFF)
_TILE, _ZMM, _BIT = number(0, 7), number(0, 31), number(0, 63)
_DIGITS = text("[0-9a-f]*", "hexadecimal digits")
_DECIMAL = text("[0-9]{1,4}", "an errno")
_LEAF = Value("7 or 13", lambda found: found in (7, 0xD) and isinstance(found, int))
#: The MSRs that the machine has, as text.
_MSR = word(*(f"{index:x}" for index in (MSR_XFD, MSR_XFD_ERR, MSR_XSS, MSR_S_CET, *CET_STATE)))
#: Bits of a sweep: each more is twice the answers.
_MOST_SWEPT = 16
_CONTEXT, _CPUID = {"ctx": ANY_TEXT}, word(*CPUIDS)
_STEPS: dict[str, Value] = {
    "set_cpuid": tuple_of(word("set_cpuid"), _CPUID, ERRNO),
    "set_xcr0": tuple_of(word("set_xcr0"), U64, ERRNO),
    "set_msr": tuple_of(word("set_msr"), _MSR, U64, ERRNO),
    "set_xsave": tuple_of(word("set_xsave"), U64, ERRNO),
    "state": tuple_of(word("state"), ERRNO, U64, U64, U64, U64, _DIGITS, _DIGITS, _DIGITS, U64),
    "g_xsetbv": tuple_of(word("g_xsetbv"), U64, _RESULT),
    "g_xgetbv": tuple_of(word("g_xgetbv"), _U32, _RESULT, U64),
    "g_wrmsr": tuple_of(word("g_wrmsr"), _MSR, U64, _RESULT),
    "g_rdmsr": tuple_of(word("g_rdmsr"), _MSR, _RESULT, U64),
    "g_ldtilecfg": tuple_of(word("g_ldtilecfg"), _RESULT),
    "g_tilerelease": tuple_of(word("g_tilerelease"), _RESULT),
    "g_tilezero": tuple_of(word("g_tilezero"), _TILE, _RESULT),
    "g_tileloadd": tuple_of(word("g_tileloadd"), _TILE, _BYTE, _RESULT),
    "g_vmovdqu64": tuple_of(word("g_vmovdqu64"), _ZMM, _BYTE, _RESULT),
}


def _is_step(step: object) -> bool:
    if not isinstance(step, list) or not step or not isinstance(step[0], str):
        return False
    shape = _STEPS.get(step[0])
    return shape is not None and shape.holds(step)


def _is_swept(bits: object) -> bool:
    return rows(_BIT).holds(bits) and isinstance(bits, list) and len(bits) == len(set(bits)) <= _MOST_SWEPT


_PROCESSES: dict[str, Shape] = {
    "xgetbv": {"xcr0": U64},
    "prctl": {**_CONTEXT, "op": ANY_TEXT, "arg": optional(_NUMBER), "ret": _NUMBER, "val": optional(U64)},
    "amx": {
        **_CONTEXT,
        "what": word("ldtilecfg", "tilezero", "tilerelease"),
        "sig": _NUMBER,
        "code": _NUMBER,
        "xinuse_before": U64,
        "xinuse_after": U64,
    },
    "sigaltstack": {**_CONTEXT, "size": number(0), "err": ERRNO},
}
_KVM: dict[str, Shape] = {
    "kvmcaps": {
        **_CONTEXT,
        **dict.fromkeys(("xsave", "xcrs"), optional(_NUMBER)),
        "xsave2": _NUMBER,
        "guest_supp_err": ERRNO,
        "guest_supp": U64,
    },
    "vmcap": {**_CONTEXT, "xsave2": _NUMBER},
    "kvmmodule": {"name": ANY_TEXT},
    "kvmcpuid": {**_CONTEXT, "leaf": _LEAF, "sub": _BIT, "r": rows(_U32, 4)},
    "setcpuid": {**_CONTEXT, "with": word(*CPUIDS, *OTHER_NAMES), "err": ERRNO},
    "msr": {**_CONTEXT, "xfd_ret": _NUMBER, "xfd": U64, "err_ret": _NUMBER, "xfd_err": U64},
    "xcr0sweep": {
        **_CONTEXT,
        "bits": Value(f"up to {_MOST_SWEPT} numbers of bits", _is_swept),
        "ok": rows(U64),
        "hist": optional(table(_DECIMAL, _NUMBER)),
    },
    "setmsr": {
        **_CONTEXT,
        "val": U64,
        **dict.fromkeys(("xfd", "xfd_err", "xss"), ERRNO),
        **dict.fromkeys(("xfd_now", "xfd_err_now", "xss_now"), U64),
    },
    "getxsave": {**_CONTEXT, "err": ERRNO},
    "getxsave2": {**_CONTEXT, "err": ERRNO, "size": _NUMBER},
    "setxsave": {**_CONTEXT, "case": word("asis", *BV_BITS, *FIELDS), "err": ERRNO, "bv_after": U64},
    "xfd-then-setxsave": {**_CONTEXT, "setmsr": ERRNO, "set": ERRNO, "bv_after": U64, "same": _FLAG},
    "xcr0=7-then-setxsave": {**_CONTEXT, "setxcr": ERRNO, "bv": U64, "set": ERRNO},
}
_GUESTS: dict[str, Shape] = {
    "g_xsetbv": {**_CONTEXT, "val": U64, "res": _RESULT, "xcr0": U64},
    "g_xsetbv_idx1": {**_CONTEXT, "res": _RESULT},
    "g_wrmsr": {
        **_CONTEXT,
        **dict.fromkeys(("xcr0", "val", "xfd_now", "xfd_err_now"), U64),
        **dict.fromkeys(("xsetbv", "xfd", "rd", "xfd_err", "rd2"), _RESULT),
    },
    "g_amx": {
        **_CONTEXT,
        **dict.fromkeys(("xcr0", "xfd", "xinuse1", "xinuse2", "xinuse3", "xfd_err", "host_xfd_err", "host_xfd"), U64),
        **dict.fromkeys(("xsetbv", "wrmsr", "ldtilecfg", "xgetbv1", "tilezero", "rd_err"), _RESULT),
        **dict.fromkeys(("tilezero_after_clear", "tilerelease"), _RESULT),
    },
    "g_noosxsave": {**_CONTEXT, **dict.fromkeys(("xgetbv", "xsetbv", "tilezero"), _RESULT)},
}
SHAPES: dict[str, Shape] = {
    "uname": {"release": ANY_TEXT},
    "cpuid": {"leaf": _U32, "sub": _U32, "r": rows(_U32, 4)},
    "seq": {"ctx": ANY_TEXT, "n": _NUMBER, "steps": rows(Value("a step with its arguments and its answer", _is_step))},
    **_PROCESSES,
    **_KVM,
    **_GUESTS,
}
