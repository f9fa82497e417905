"""Make the pictures of README and docs with the program itself: make screenshots."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from inspector.cli.open import app_of, comparing
from inspector.fleet.adding import add
from inspector.fleet.sources import items
from inspector.fleet.store import Store
from inspector.tui.base_app import BaseApp
from inspector.tui.picture import photograph

PICTURES = Path(__file__).resolve().parent / "pictures"
CPUS = ("ice-lake", "sapphire-rapids", "granite-rapids", "cascade-lake", "graviton3")

#: name -> target, size, keys
SHOTS = {
    "tile": ("sample:amx/process.core", (160, 45), ["colon", *"tmm[1]", "enter"]),
    "start": ("sample:amx", (160, 45), []),
    "compare": ("sample:zen5-kvm", (140, 30), ["c", "slash", *"xsave.", "enter", "j", "j"]),
    "lab-levels": ("sim:transcript-vm-amx", (160, 45), ["n"] * 11),
    "lab-timeline": ("sim:transcript-vm-amx", (150, 38), [*["n"] * 11, "T"]),
    "lab": ("sim:guest-xfd", (160, 45), ["n"] * 7),
    "lab-against": ("sim:rfc-preempt", (130, 34), [*["n"] * 14, "A", *"upstream", "enter"]),
    "id-lab": ("model:neoverse-v1-v1:neoverse-n1", (150, 40), ["slash", *"feat_SHA2", "enter", "b"]),
    "arm64-lab": ("sim:arm64-sve-lengths", (110, 34), ["n"] * 7),
    "bits": ("sample:amx/process.core", (80, 24), ["colon", *"mxcsr", "enter", "space", "j"]),
}


#: name -> targets side by side, size, keys
COMPARED = {
    "time": (
        [f"sample:emerald-rapids/{scene}.core.gz" for scene in ("init", "full", "tilezero", "released")],
        (140, 30),
        ["T", "right", "right"],
    ),
}


#: name -> what is added to a store, size, keys
FLEETS = {
    "fleet": (
        [f"sample:{cpu}/linux-{kernel}" for cpu in CPUS for kernel in ("5.10", "6.1", "6.18")],
        (160, 40),
        ["j"],
    ),
}


def fleet_of(targets: Sequence[str]) -> BaseApp:
    """The application on a store of these, in a folder that is left when the program ends."""
    os.chdir(tempfile.mkdtemp())
    with Store("site.fleet", create=True) as store:
        add(store, items(targets), processes=1)
    return app_of("site.fleet")


def main(wanted: Sequence[str]) -> None:
    """Take the pictures of these names, or every one."""
    PICTURES.mkdir(exist_ok=True)
    apps = {name: (app_of, *shot) for name, shot in SHOTS.items()}
    apps |= {name: (comparing, *shot) for name, shot in COMPARED.items()}
    apps |= {name: (fleet_of, *shot) for name, shot in FLEETS.items()}
    for name in wanted or apps:
        make, target, size, keys = apps[name]
        data = photograph(make(target), size, keys, ["png"])["png"]
        (PICTURES / f"{name}.png").write_bytes(data)


main(sys.argv[1:])
