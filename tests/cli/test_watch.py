"""``show --watch`` prints what changed between two looks."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from inspector.cli.main import main

_REGISTERS = "rax            0x{rax:x}                 1\nrbx            0x2                 2\n"


def test_only_what_changed_is_printed(tmp_path: Path) -> None:
    path = tmp_path / "registers.txt"
    path.write_text(_REGISTERS.format(rax=1))
    words = [sys.executable, "-m", "inspector", "show", str(path), "--watch", "0.05"]
    shown = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert shown.stdout is not None
    try:
        for line in shown.stdout:
            if "regs.rbx" in line:
                break
        new = tmp_path / "new"
        new.write_text(_REGISTERS.format(rax=0x77))
        new.rename(path)
        seen = [next(shown.stdout) for _ in range(5)]
    finally:
        shown.send_signal(signal.SIGINT)
        assert shown.wait(10) == 130
    assert "0x0000000000000001 → 0x0000000000000077" in seen[-1]
    assert "regs.rax" in seen[-1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--watch 0", "expected 0.05 to 86400 seconds"),
        ("--watch nan", "expected 0.05 to 86400 seconds"),
        ("--watch 1 --json", "goes without --json, --jsonl, --list and --set"),
    ],
)
def test_words(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "sample:amx", *words.split()]) == 2
    assert said in capsys.readouterr().err
