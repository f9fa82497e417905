"""A guest and a host of a fleet as a move: by their captures where these can still be read, else by what is kept."""

from __future__ import annotations

from inspector.capture.errors import InspectorError, UsageError
from inspector.fleet.facts import digest
from inspector.fleet.gather import gather
from inspector.fleet.store import Named, Store
from inspector.readers.options import NO_OPTIONS
from inspector.targets import kept
from inspector.targets.lines import word_of
from inspector.targets.moves import Move
from inspector.tui.fleet_asker import Known
from inspector.tui.fleet_view import PairWanted
from inspector.tui.migration_session import MigrationSession
from inspector.tui.migrations import session_of


def move_of(store: Store, pair: PairWanted) -> MigrationSession:
    """The migration of a guest to a host. Raises UsageError where nothing newest is like that any more."""
    guest, host = pair.part.guests[pair.guest], pair.part.hosts[pair.host]
    source, destination = store.capture_of(guest.id), store.page_of(host.id, 0, 1)
    if source is None or not destination:
        raise UsageError(f"{guest.name}: its newest capture is another one")
    return session_of(Move(_word(store, source, guest), _word(store, destination[0], host)), NO_OPTIONS)


def _word(store: Store, named: Named, known: Known) -> str:
    """The word of a capture that is what it was when it was added, else of what the store has of it."""
    word = word_of(named.target)
    try:
        found = [one.guest if known.table == "guests" else one.host for one in gather(word)]
    except InspectorError:
        found = []
    is_there = known.digest in [digest(one) for one in found if one is not None]
    return word if is_there else kept.word_of(store.path, named.name)
