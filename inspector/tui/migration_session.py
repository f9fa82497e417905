"""What the Migration screen works on: a vCPU, a destination, and what of the move can be changed. Toolkit-free.

Every change is another :class:`~inspector.targets.moves.Move`, and the whole question is asked again; undo goes back
exactly.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from inspector.capture.errors import InspectorError
from inspector.export.words import counted
from inspector.targets.host_names import completed
from inspector.targets.kernels import split
from inspector.targets.moves import Move
from inspector.tui.migration_picture import BitRow, CallRow, LostRow, Part, Picture, RemedyRow


class Mover(Protocol):
    """A vCPU that is to move, of either architecture. ``vmms`` are those that can be chosen; empty: there is one."""

    vmm: str

    @property
    def architecture(self) -> str:
        """``x86`` or ``arm64``."""

    @property
    def vmms(self) -> tuple[str, ...]:
        """The VMMs whose ways are known."""

    @property
    def has_models(self) -> bool:
        """The destination's line of a model can be said."""

    @property
    def has_imp_ids(self) -> bool:
        """KVM_CAP_ARM_WRITABLE_IMP_ID_REGS can be enabled on the destination."""

    def kernels(self) -> list[str]:
        """The releases whose KVM is known, the oldest first."""

    def picture(self, move: Move) -> Picture:
        """The verdict. Raises UsageError and InputError."""


class Heading(NamedTuple):
    """A line above others. ``group`` is folded and unfolded by this name."""

    text: str
    group: str = ""


class Words(NamedTuple):
    """A line of its own: what is to know, and where nothing is in the way."""

    text: str


#: A line of the list. A part stands below its call.
Line = Heading | CallRow | Part | BitRow | LostRow | RemedyRow | Words


