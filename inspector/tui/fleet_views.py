"""The views of a fleet that a key each leads to. No toolkit."""

from __future__ import annotations

from inspector.tui.fleet_answers import BaselineView, ForecastView, OddView
from inspector.tui.fleet_guests import GuestsView
from inspector.tui.fleet_lattice import LatticeView
from inspector.tui.fleet_view import View

VIEWS: dict[str, type[View]] = {
    view.name: view for view in (LatticeView, GuestsView, OddView, BaselineView, ForecastView)
}
