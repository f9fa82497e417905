"""Names of x86 feature bits: the CPUID register or the feature MSR that holds each, what hangs on what.

The tables are ``data/features.txt``, ``dependencies.txt`` and ``aliases.txt``; their heads say where they are from.
"""

from __future__ import annotations

from collections.abc import Iterator

from layouts.data import data_text
from layouts.light import NamedTuple, cache

_REGISTERS = ("eax", "ebx", "ecx", "edx")
#: Never of a host's own accord: ``no_autoenable_flags`` of feature_word_info (target/i386/cpu.c).
NOT_OF_ITSELF = frozenset({"ht", "topoext", "kvm-hint-dedicated"})
#: Not with ``migratable=on``: ``unmigratable_flags``. With tsc-frequency set it may migrate.
UNMIGRATABLE = frozenset({"invtsc"})


class Word(NamedTuple):
    """A 32-bit output register of CPUID, or a feature MSR.

    ``at`` is the leaf or the number of the MSR; ``subleaf`` is None for leaves that have none, and for MSRs.
    """

    is_msr: bool
    at: int
    subleaf: int | None = None
    register: str = ""

    @classmethod
    def of_cpuid(cls, leaf: int, subleaf: int | None, register: str) -> Word:
        """An output register of CPUID."""
        return cls(is_msr=False, at=leaf, subleaf=subleaf, register=register)

    @classmethod
    def of_msr(cls, index: int) -> Word:
        """A feature MSR."""
        return cls(is_msr=True, at=index)

    @property
    def leaf(self) -> tuple[int, int]:
        """Leaf and sub-leaf, 0 where there are none."""
        return self.at, self.subleaf or 0

    @property
    def register_number(self) -> int:
        """EAX 0 to EDX 3."""
        return _REGISTERS.index(self.register)

    def __str__(self) -> str:
        """``CPUID.7.0.EBX`` or ``MSR.10A``, as verdicts name places."""
        if self.is_msr:
            return f"MSR.{self.at:X}"
        return f"CPUID.{self.at:X}.{self.subleaf or 0:X}.{self.register.upper()}"


#: VMX's controls: QEMU's words are the upper half of the MSR, the bits that may be 1 (Intel SDM vol. 3, appendix A;
#: QEMU target/i386/kvm/kvm.c, kvm_arch_get_supported_msr_feature).
VMX_CONTROLS = frozenset((0x48B, 0x48D, 0x48E, 0x48F, 0x490))


class Bit(NamedTuple):
    """One bit of a word."""

    word: Word
    number: int

    @property
    def in_register(self) -> int:
        """Its number in the register itself."""
        return self.number + 32 if self.word.is_msr and self.word.at in VMX_CONTROLS else self.number

    def __str__(self) -> str:
        return f"{self.word}[{self.number}]"


def _lines(name: str) -> Iterator[str]:
    for line in data_text(f"x86/models/data/{name}.txt").splitlines():
        if line and not line.startswith("#"):
            yield line


def _word(text: str) -> Word:
    kind, *rest = text.split(".")
    if kind == "msr":
        return Word.of_msr(int(rest[0], 16))
    return Word.of_cpuid(int(kind, 16), int(rest[0], 16) if len(rest) > 1 else None, rest[-1])


@cache
def words() -> dict[Word, dict[int, str]]:
    """The names of each word by bit, in QEMU's order of words."""
    found: dict[Word, dict[int, str]] = {}
    names: dict[int, str] = {}
    for line in _lines("features"):
        if line.startswith("["):
            names = found[_word(line[1:-1])] = {}
            continue
        for entry in line.split():
            number, _, name = entry.partition(":")
            names[int(number)] = name
    return found


@cache
def features() -> dict[str, tuple[Bit, ...]]:
    """The bits of each feature, by QEMU's name; a few have two."""
    found: dict[str, tuple[Bit, ...]] = {}
    for word, names in words().items():
        for number, name in names.items():
            found[name] = (*found.get(name, ()), Bit(word, number))
    return found


@cache
def feature_at() -> dict[tuple[int, int, str, int], str]:
    """A feature's name by leaf, sub-leaf, register (lower case) and bit."""
    return {
        (*word.leaf, word.register, number): name
        for word, names in words().items()
        if not word.is_msr
        for number, name in names.items()
    }


@cache
def msr_feature_at() -> dict[tuple[int, int], str]:
    """A feature's name by MSR and bit of the MSR."""
    return {
        (word.at, Bit(word, number).in_register): name
        for word, names in words().items()
        if word.is_msr
        for number, name in names.items()
    }


@cache
def aliases() -> dict[str, str]:
    """QEMU's other names of features, and the names that they stand for."""
    return dict(line.split() for line in _lines("aliases"))


def feature_named(name: str) -> str:
    """QEMU's name for what was written; empty where it is no feature."""
    lower = name.lower()
    for candidate in (lower, lower.replace("_", "-"), lower.replace("-", ".")):
        candidate = aliases().get(candidate, candidate)
        if candidate in features():
            return candidate
    return ""


@cache
def dependents() -> dict[str, frozenset[str]]:
    """By feature: those that go when it is off, and those that hang on them in turn."""
    found: dict[str, frozenset[str]] = {}
    name = ""
    for line in _lines("dependencies"):
        if line.startswith(" "):
            found[name] = found.get(name, frozenset()) | frozenset(line.split())
        else:
            name = line.rstrip(":")
    return found


#: AMD's CPUID(8000_0001).EDX repeats these bits of CPUID(1).EDX (CPUID_EXT2_AMD_ALIASES, target/i386/cpu.h).
AMD_ALIASES = 0x0183F3FF
