"""Make the pictures of README and docs with the program itself: make screenshots."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from inspector.cli.open import app_of, comparing
from inspector.tui.picture import photograph

PICTURES = Path(__file__).parent / "pictures"

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


def main(wanted: Sequence[str]) -> None:
    """Take the pictures of these names, or every one."""
    PICTURES.mkdir(exist_ok=True)
    apps = {name: (app_of, *shot) for name, shot in SHOTS.items()}
    apps |= {name: (comparing, *shot) for name, shot in COMPARED.items()}
    for name in wanted or apps:
        make, target, size, keys = apps[name]
        data = photograph(make(target), size, keys, ["png"])["png"]
        (PICTURES / f"{name}.png").write_bytes(data)


main(sys.argv[1:])
