"""Make the pictures of README and docs with the program itself: make screenshots."""

from __future__ import annotations

from pathlib import Path

from inspector.cli.open import app_of
from inspector.tui.picture import photograph

PICTURES = Path(__file__).parent / "pictures"

#: name -> target, size, keys
SHOTS = {
    "tile": ("sample:amx/process.core", (160, 45), ["colon", *"tmm[1]", "enter"]),
    "start": ("sample:amx", (160, 45), []),
    "compare": ("sample:zen5-kvm", (140, 30), ["c", "d", "slash", *"xsave.", "enter", "j", "j"]),
    "lab-levels": ("sim:transcript-vm-amx", (160, 45), ["n"] * 11),
    "lab-timeline": ("sim:transcript-vm-amx", (130, 34), [*["n"] * 11, "T"]),
    "lab": ("sim:guest-xfd", (110, 34), ["n"] * 7),
    "id-lab": ("model:neoverse-v1-v1:neoverse-n1", (150, 40), ["slash", *"feat_SHA2", "enter", "b"]),
    "bits": ("sample:amx/process.core", (80, 24), ["colon", *"mxcsr", "enter", "space", "j"]),
}


def main() -> None:
    """Take every picture."""
    PICTURES.mkdir(exist_ok=True)
    for name, (target, size, keys) in SHOTS.items():
        data = photograph(app_of(target), size, keys, ["png"])["png"]
        (PICTURES / f"{name}.png").write_bytes(data)


main()
