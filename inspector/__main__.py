"""The door of the program: ``inspector`` and ``python -m inspector``."""

from __future__ import annotations

import _collections_abc
import os
import sys


class _UntilCollections:
    """``collections.abc`` is what Python has had since its start; to name it imports collections, five modules more.

    Until somebody needs collections itself, the name stands for what is there.
    """

    @classmethod
    def begin(cls) -> None:
        """Unless collections is there already."""
        if "collections" not in sys.modules:
            sys.modules["collections.abc"] = _collections_abc
            sys.meta_path.insert(0, cls)

    @classmethod
    def find_spec(cls, name: str, _path: object = None, _target: object = None) -> None:
        """From now on collections has a module of that name (importlib.abc.MetaPathFinder)."""
        if name == "collections" and cls in sys.meta_path:
            sys.meta_path.remove(cls)
            del sys.modules["collections.abc"]


_UntilCollections.begin()


def main() -> int:
    """Run the command line; Ctrl-C ends it without a word from the first moment to the last."""
    try:
        from inspector.cli.main import main as run

        code = run()
        # What goes with the process needs no look for circles: that takes as long as a tenth of a command.
        import gc

        gc.freeze()
        # What is behind the module signal, which makes enumerations of all signals first.
        from _signal import SIG_IGN, SIGINT, signal  # type: ignore[import-not-found]

        # All is said and written: Python's own end is not interrupted any more.
        signal(SIGINT, SIG_IGN)
    except KeyboardInterrupt:
        return 130  # ExitCode.INTERRUPTED, which may not be there yet
    return code


def enter() -> int:
    """The same as a program of its own, whose memory goes with the process: to take it apart takes a tenth of a start.

    All is said and written by then. Where somebody asked to be called at the end, or a thread may run, Python ends it.
    """
    code = main()
    if not sys.modules.keys() & {"atexit", "threading"}:
        sys.stderr.flush()
        os._exit(code)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
