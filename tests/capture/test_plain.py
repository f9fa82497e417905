"""ASCII for who has nothing else: which signs stand for ours, who is given them, and what a stream cannot carry."""

from __future__ import annotations

import io
import sys

import pytest
from rich.cells import cell_len

from inspector.capture.plain import ERRORS, plain, wants_ascii
from inspector.cli.main import main

_SIGNS = "▸▾●○◐╳━┄█▒░≠…✓✗→←↑↓·≈◂│┌┘─▇⏎¦"


def test_each_sign_becomes_one_that_is_as_wide() -> None:
    assert plain(_SIGNS).isascii()
    assert len(plain(_SIGNS)) == len(_SIGNS)
    assert plain("▸ ≠ ✗ → …") == "> # x > ~"
    assert plain("é 漢 ¿") == "e ?? ?"
    assert all(len(plain(letter)) == cell_len(letter) for letter in "漢é…ü")
    # Marks that stand side by side stay different.
    assert len({plain(sign) for sign in "✓✗~?"}) == 4
    assert len({plain(sign) for sign in "●○◐·"}) == 4
    assert len({plain(sign) for sign in "█▒░"}) == 3


@pytest.mark.parametrize(
    ("wanted", "environment"),
    [
        (True, {"TERM": "linux", "LANG": "de_DE.UTF-8"}),
        (True, {"LANG": "C"}),
        (True, {"LANG": "POSIX", "LC_CTYPE": "C.UTF-8"}),
        (True, {"LANG": "de_DE.UTF-8", "LC_ALL": "C"}),
        (True, {"LANG": "de_DE.ISO-8859-1"}),
        (True, {"LANG": "de_DE.UTF-8", "INSPECTOR_ASCII": "1"}),
        (False, {"LANG": "C", "INSPECTOR_ASCII": "0"}),
        (False, {"LANG": "C.UTF-8", "TERM": "xterm-256color"}),
        (False, {"LANG": "de_DE.utf8@euro"}),
        (False, {"LANG": "de_DE"}),
        (False, {"LC_CTYPE": "C.UTF-8"}),
        (False, {}),
    ],
)
def test_who_has_ascii_alone(wanted: bool, environment: dict[str, str]) -> None:
    assert wants_ascii(environment) is wanted


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_a_stream_cannot_carry(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["show", "sample:amx"]) == 0
    out.flush()
    text = out.buffer.getvalue()  # type: ignore[attr-defined]
    assert b"\\u" not in text
    assert b"~" in text


def test_a_stream_that_is_read_keeps_its_error() -> None:
    """Stand-ins are for what is written; bytes that do not decode are the reader's own fault."""
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("ascii", ERRORS)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("─│┼", "-|+"),
        ("█▇", "##"),
        # A letter and its mark are one letter of ASCII, in either form.
        ("e\u0301", "e"),
        ("\u00e9", "e"),
        ("a→b", "a>b"),
    ],
)
def test_letter_for_letter(text: str, shown: str) -> None:
    assert plain(text) == shown
