"""A mistyped name says in one short line what it was meant to be."""

from __future__ import annotations

import shlex

import pytest

from inspector.cli.main import main

#: The longest line that is still read.
_MOST_LETTERS = 240


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("opne sample:amx", "open"),
        ("samples procss.core", "amx/process.core"),
        ("show sample:amx/proces.core", "sample:amx/process.core"),
        ("show sample:amx --field pkr", "xsave.pkru.pkru"),
        ("show sample:amx --field 'xsave.pkr.pkru'", "xsave.pkru.pkru"),
        ("set sample:amx xsave.legacy.mxscr=1", "xsave.legacy.mxcsr"),
        ("show sample:amx --layout zen55", "zen5"),
        ("show sample:amx --as KVM-REG", "kvm-regs"),
        ("sim guest-xdf", "guest-xfd"),
        ("sim new --host zenn5", "zen5"),
        ("sim new --event KVM_GET_XSVE2", "KVM_GET_XSAVE2"),
        ("models show neoverse-v1-v9", "neoverse-v1-v1"),
        ("models check neoverse-v1 --host maxx", "max"),
        ("models check neoverse-v1 --host max feat_SH2=sha", "feat_SHA2"),
        ("migrate sample:amx milan --model epyc-mlan", "EPYC-Milan"),
        ("layouts show xsve", "xsave"),
    ],
)
def test_did_you_mean(words: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(words)) != 0
    line = capsys.readouterr().err.splitlines()[-1]
    assert "did you mean" in line
    assert meant in line.partition("did you mean")[2]
    assert len(line) < _MOST_LETTERS
