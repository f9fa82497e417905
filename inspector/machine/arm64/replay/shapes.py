"""The records of answers in their first form: keys, and what they hold."""

from __future__ import annotations

from inspector.machine.arm64.replay.hosts import CONFIGURATIONS
from inspector.machine.shapes import (
    ANY_TEXT,
    ERRNO,
    MEMORY,
    REGISTER,
    U64,
    Shape,
    Value,
    number,
    optional,
    rows,
    text,
    tuple_of,
    word,
)

_ID = U64
_VCPU, _NUMBER = number(0, 511), number()
_CONFIGURATION = word(*CONFIGURATIONS)
_DIGITS, _KINDS = 16, frozenset((int, str))
_BOTH: Shape = {"id": _ID, "get": ERRNO, "set": ERRNO}
_SLICE: Shape = {"set": ERRNO, "get": ERRNO, "le": MEMORY}
#: A step of a random lifecycle, by its operation.
_STEPS: dict[str, Value] = {
    "create_vcpu": tuple_of(word("create_vcpu"), _VCPU, ERRNO),
    "enable_imp_id_regs": tuple_of(word("enable_imp_id_regs"), ERRNO),
    "init": tuple_of(word("init"), _VCPU, U64, ERRNO),
    "finalize": tuple_of(word("finalize"), _VCPU, _NUMBER, ERRNO),
    "set_vls": tuple_of(word("set_vls"), _VCPU, U64, ERRNO),
    "get_vls": tuple_of(word("get_vls"), _VCPU, ERRNO, U64),
    "list": tuple_of(word("list"), _VCPU, ERRNO, _NUMBER),
    "get": tuple_of(word("get"), _VCPU, U64, ERRNO, MEMORY),
    "set": tuple_of(word("set"), _VCPU, U64, MEMORY, ERRNO),
    "run": tuple_of(word("run"), _VCPU, ERRNO, _NUMBER),
    "nop": Value("nop", lambda step: isinstance(step, list)),
}


def _is_step(step: object) -> bool:
    if not isinstance(step, list) or not step or not isinstance(step[0], str):
        return False
    shape = _STEPS.get(step[0])
    return shape is not None and shape.holds(step)


def _are_answers(nib: object) -> bool:
    """16 digits with 16 answers each, by type alone: there are 256 in each of hundreds of records."""
    return (
        isinstance(nib, list)
        and len(nib) == _DIGITS
        and all(isinstance(row, list) and len(row) == _DIGITS and _KINDS.issuperset(map(type, row)) for row in nib)
    )


SHAPES: dict[str, Shape] = {
    "uname": {"release": ANY_TEXT},
    "cap": {"n": number(0, 1 << 16), "vm": _NUMBER},
    "masks": {"err": ERRNO},
    "mask": {"reg": REGISTER, "mask": U64},
    "maskbad": {"range1": ERRNO, "reserved1": ERRNO},
    "feat": {"bit": optional(number(0, 31)), "bits": optional(word("5+6")), "err": ERRNO},
    "reglist": {"cfg": _CONFIGURATION, "err": ERRNO, "n": _NUMBER},
    "reg": {"cfg": _CONFIGURATION, "id": _ID, "err": ERRNO, "le": MEMORY},
    "badid": _BOTH,
    "sveid": _BOTH,
    "finalize_nosve": {"err": ERRNO},
    "sve_prefin": {"get_z0": ERRNO, "set_z0": ERRNO, "list_err": ERRNO},
    "run_prefin": {"err": ERRNO},
    "sve": {"init": ERRNO},
    "vls": {"err": ERRNO, "vqs": ANY_TEXT},
    "vls_ok": {"vqs": text("[0-9a-f]{1,4}", "up to 4 hexadecimal digits")},
    "vls_hist": {"err": ERRNO, "n": number(0, 1 << 16)},
    "vls_vq17": {"err": ERRNO, "vq512": ERRNO},
    "vls_set_def": {**dict.fromkeys(("err", "finalize", "again", "set_after", "get_after"), ERRNO), "vqs": ANY_TEXT},
    "z5rw": _SLICE,
    "p3rw": _SLICE,
    "ffrrw": _SLICE,
    "vlmax": {"vq": number(1, 512), "set": ERRNO, "z0": optional(MEMORY), "zfr0": optional(U64)}
    | dict.fromkeys(("fin", "ez", "setz", "getz"), optional(ERRNO)),
    "idreg": {
        "cfg": _CONFIGURATION,
        "reg": REGISTER,
        "host": U64,
        "nib": Value("16 rows of 16 errnos or values", _are_answers),
    },
    "idw": {"cfg": _CONFIGURATION, "reg": REGISTER, "w": U64, "err": ERRNO, "rb": U64},
    "impcap": {"errno": ERRNO},
    "vmwide": {"set": ERRNO, "wrote": U64, "other": U64},
    "run": {"exit": _NUMBER},
    "afterrun": {"same": ERRNO, "diff": ERRNO, "other_vcpu": ERRNO},
    "midr": {"get": ERRNO, "v": U64, "setsame": ERRNO, "setdiff": ERRNO},
    "seq": {"n": _NUMBER, "steps": rows(Value("a step with its arguments and its answer", _is_step))},
}
