"""The shapes that docs/json.md names are those that are printed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from inspector.cli.main import main
from inspector.export.kinds import SCHEMAS
from layouts.arm64.kernels import kernels

DOCS = Path(__file__).parents[2] / "docs"
NAMED = set(re.findall(r"`([\w-]+)`", (DOCS / "json.md").read_text("utf-8")))
TIMELINE = set(re.findall(r'"(\w+)"', (DOCS / "x86-machine.md").read_text("utf-8")))
COMMANDS = (
    ("show", "sample:amx", "--vcpu", "0", "--field", "xcr.*"),
    ("sim", "guest-xfd", "--against", "rfc"),
    ("sim", "guest-xfd", "--why", "18"),
    ("sim", "list"),
    ("sim", "arm64-memory", "--against", "6.12"),
    ("sim", "--from-log", "sample:logs/refused-cpuid.strace.txt", "--kernel", "6.18"),
    ("set", "sample:amx", "xcr.xcr0=0x602e7"),
    ("migrate", "sample:graviton3/linux-6.18", "neoverse-n1"),
    ("lint", "sample:amx"),
    ("diff", "sample:amx", "sample:amx"),
    ("models", "list"),
    ("models", "show", "neoverse-v1-v1"),
    ("models", "expand", "neoverse-v1-v1", "--host", "max"),
    ("models", "check", "neoverse-v1-v1", "--host", "max", "--host", "neoverse-v1"),
    ("models", "baseline", "neoverse-v1", "neoverse-n2"),
    ("layouts", "kernels", "6.1", "6.18"),
    ("show", "sample:graviton3/linux-6.18", "--feat"),
)


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    main([*words, "--json"])
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_key_is_documented(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    answer = printed(capsys, *words)
    first = answer[0] if isinstance(answer, list) else answer
    assert set(first) <= NAMED | TIMELINE
    assert first["schema"] == SCHEMAS[first["kind"]]


def test_why_of_a_component(capsys: pytest.CaptureFixture[str]) -> None:
    why = printed(capsys, "sim", "guest-xfd", "--why", "18")["why"]
    assert (why["component"], why["works"]) == (18, True)
    assert {"text": "the guest's XFD[18] is 0", "held": True} in why["checks"]
    assert not printed(capsys, "sim", "no-amx-in-guest", "--why", "18")["why"]["works"]


def test_a_verdict_for_each_kernel(capsys: pytest.CaptureFixture[str]) -> None:
    rows = printed(capsys, "models", "check", "neoverse-v1-v1", "--host", "max", "--each-kernel")
    by_kernel = {row["kernel"]: row["usable"] for row in rows}
    assert list(by_kernel) == list(kernels())
    assert (by_kernel["5.10"], by_kernel["7.2"]) == (False, True)


def test_every_kind_is_documented_and_printed_by_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(SCHEMAS) <= NAMED
    answers = [printed(capsys, *words) for words in COMMANDS]
    kinds = {answer[0]["kind"] if isinstance(answer, list) else answer["kind"] for answer in answers}
    # tests/fleet asks those of fleets.
    assert kinds == {kind for kind in SCHEMAS if not kind.startswith("fleet-")} - {"verification"}
    main(["verify", str(Path(__file__).parents[1] / "machine/verdicts/arm64-linux-7.2-a64fx.jsonl.gz"), "--json"])
    assert json.loads(capsys.readouterr().out)["kind"] == "verification"
