"""Segments as VMCS and VMCB dumps print them, under the names of ``struct kvm_segment``."""

from __future__ import annotations

from inspector.readers.named_values import Sized

#: Access rights bit by bit: member, lowest bit, width. VMCS: Intel SDM vol. 3, 25.4.1; VMCB: AMD APM vol. 2, 15.5.1.
_LOW = (("type", 0, 4), ("s", 4, 1), ("dpl", 5, 2), ("present", 7, 1))
VMX_RIGHTS = (*_LOW, ("avl", 12, 1), ("l", 13, 1), ("db", 14, 1), ("g", 15, 1), ("unusable", 16, 1))
SVM_RIGHTS = (*_LOW, ("avl", 8, 1), ("l", 9, 1), ("db", 10, 1), ("g", 11, 1))


def segment(
    name: str, selector: str, attributes: str, limit: str, base: str, rights: tuple[tuple[str, int, int], ...]
) -> dict[str, Sized]:
    """The members of a segment; numbers are hexadecimal digits."""
    path = f"sregs.{name}"
    bits = int(attributes, 16)
    return {
        f"{path}.selector": (int(selector, 16), 2),
        f"{path}.base": (int(base, 16), 8),
        f"{path}.limit": (int(limit, 16), 4),
        **{f"{path}.{member}": (bits >> low & (1 << width) - 1, 1) for member, low, width in rights},
    }


def table(name: str, limit: str, base: str) -> dict[str, Sized]:
    """The members of a descriptor table register."""
    return {f"sregs.{name}.base": (int(base, 16), 8), f"sregs.{name}.limit": (int(limit, 16), 4)}
