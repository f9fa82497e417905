"""Text for a file or a pipe is what rich prints without colours, to the byte."""

from __future__ import annotations

import io

import pytest

from inspector.export import text
from inspector.export.rich_lines import printer
from inspector.export.text import write_text
from tests.support import opened

SAMPLES = ("amx/process.core", "zen5-kvm", "qemu-arm64-max/guest-memory.elf.gz", "pasted/oops.txt")


@pytest.mark.parametrize("sample", SAMPLES)
def test_plain_lines_are_richs(sample: str, monkeypatch: pytest.MonkeyPatch) -> None:
    capture = opened(sample)
    plain, rich = io.StringIO(), io.StringIO()
    number = write_text(plain, capture, capture.vcpus, ())
    monkeypatch.setattr(text, "printer_for", printer)
    assert write_text(rich, capture, capture.vcpus, ()) == number
    assert plain.getvalue() == rich.getvalue()
