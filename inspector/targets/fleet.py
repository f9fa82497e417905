"""``fleet:FILE``: a store of ``inspector fleet``, which has a screen and is no capture."""

from __future__ import annotations

import os

from inspector.capture.errors import InputError
from inspector.readers.options import Options
from inspector.targets.labs import FleetLab
from inspector.targets.schemes import FLEET, scheme_of
from layouts.files.fleet_store import DEFAULT_STORE


def lab_of_store(target: str, _options: Options) -> FleetLab:
    """The store of a word, or of a path that is one. Raises InputError for a file that is none."""
    path = target.removeprefix(FLEET) or DEFAULT_STORE
    if not os.path.exists(path):
        raise InputError(path, "a store of inspector fleet add", "no such file")
    if scheme_of(path).prefix != FLEET:
        raise InputError(path, "a store of inspector fleet add", "another file")
    return FleetLab(path)
