"""Every answer of a recording: one module a section."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from inspector.machine.answer import Agreed, Answer, NotAsked
from inspector.machine.x86.replay.restore.bench import Bench, Record
from inspector.machine.x86.replay.restore.captures import CapturesByName

Found = Iterator[Answer | Agreed | NotAsked]
Section = Callable[[Bench, Sequence[Record]], Found]


def sections(captures: CapturesByName | None = None) -> dict[str, Section]:
    """The sections that the machine replays, by name; ``captures`` are what section ``foreign`` restores."""
    from inspector.machine.x86.replay.restore import (
        cpuid,
        dbg,
        events,
        hidden_msrs,
        hide,
        host,
        lapic,
        mce,
        misc,
        mp,
        msrs,
        nested,
        run,
        sregs,
        whole,
        xsave,
    )

    return {
        "host": host.replay,
        "cpuid": cpuid.replay,
        "arun": cpuid.replay_after_run,
        "sregs": sregs.replay,
        "xsave": xsave.replay,
        "restore": whole.replay,
        "foreign": whole.foreign(captures or no_captures),
        "dbg": dbg.replay,
        "mp": mp.replay,
        "events": events.replay,
        "lapic": lapic.replay,
        "nested": nested.replay,
        "misc": misc.replay,
        "run": run.replay,
        "msr1": msrs.sweeps("msr1"),
        "msr2": msrs.sweeps("msr2"),
        "mce": msrs.sweeps("mce", mce.replay),
        "multi": msrs.multi,
        "hide": both(hide.replay, hidden_msrs.replay),
    }


def no_captures(_name: str) -> None:
    """Nothing was captured elsewhere."""


def both(*parts: Section) -> Section:
    """A section whose records hold the answers of several areas."""

    def replay_both(bench: Bench, records: Sequence[Record]) -> Found:
        for part in parts:
            yield from part(bench, records)

    return replay_both


def replay(bench: Bench, captures: CapturesByName | None = None) -> Found:
    """The answers of all sections; kinds are ``section.op``."""
    known = sections(captures)
    for name, records in bench.sections.items():
        if name == "host" and bench.is_host_borrowed:
            continue
        if name in known:
            yield from known[name](bench, records)
        else:
            kinds = Counter(record["op"] for record in records)
            for kind, count in kinds.items():
                yield NotAsked(f"{name}.{kind}", "sections that the machine does not replay yet", count)
