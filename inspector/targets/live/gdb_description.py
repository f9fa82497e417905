"""A stub's target description: which registers it has, how wide they are, and in which order ``g`` gives them.

Source: gdb's manual, appendix "Target Descriptions".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple
from xml.etree import ElementTree

from inspector.capture.errors import InputError

#: XInclude's element; some stubs do not declare its prefix, which no XML parser takes.
_INCLUDE = "xi-include"
_DOCTYPE = '<!DOCTYPE target SYSTEM "gdb-target.dtd">'
_FEATURE_DOCTYPE = '<!DOCTYPE feature SYSTEM "gdb-target.dtd">'
_MOST_DOCUMENTS, _MOST_REGISTERS, _MOST_BITS = 64, 1 << 14, 1 << 20
_WHAT = "a target description"

#: The registers of amd64 as gdb has them where a description only names the architecture (the gdbstub crate's):
#: gdb/regformats, features/i386/64bit-core.xml and 64bit-sse.xml.
_AMD64 = (
    *((name, 64) for name in ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp")),
    *((f"r{number}", 64) for number in range(8, 16)),
    ("rip", 64),
    *((name, 32) for name in ("eflags", "cs", "ss", "ds", "es", "fs", "gs")),
    *((f"st{number}", 80) for number in range(8)),
    *((name, 32) for name in ("fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop")),
    *((f"xmm{number}", 128) for number in range(16)),
    ("mxcsr", 32),
)
#: features/aarch64-core.xml and aarch64-fpu.xml.
_AARCH64 = (
    *((f"x{number}", 64) for number in range(31)),
    ("sp", 64),
    ("pc", 64),
    ("cpsr", 32),
    *((f"v{number}", 128) for number in range(32)),
    ("fpsr", 32),
    ("fpcr", 32),
)
_DEFAULTS = {"i386:x86-64": _AMD64, "aarch64": _AARCH64}


class Register(NamedTuple):
    """A register: gdb's number for ``p``, its name, its size, and the feature that it is of."""

    number: int
    name: str
    size_bytes: int
    feature: str


class Description(NamedTuple):
    """The architecture as gdb calls it, and the registers by number."""

    architecture: str
    registers: list[Register]


def described(document: Callable[[str], str], name: str) -> Description:
    """The description that begins in ``target.xml``, with what it includes. Raises InputError."""
    return _Reading(document, name).whole()


class _Reading:
    """A description being read: documents are asked for as they are included, each once."""

    def __init__(self, document: Callable[[str], str], name: str) -> None:
        self._document = document
        self._name = name
        self._seen: set[str] = set()
        self._architecture = ""
        self._registers: dict[int, Register] = {}
        self._next = 0

    def whole(self) -> Description:
        self._walk(self._parsed("target.xml"), "")
        if not self._registers:
            for number, (name, bits) in enumerate(_DEFAULTS.get(self._architecture, ())):
                self._registers[number] = Register(number, name, bits // 8, "")
        if not self._registers:
            raise InputError(self._name, "registers in the target description", f"none of {self._architecture!r}")
        return Description(self._architecture, [self._registers[number] for number in sorted(self._registers)])

    def _parsed(self, annex: str) -> ElementTree.Element:
        if annex in self._seen or len(self._seen) >= _MOST_DOCUMENTS:
            expected = f"{_WHAT} of at most {_MOST_DOCUMENTS} documents, each included once"
            raise InputError(self._name, expected, f"{annex[:64]} again, or more")
        self._seen.add(annex)
        text = self._document(annex).replace(_DOCTYPE, "").replace(_FEATURE_DOCTYPE, "").rstrip("\0")
        text = text.replace("<xi:include", f"<{_INCLUDE}").replace("</xi:include", f"</{_INCLUDE}")
        if "<!" in text.replace("<!--", ""):
            raise InputError(self._name, _WHAT, f"another document type in {annex[:64]}")
        try:
            return ElementTree.fromstring(text)  # noqa: S314 - no document type, so no entities
        except ElementTree.ParseError as error:
            raise InputError(self._name, f"{_WHAT} in XML", f"{annex[:64]}: {error}") from None

    def _walk(self, element: ElementTree.Element, feature: str) -> None:
        """Registers count on from one to the next, through everything that is included."""
        if element.tag == "feature":
            feature = element.get("name", "")
        for child in element:
            if child.tag == "architecture":
                self._architecture = (child.text or "").strip()[:32]
            elif child.tag == _INCLUDE:
                self._walk_from(self._parsed(child.get("href", "")))
            elif child.tag == "feature":
                self._walk(child, feature)
            elif child.tag == "reg":
                self._add(child, feature)

    def _walk_from(self, root: ElementTree.Element) -> None:
        self._walk(root, root.get("name", "") if root.tag == "feature" else "")

    def _add(self, element: ElementTree.Element, feature: str) -> None:
        try:
            bits, number = int(element.get("bitsize", "")), int(element.get("regnum", self._next))
        except ValueError:
            bits, number = 0, 0
        fits = 0 < bits <= _MOST_BITS and 0 <= number < _MOST_REGISTERS and number not in self._registers
        if not fits or len(self._registers) >= _MOST_REGISTERS:
            found = f"{element.get('name', '')[:32]}: {element.get('bitsize', '')[:16]} bits"
            raise InputError(self._name, "a register with a size and a number of its own", found)
        self._registers[number] = Register(number, element.get("name", ""), -(-bits // 8), feature)
        self._next = number + 1
