"""Segments and descriptor tables as KVM keeps them: what KVM_GET_SREGS gives of what KVM_SET_SREGS took.

Source: Linux arch/x86/kvm/svm/svm.c, svm_set_segment, svm_get_segment, init_vmcb; vmx/vmx.c, __vmx_set_segment,
vmx_get_segment, vmx_segment_access_rights, seg_setup.
"""

from __future__ import annotations

import struct

from layouts.light import NamedTuple, cache, lru_cache

SEGMENTS = ("cs", "ds", "es", "fs", "gs", "ss", "tr", "ldt")
SIZE_BYTES = 24
_FORM = struct.Struct("<QIH10B")
_ONE_PAGE_UNITS = 0xFFFFF
#: What does not fit a byte's field is cut: present, db, s, l, g and avl have one bit, dpl two, type four.
_ACCESSED, _BUSY = 1, 2
TABLE_SIZE_BYTES = 16


class Segment(NamedTuple):
    """struct kvm_segment, less its padding."""

    base: int
    limit: int
    selector: int
    type: int
    present: int
    dpl: int
    db: int
    s: int
    l: int  # noqa: E741 - the kernel's name
    g: int
    avl: int
    unusable: int

    @classmethod
    def of(cls, image: bytes) -> Segment:
        """A segment of an image of struct kvm_sregs."""
        return cls(*_FORM.unpack(image)[:12])

    @property
    def vmcb_attributes(self) -> int:
        """The attributes as a VMCB has them (SVM_SELECTOR_*)."""
        low = self.type | self.s << 4 | self.dpl << 5 | self.present << 7
        return low | self.avl << 8 | self.l << 9 | self.db << 10 | self.g << 11

    def image(self) -> bytes:
        """Struct kvm_segment; the padding is 0."""
        return _FORM.pack(*self, 0)


@lru_cache(maxsize=4096)
def kept(name: str, image: bytes, *, svm: bool, unrestricted: bool = True) -> bytes:
    """The 24 bytes of a segment as they are read back."""
    given = Segment.of(image)
    if not svm and (given.unusable or not given.present):
        given = given._replace(unusable=1)
    found = given._replace(
        type=given.type & 15,
        dpl=given.dpl & 3,
        present=given.present & 1,
        db=given.db & 1,
        s=given.s & 1,
        l=given.l & 1,
        g=given.g & 1,
        avl=given.avl & 1,
    )
    return (_on_svm(name, found) if svm else _on_vmx(name, found, unrestricted=unrestricted)).image()


@lru_cache(maxsize=1024)
def all_kept(image: bytes, *, svm: bool, unrestricted: bool) -> tuple[bytes, ...]:
    """The segments of struct kvm_sregs as they are read back."""
    places = zip(SEGMENTS, range(0, len(image), SIZE_BYTES), strict=True)
    return tuple(kept(name, image[at : at + SIZE_BYTES], svm=svm, unrestricted=unrestricted) for name, at in places)


def _on_svm(name: str, given: Segment) -> Segment:
    """The VMCB has no unusable bit and no granularity of its own: both follow."""
    present = int(given.present and not given.unusable)
    found = given._replace(present=present, unusable=1 - present, g=int(given.limit > _ONE_PAGE_UNITS))
    if name == "tr":
        return found._replace(type=found.type | _BUSY)
    if name in ("ds", "es", "fs", "gs") and present:
        return found._replace(type=found.type | _ACCESSED)
    return found._replace(db=0) if name == "ss" and not present else found


def _on_vmx(name: str, given: Segment, *, unrestricted: bool) -> Segment:
    """Unusable segments are not present, others are; an unrestricted guest's are accessed."""
    unusable = int(bool(given.unusable))
    found = given._replace(unusable=unusable, present=1 - unusable)
    return found._replace(type=found.type | _ACCESSED) if unrestricted and name != "ldt" else found


@cache
def at_reset(*, svm: bool) -> tuple[bytes, ...]:
    """The segments of a fresh vCPU, in the order of SEGMENTS."""
    data = Segment(0, 0xFFFF, 0, 2 if svm else 3, 1, 0, 0, 1, 0, 0, 0, 0)
    code = data._replace(base=0xFFFF0000, selector=0xF000, type=10 if svm else 11)
    found = dict.fromkeys(SEGMENTS, data)
    found["cs"] = code
    found["tr"] = data._replace(type=3 if svm else 11, s=0)
    found["ldt"] = data._replace(type=2, s=0)
    return tuple(kept(name, found[name].image(), svm=svm) for name in SEGMENTS)


def table(image: bytes) -> bytes:
    """Struct kvm_dtable as it is read back: the padding is 0."""
    return image[:10] + bytes(6)


#: GDTR and IDTR of a fresh vCPU.
TABLE_AT_RESET = (0).to_bytes(8, "little") + (0xFFFF).to_bytes(2, "little") + bytes(6)
