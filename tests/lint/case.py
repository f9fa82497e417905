"""A capture that breaks a rule, and a near miss that does not."""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """Edits of a sample with which a rule is broken, and almost the same with which it is not.

    An edit is a word: ``path=value``, ``-prefix`` (the area was not captured) or ``prefix<bytes`` (it is cut); ``x2``
    makes a second vCPU of the first as it is by then. Of a list of registers ``~path`` leaves one out, and
    ``+path=value`` or ``+id=value`` adds one behind.
    """

    code: str
    sample: str
    breaks: str
    near: str
    vcpu: int = 0
    vmm: str = ""


class On(NamedTuple):
    """Cases on one sample."""

    sample: str
    vcpu: int = 0
    vmm: str = ""

    def __call__(self, code: str, breaks: str, near: str = "") -> Case:
        return Case(code, self.sample, breaks, near, self.vcpu, self.vmm)
