"""The door of the program: ``inspector`` and ``python -m inspector``."""

from __future__ import annotations


def main() -> int:
    """Run the command line; Ctrl-C ends it without a word from the first moment on."""
    try:
        from inspector.cli.main import main as run

        return run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
