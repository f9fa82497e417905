"""A CPU template of Firecracker, which leaves bits to its host, is no host and no guest; on a host it is a guest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inspector.cli.main import main

TEMPLATE = {
    "cpuid_modifiers": [
        {
            "leaf": "0x1",
            "subleaf": "0x0",
            "flags": 0,
            "modifiers": [{"register": "eax", "bitmap": "0bxxxx000000000011xx00011011110010"}],
        }
    ]
}
HOST = "sample:ice-lake/linux-6.1"


@pytest.fixture
def template(tmp_path: Path) -> str:
    path = tmp_path / "T2.json"
    path.write_text(json.dumps(TEMPLATE))
    return str(path)


@pytest.mark.parametrize(
    "words",
    ["migrate {} HOST", "migrate HOST {}", "models check Haswell --host {}", "fleet add {} --store {}.fleet"],
)
def test_a_template_alone(words: str, template: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.replace("HOST", HOST).replace("{}", template).split()) == 3
    out, err = capsys.readouterr()
    assert (
        f"{template}: expected a host or a guest; a CPU template leaves bits to its host (model:FILE:HOST" in out + err
    )


def test_a_template_on_a_host(template: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate", f"model:{template}:{HOST}", HOST]) == 0
    assert "the vCPU arrives" in capsys.readouterr().out
