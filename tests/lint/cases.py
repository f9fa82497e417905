"""For each rule a capture that breaks it, and a near miss that does not."""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """Edits of a sample (path, value), with which a rule is broken, and almost the same with which it is not."""

    code: str
    sample: str
    breaks: tuple[tuple[str, str], ...]
    near: tuple[tuple[str, str], ...]
    vcpu: int = 0
    vmm: str = ""


CASES = (
    Case("X0101", "amx", (("xcr.xcr0", "0x2e7"),), (("xcr.xcr0", "0x602e7"),)),
    Case("X0102", "amx", (("xsave.header.xcomp_bv", "0x1"),), (("xsave.header.xcomp_bv", "0"),)),
    Case("X0103", "amx", (("fpu.mxcsr", "0x10000"),), (("fpu.mxcsr", "0xffbf"),)),
    Case("X0201", "amx", (("sregs.efer", "0x100"),), (("sregs.efer", "0x500"),)),
)
