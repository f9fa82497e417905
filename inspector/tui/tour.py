"""The tour: what there is to see in both labs, stop by stop, and the key that goes on. Five minutes.

A stop is left when the event happened that it is about, when one of its keys was pressed, or when something was
searched for; F2 goes on without. Texts name keys by their ids, so that they show the user's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from inspector.tui.id_lab_session import IdLabSession
from inspector.tui.labs import LabSession


class Stop(NamedTuple):
    """What is said, and what leads on: an event of the lab's world, keys by their ids, or a search."""

    text: str
    event: str = ""
    keys: tuple[str, ...] = ()
    searched: bool = False


class Part(NamedTuple):
    """A lab, by its target, and its stops."""

    title: str
    target: str
    stops: tuple[Stop, ...]


_UP = ("app.up", "app.leave", "lab.back", "timeline.back", "migration.back")

PARTS = (
    Part(
        "the XSTATE lab",
        "sim:new:sapphire-rapids",
        (
            Stop(
                "A guest's program dies of SIGILL on an AMX instruction. Why? Each row is an XSAVE component, "
                "each column something that stands between it and a program. {line.up} {line.down} go through "
                "them; {line.last} is the last one: 18, AMX's tiles.",
                keys=("line.last",),
            ),
            Stop(
                "Below, the gates are drawn in their order. The first closed one decides, and says which key "
                "opens it: nobody asked for permission. {xstate.permit} asks for the guest, as a VMM has to, "
                "before the first vCPU.",
                event="arch_prctl REQ_XCOMP_GUEST_PERM 18",
            ),
            Stop(
                "The gate is open, and the outcome lists what the kernel checked, in its order. Events are behind "
                "{lab.leader}, so that stray typing does nothing. {xstate.create}: KVM_CREATE_VCPU.",
                event="KVM_CREATE_VCPU",
            ),
            Stop(
                "Its CPUID decides what the guest can turn on. {xstate.cpuid} gives it all that this KVM "
                "supports; the buffer grows to hold tiles. It is drawn to scale (in low terminals {xstate.picture_of} "
                "shows it).",
                event="KVM_SET_CPUID2 supported",
            ),
            Stop(
                "{xstate.boot} boots a Linux in the guest: it sets XCR0, and arms XFD, so that the first use of "
                "tiles is told to it by #NM.",
                event="guest boot",
            ),
            Stop(
                "{xstate.ldtilecfg} configures tiles, then {xstate.tileload} loads one. An instruction's checks "
                "are the manual's, in its order.",
                event="guest tileloadd 0",
            ),
            Stop(
                "#NM: XFD[18] is 1. {xstate.why} goes through all gates in one list, from the host's CPU to the "
                "guest's program: nobody asked the guest's kernel for permission, so it makes SIGILL of the #NM.",
                keys=("xstate.why",),
            ),
            Stop(
                "Nothing is final: {lab.undo} takes an event back, to the byte, and {lab.redo} lets it be again.",
                keys=("lab.undo",),
            ),
            Stop(
                "{xstate.timeline} has every event with the state before and after, as lanes from VMM to guest. "
                "Look around; Esc comes back here.",
                keys=_UP,
            ),
            Stop(
                "{xstate.elsewhere} plays the same events on another host, kernel or policy, {xstate.against} "
                "shows both side by side, {lab.yank} copies the command that shows this. {tour.on} goes on to ID "
                "registers.",
            ),
        ),
    ),
    Part(
        "the ID-register lab",
        "model:neoverse-v1-v1,sve=off:graviton3,neoverse-n1",
        (
            Stop(
                "An arm64 guest of the model neoverse-v1 without SVE runs on Graviton3. Would it run on a Neoverse "
                "N1? Each line is a property of the model, with what both hosts accept. {idlab.blocker}: the next "
                "line in the way.",
                keys=("idlab.blocker",),
            ),
            Stop(
                "Its register is drawn above, field by field; the outcome has what KVM_SET_ONE_REG answers. "
                "{idlab.next} tries the next value, accepted or not.",
                keys=("idlab.next",),
            ),
            Stop(
                "{idlab.search}, then a feature such as I8MM or FEAT_SVE2, and Enter: which fields carry it, and "
                "what it implies.",
                searched=True,
            ),
            Stop(
                "{idlab.calls}: what a VMM calls to make this guest, in its order, and what KVM answers each.",
                keys=("idlab.calls",),
            ),
            Stop(
                "{idlab.migrate}: the guest moves to the second host. The call that is refused, the fields by who "
                "decided them, and what to change. Esc comes back here.",
                keys=_UP,
            ),
            Stop(
                "That is all: inspector open FILE shows your own captures, inspector alone what there is, "
                "{app.help} the keys of any screen. {app.quit} leaves."
            ),
        ),
    ),
)


class Tour:
    """Where one is in the tour."""

    def __init__(self, parts: Sequence[Part] = PARTS) -> None:
        self.parts = parts
        self.part, self.number = 0, 0
        #: Events of the world, and words searched for, when the stop began.
        self._seen: tuple[int, str] = (0, "")

    @property
    def stop(self) -> Stop:
        """The stop that is shown."""
        return self.parts[self.part].stops[self.number]

    @property
    def title(self) -> str:
        """Which stop of how many, and of which lab."""
        before = sum(len(part.stops) for part in self.parts[: self.part])
        total = sum(len(part.stops) for part in self.parts)
        return f"tour {before + self.number + 1} of {total}: {self.parts[self.part].title}"

    def text(self, keys: Mapping[str, str]) -> str:
        """What is said, with keys as they are written, by id."""
        text = self.stop.text
        for name, written in keys.items():
            text = text.replace(f"{{{name}}}", written)
        return text

    def go(self, by: int) -> bool:
        """To the next stop, or the one before; True where that is in another lab."""
        at = self.number + by
        if 0 <= at < len(self.parts[self.part].stops):
            self.number = at
        elif 0 <= self.part + by < len(self.parts):
            self.part += by
            self.number = 0 if by > 0 else len(self.parts[self.part].stops) - 1
            return True
        return False

    def arrived(self, session: LabSession) -> None:
        """The stop is shown: what happened before it does not count."""
        self._seen = _happened(session)

    def is_done(self, session: LabSession, pressed: Sequence[str]) -> bool:
        """Whether the stop is left, now that keys of these ids were pressed."""
        stop, (count, searched) = self.stop, _happened(session)
        if stop.event:
            steps = [] if isinstance(session, IdLabSession) else session.world.steps
            return count > self._seen[0] and steps[-1].event == stop.event
        if stop.searched:
            return bool(searched) and searched != self._seen[1]
        return bool(set(stop.keys) & set(pressed))


def _happened(session: LabSession) -> tuple[int, str]:
    """How many events happened in a lab, and what was searched for last."""
    steps = 0 if isinstance(session, IdLabSession) else len(session.world.steps)
    return steps, session.search_text