class MigrationSession:
    """A move that is asked about. ``edited``: the capture was edited, so that no command says the same."""

    def __init__(self, mover: Mover, move: Move, *, vcpu: int | None = None, edited: bool = False) -> None:
        """Raises UsageError and InputError for a destination that is none."""
        self.mover = mover
        self.move = move
        self.vcpu = vcpu
        self.edited = edited
        self.all_bits = False
        self.picture = mover.picture(move)
        self._before: list[Move] = []
        self._undone: list[Move] = []
        self._folded: set[str] = set()
        self._opened: set[str] = set()
        self._show()

    # Changes: each says what is wrong, or nothing

    def change(self, move: Move) -> str:
        """Ask about another move; what cannot be asked changes nothing."""
        try:
            picture = self.mover.picture(move)
        except InspectorError as error:
            return str(error)
        self._before.append(self.move)
        self._undone.clear()
        return self._go_to(move, picture)

    def _go_to(self, move: Move, picture: Picture) -> str:
        self.move, self.picture = move, picture
        self._opened.clear()
        return self._show()

    def go_to_host(self, word: str) -> str:
        """Another destination; ``@RELEASE`` alone is another kernel of the same."""
        name, release = split(f"{split(self.move.destination)[0]}{word}" if word.startswith("@") else word)
        return self.change(self.move._replace(destination=f"{name}@{release}" if release else word, kernel=""))

    def step_kernel(self, by: int) -> str:
        """The next newer or older kernel of the destination."""
        if not self.kernel:
            return f"{self.picture.where} has no kernel that decides"
        known = self.mover.kernels()
        at = known.index(self.kernel) + by
        if not 0 <= at < len(known):
            return f"{self.kernel} is the {'newest' if by > 0 else 'oldest'} kernel that is known"
        name, _ = split(self.move.destination)
        return self.change(self.move._replace(destination=f"{name}@{known[at]}", kernel=""))

    @property
    def kernel(self) -> str:
        """The release of the destination whose profile answers."""
        words = self.picture.kernel.split()
        return next((name for name in self.mover.kernels() if words[:2] == ["Linux", name]), "")

    def step_vmm(self, by: int) -> str:
        """The next VMM; a line of a model stays with those that have one."""
        vmms = self.mover.vmms
        if len(vmms) < 2:
            return "the calls of arm64 are QEMU's; no other VMM is known there"
        name = vmms[(vmms.index(self.vmm) + by) % len(vmms)]
        wrong = self.change(self.move._replace(vmm=name))
        return self.change(self.move._replace(vmm=name, model="")) if wrong and self.move.model else wrong

    @property
    def vmm(self) -> str:
        """The VMM that restores the vCPU."""
        return self.move.vmm or self.mover.vmm

    def choose_model(self, line: str) -> str:
        """The destination's line; empty: the guest's own CPUID."""
        if not self.mover.has_models:
            return "a line of a model goes with x86 vCPUs; the ID-register lab (L) has arm64's"
        return self.change(self.move._replace(model=line.removeprefix("-cpu ").strip()))

    def toggle_imp_ids(self) -> str:
        """With and without KVM_CAP_ARM_WRITABLE_IMP_ID_REGS."""
        if not self.mover.has_imp_ids:
            return "KVM_CAP_ARM_WRITABLE_IMP_ID_REGS goes with arm64 vCPUs"
        return self.change(self.move._replace(imp_ids=not self.move.imp_ids))

    def undo(self) -> str:
        """Take the last change back."""
        return self._step(self._before, self._undone, "nothing to undo")

    def redo(self) -> str:
        """Make it again."""
        return self._step(self._undone, self._before, "nothing to redo")

    def _step(self, source: list[Move], other: list[Move], nothing: str) -> str:
        if not source:
            return nothing
        other.append(self.move)
        move = source.pop()
        return self._go_to(move, self.mover.picture(move))

    def completed(self, text: str) -> list[str]:
        """What the word of a destination that is being typed can become."""
        return completed(text, self.mover.architecture)

    # What there is to see

    def _show(self) -> str:
        self.lines: list[Line] = list(self._made_lines())
        return ""

    def show_all_bits(self) -> None:
        """Every bit that differs, or only those that are in the way."""
        self.all_bits = not self.all_bits
        self._show()

    def fold(self, line: Line) -> bool:
        """Fold or unfold a group or a call; whether the line is one."""
        if isinstance(line, Heading) and line.group:
            self._folded ^= {line.group}
        elif isinstance(line, CallRow) and line.parts:
            self._opened ^= {line.name}
        else:
            return False
        self._show()
        return True

    def is_folded(self, line: Line) -> bool:
        """The lines below a group are hidden."""
        return isinstance(line, Heading) and line.group in self._folded

    def is_open(self, call: CallRow) -> bool:
        """What a call failed at is shown: of the first refused one, unless the user folded it; of others on demand."""
        return (call is self.picture.first_refused) is not (call.name in self._opened)

    def is_reached(self, call: CallRow) -> bool:
        """No call before this one has ended the migration."""
        before = self.picture.calls[: next(at for at, one in enumerate(self.picture.calls) if one is call)]
        return not any(one.ends for one in before)

    def _made_lines(self) -> Iterator[Line]:
        picture = self.picture
        yield Heading(f"the calls of {picture.vmm}, in its order", "calls")
        if "calls" not in self._folded:
            for call in picture.calls:
                yield call
                if self.is_open(call):
                    yield from call.parts
            if picture.no_calls:
                yield Words(f"no call of KVM is asked: {picture.no_calls}")
        if picture.untried:
            yield Words(f"not captured, so not asked: {', '.join(picture.untried)}")
        yield from self._bit_lines()
        if picture.remedy is not None:
            yield Heading("what to change: all remedies at once")
            yield picture.remedy
        if picture.lost:
            yield Heading("lost in silence", "lost")
            yield from picture.lost if "lost" not in self._folded else ()
        if picture.hangs_on:
            yield Heading("what the answer hangs on")
            yield from (Words(text) for text in picture.hangs_on)

    def _bit_lines(self) -> Iterator[Line]:
        picture = self.picture
        shown = [bit for bit in picture.bits if bit.blocks or self.all_bits]
        rest = len(picture.bits) - len(shown)
        groups: dict[str, list[BitRow]] = {}
        for bit in shown:
            groups.setdefault(bit.by, []).append(bit)
        if shown:
            yield Words(f"{picture.noun} · place · guest → destination · ● in use · words against it")
        for by, bits in groups.items():
            blocking = sum(bit.blocks for bit in bits)
            way = "" if blocking == len(bits) else f", {blocking} in the way" if blocking else ", none in the way"
            yield Heading(f"decided by {by}: {counted(len(bits), picture.noun)}{way}", by)
            yield from bits if by not in self._folded else ()
        if not shown and picture.bits:
            yield Heading(f"no {picture.noun} is in the way")
        if rest:
            yield Words(f"{counted(rest, 'other difference')} in nobody's way (a shows them)")

    def start(self) -> int:
        """The line to begin at: the call that ends the migration, else the first bit, else the first call."""
        wanted = self.picture.first_refused
        at = next((at for at, line in enumerate(self.lines) if line is wanted), None) if wanted is not None else None
        return at if at is not None else self.next_in_the_way(0) or 1

    def next_in_the_way(self, start: int, by: int = 1) -> int | None:
        """The next line that is in the way: a refused call, a blocking bit, something lost."""
        count = len(self.lines)
        order = ((start + by * step) % count for step in range(1, count + 1))
        return next((at for at in order if _is_in_the_way(self.lines[at])), None)

    def find(self, line: Line) -> int | None:
        """A line like another one: the same call, bit or heading, after a change."""
        key = _key(line)
        return next((at for at, other in enumerate(self.lines) if _key(other) == key), None)

    # Taking away

    def remedy(self, line: Line) -> str:
        """The words of the VMM that change what a line says; empty where there are none."""
        if isinstance(line, BitRow):
            return line.remedies.get(self.vmm, "")
        remedy = self.picture.remedy
        return remedy.line if remedy is not None and not isinstance(line, LostRow) else ""

    def command(self) -> str:
        """The command that prints the same; empty where there is none."""
        if self.edited:
            return ""
        words = ["inspector", "migrate", self.move.source, self.move.destination]
        words += ["--vcpu", str(self.vcpu)] if self.vcpu else []
        for name in ("kernel", "vmm", "model", "machine"):
            value = getattr(self.move, name)
            words += [f"--{name}", value] if value else []
        words += ["--abi", self.move.abi] if self.move.abi != Move._field_defaults["abi"] else []
        words += ["--imp-ids"] if self.move.imp_ids else []
        words += ["--bits"] if self.all_bits and self.mover.has_models else []
        return shlex.join(words)


def _is_in_the_way(line: Line) -> bool:
    if isinstance(line, CallRow):
        return line.held is False
    return isinstance(line, LostRow) or (isinstance(line, BitRow) and line.blocks)


def _key(line: Line) -> tuple[str, ...]:
    if isinstance(line, BitRow):
        return ("bit", line.where)
    if isinstance(line, Heading):
        return ("heading", line.group or line.text)
    return (type(line).__name__, str(line[0]))
