"""A guest and a host of a fleet as a move, where their captures can still be read."""

from __future__ import annotations

from inspector.capture.errors import InspectorError, UsageError
from inspector.fleet.facts import digest
from inspector.fleet.gather import gather
from inspector.fleet.store import Named, Store
from inspector.readers.options import NO_OPTIONS
from inspector.targets.lines import word_of
from inspector.targets.moves import Move
from inspector.tui.fleet_asker import Known
from inspector.tui.fleet_view import PairWanted
from inspector.tui.migration_session import MigrationSession
from inspector.tui.migrations import session_of


def move_of(store: Store, pair: PairWanted) -> MigrationSession:
    """The migration of a guest to a host. Raises UsageError where a capture is gone or another one by now."""
    guest, host = pair.part.guests[pair.guest], pair.part.hosts[pair.host]
    source, destination = store.capture_of(guest.id), store.page_of(host.id, 0, 1)
    if source is None or not destination:
        raise UsageError(f"{guest.name}: its newest capture is another one")
    for named, kept, is_guest in ((source, guest, True), (destination[0], host, False)):
        _require(named, kept, is_guest=is_guest)
    return session_of(Move(word_of(source.target), word_of(destination[0].target)), NO_OPTIONS)


def _require(named: Named, kept: Known, *, is_guest: bool) -> None:
    """The capture is there, and is what it was when it was added."""
    try:
        found = gather(word_of(named.target))
    except InspectorError as error:
        words = f"{named.name} cannot be read any more, so its move is not asked: what is known of it is shown here"
        raise UsageError(f"{words} ({error})") from None
    documents = [one.guest if is_guest else one.host for one in found]
    if kept.digest not in [digest(one) for one in documents if one is not None]:
        raise UsageError(f"{named.target} is another one than when it was added: add it again")
