"""What decoders need of an area beside its bytes: one set of attributes for each kind of layout.

Readers set them, decoders ask for them; the capture file keeps all but the table of an XSAVE image as they are.
"""

from __future__ import annotations

from layouts.light import NamedTuple, TypedDict

#: A field of a QEMU section: (subsection, name, type, offset, size in bytes of an element, count).
SectionRow = tuple[str, str, str, int, int, int]
#: A value that text names: (path, kind, size in bytes).
NamedRow = tuple[str, str, int]
#: A value without bytes: (name, text).
PropertyRow = tuple[str, str]
#: Bytes that a report leaves out: (kind of ``layouts.secrets``, offset, size in bytes).
DroppedRow = tuple[str, int, int]


class Room(NamedTuple):
    """What is known of one component: its size, standard offset (0: none) and alignment."""

    component: int
    size_bytes: int
    offset: int
    align64: bool


class XsaveTable(NamedTuple):
    """The rooms of all components, and who says so. ``layout`` is the shipped CPU whose they are, if any."""

    rooms: tuple[Room, ...]
    origin: str
    guessed: bool = False
    layout: str = ""

    def room(self, component: int) -> Room | None:
        """The room of one component."""
        for room in self.rooms:
            if room.component == component:
                return room
        return None


class NoteAttributes(TypedDict, total=False):
    """Of an ELF note: its owner and number; ``word_bytes`` of NT_AUXV and NT_FILE is 4 or 8."""

    note_owner: str
    note_type: int
    word_bytes: int


class MadeAttributes(TypedDict, total=False):
    """Of bytes that lie in no file.

    ``synthesized``: made of values that came as text or JSON; ``implied``: they follow from other areas.
    """

    synthesized: bool
    implied: bool


class XsaveAttributes(TypedDict, total=False):
    """Of ``xsave``: where components lie.

    ``xstate_bv_unmaintained``: XSTATE_BV does not say what is initial; ``kernel_buffer``: a kernel's own image, which
    is no answer of KVM or ptrace and never an argument.
    """

    table: XsaveTable
    xstate_bv_unmaintained: bool
    kernel_buffer: bool


class SectionAttributes(TypedDict, total=False):
    """Of ``qemu-section``: ``arch`` of a cpu section; ``x87_order``: ``stack`` or ``physical``; its fields."""

    arch: str
    x87_order: str
    fields: list[SectionRow]


class RegisterListAttributes(TypedDict, total=False):
    """Of ``arm64-regs``: the KVM register id of each value, in the order of the bytes."""

    ids: list[int]


class ValueAttributes(TypedDict, total=False):
    """Of ``properties`` (``rows``) and of ``named-values`` (``named``, in the order of the bytes)."""

    rows: list[PropertyRow]
    named: list[NamedRow]


class MaskAttributes(TypedDict, total=False):
    """Of areas that are not known whole.

    ``unknown``: as many bytes as hex, 1 where nobody said the bit. ``dropped``: what a report left out.
    """

    unknown: str
    dropped: list[DroppedRow]


class Attributes(
    NoteAttributes,
    MadeAttributes,
    XsaveAttributes,
    SectionAttributes,
    RegisterListAttributes,
    ValueAttributes,
    MaskAttributes,
    total=False,
):
    """Whatever an area may have, in the order of the capture file; a key is there where its reader set it."""
