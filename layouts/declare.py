"""construct's words for structures, as layouts write them, without construct.

A declaration here is what construct's own would be: ``Struct("xstate_bv" / Int64ul * "what it is")``. Its members lie
flat in these objects, which is all that decoding asks for, so a command starts without importing construct. Who wants
construct itself, to parse or to build, gets it from :meth:`Declaration.construct`: the same words, evaluated by
construct. ``tests/decode/test_walk.py`` holds that both say the same of every layout.
"""

from __future__ import annotations

from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


class Declaration:
    """What bytes are: a structure, some of the same, a run of bytes or an integer. ``name`` is a member's."""

    __slots__ = ()

    name: str | None = None

    def __rtruediv__(self, name: str) -> Named:
        """``"name" / declaration``: a member."""
        return Named(self, name, "")

    def sizeof(self) -> int:
        """Bytes in all."""
        raise NotImplementedError

    def construct(self) -> Any:
        """The same as construct's own object."""
        raise NotImplementedError

    def parse(self, data: bytes) -> Any:
        """What construct parses."""
        return self.construct().parse(data)

    def build(self, value: Any) -> bytes:
        """What construct builds. Raises construct's errors."""
        return bytes(self.construct().build(value))


class Named(Declaration):
    """A declaration with a name, and words about it."""

    __slots__ = ("docs", "name", "subcon")

    def __init__(self, subcon: Declaration, name: str, docs: str) -> None:
        self.subcon = subcon
        self.name: str = name
        self.docs = docs

    def __mul__(self, docs: str) -> Named:
        """``"name" / declaration * "words"``."""
        return Named(self.subcon, self.name, docs)

    def sizeof(self) -> int:
        """See Declaration.sizeof."""
        return self.subcon.sizeof()

    def construct(self) -> Any:
        """See Declaration.construct."""
        named = self.name / self.subcon.construct()
        return named * self.docs if self.docs else named


class Struct(Declaration):
    """Members one after the other."""

    __slots__ = ("subcons",)

    def __init__(self, *subcons: Named) -> None:
        self.subcons = subcons

    def sizeof(self) -> int:
        """See Declaration.sizeof."""
        return sum(member.sizeof() for member in self.subcons)

    def construct(self) -> Any:
        """See Declaration.construct."""
        import construct

        return construct.Struct(*(member.construct() for member in self.subcons))


class Array(Declaration):
    """``count`` of the same."""

    __slots__ = ("count", "subcon")

    def __init__(self, count: int, subcon: Declaration) -> None:
        self.count = count
        self.subcon = subcon

    def sizeof(self) -> int:
        """See Declaration.sizeof."""
        return self.count * self.subcon.sizeof()

    def construct(self) -> Any:
        """See Declaration.construct."""
        import construct

        return construct.Array(self.count, self.subcon.construct())


class Padded(Declaration):
    """A declaration in ``length`` bytes: those behind it are not used."""

    __slots__ = ("length", "subcon")

    def __init__(self, length: int, subcon: Declaration) -> None:
        self.length = length
        self.subcon = subcon

    def sizeof(self) -> int:
        """See Declaration.sizeof."""
        return self.length

    def construct(self) -> Any:
        """See Declaration.construct."""
        import construct

        return construct.Padded(self.length, self.subcon.construct())


class Bytes(Declaration):
    """``length`` bytes."""

    __slots__ = ("length",)

    def __init__(self, length: int) -> None:
        self.length = length

    def sizeof(self) -> int:
        """See Declaration.sizeof."""
        return self.length

    def construct(self) -> Any:
        """See Declaration.construct."""
        import construct

        return construct.Bytes(self.length)


class Integer(Declaration):
    """A little-endian number, by construct's name for it."""

    __slots__ = ("is_signed", "size_bytes", "word")

    def __init__(self, word: str, size_bytes: int, *, is_signed: bool = False) -> None:
        self.word = word
        self.size_bytes = size_bytes
        self.is_signed = is_signed

    def sizeof(self) -> int:
        """See Declaration.sizeof."""
        return self.size_bytes

    def construct(self) -> Any:
        """See Declaration.construct."""
        import construct

        return getattr(construct, self.word)


Int8ul, Int8sl = Integer("Int8ul", 1), Integer("Int8sl", 1, is_signed=True)
Int16ul, Int16sl = Integer("Int16ul", 2), Integer("Int16sl", 2, is_signed=True)
Int32ul, Int32sl = Integer("Int32ul", 4), Integer("Int32sl", 4, is_signed=True)
Int64ul = Integer("Int64ul", 8)
