"""Architecture features of a guest, properties for Arm's names, and a model's verdict kernel by kernel, as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from inspector.export.models import wrapped
from inspector.machine.arm64.models.realize import Realization
from layouts.arm64.arm_features import Match, features_in

_NAMES = 3


def features_text(made: Realization) -> Iterator[str]:
    """Which FEAT_ the guest has, and which of the host's it has not."""
    guest = features_in(made.registers)
    yield "features of the guest (Arm's names)"
    yield from wrapped("   ", guest)
    limits = {encoding: made.host.limit(encoding, made.request.features) for encoding in made.request.registers}
    left = [name for name in features_in(limits) if name not in guest]
    if left:
        yield "features that this host would give, and the guest has not"
        yield from wrapped("   ", left)


def matches_text(found: Sequence[Match]) -> Iterator[str]:
    """Properties with the fields that they set, and what said so."""
    for match in found:
        yield f"{match.word:<34} {match.place.register}.{match.place.name:<12} {match.says}".rstrip()


def kernels_text(name: str, rows: Iterable[Realization]) -> Iterator[str]:
    """The verdict of one model on one host, kernel by kernel."""
    for made in rows:
        yield f"{name} on {made.host.name}, kernel {made.host.kernel.name:<5} usable {_verdict(made)}"


def _verdict(made: Realization) -> str:
    if made.verdict != "no":
        return made.verdict
    names = list(dict.fromkeys(blocker.name for blocker in made.blockers))
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return f"no: {', '.join(names[:_NAMES])}{more}"
