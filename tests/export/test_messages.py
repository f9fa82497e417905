"""From a line that a VMM printed to what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from inspector.cli.main import main
from layouts.messages import MESSAGES, Message, message_in

DOCS = Path(__file__).parents[2] / "docs"


def anchors(page: str) -> set[str]:
    """The sections of a page, as links name them."""
    headings = re.findall(r"^#+ (.*)$", (DOCS / f"{page}.md").read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("message", MESSAGES, ids=lambda one: one.words)
def test_a_message_is_known_and_leads_to_its_walk(message: Message) -> None:
    assert message_in(message.text) is message
    assert message_in(message.words.upper()) is message
    assert (DOCS / f"{message.page}.md").exists()
    assert not message.section or message.section in anchors(message.page)
    link = f"({message.page}.md{'#' if message.section else ''}{message.section})"
    rows = (DOCS / "messages.md").read_text("utf-8").splitlines()
    assert any(link in row and message_in(row) is message for row in rows if row.startswith("|")), link


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("qemu-kvm: error: failed to set MSR 0x48f to 0x7fffff00036dfb", "0x48f is IA32_VMX_TRUE_EXIT_CTLS"),
        ("warning: TCG doesn't support requested feature: CPUID.07H:EBX.hle [bit 4]", "models check LINE"),
        ("2026-11-22: operation failed: guest CPU doesn't match specification: extra features: vmx", "--vmm libvirt"),
    ],
)
def test_a_line_of_a_log_is_explained(line: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *line.split()]) == 0
    assert said in capsys.readouterr().out


def test_other_lines_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "it broke today"]) == 2
    assert "no message that is known; expected one of failed to set MSR, " in capsys.readouterr().err
