"""The same targets under atheris, which looks for new paths through the code."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.fuzz.loop import ALARM_SECONDS


def guided(reader: str, seconds: float) -> int:
    """Run one reader under atheris; 2 when atheris is not installed. Ends the process otherwise."""
    try:
        import atheris
    except ImportError:
        print("atheris is not installed: pip install atheris", file=sys.stderr)
        return 2
    with atheris.instrument_imports(include=["inspector"]):
        for name in [name for name in sys.modules if name.startswith("inspector")]:
            del sys.modules[name]
        sys.modules.pop("tests.fuzz.targets", None)
        from tests.fuzz.targets import TARGETS
    target = TARGETS[reader]
    wrap = target.wrap or bytes

    def one(data: bytes) -> None:
        target.run(wrap(data))

    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(target.seeds()):
            Path(corpus, str(number)).write_bytes(seed)
        limits = [f"-max_total_time={int(seconds)}", f"-timeout={int(ALARM_SECONDS)}"]
        atheris.Setup([sys.argv[0], *limits, corpus], one)
        atheris.Fuzz()
    return 0
