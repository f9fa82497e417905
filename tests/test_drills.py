"""The drills of CONTRIBUTING: what somebody adds in one file is known everywhere.

A kernel profile is in test_new_kernel.py, an XSAVE component in layouts/test_new_component.py, a target scheme in
targets/test_schemes.py.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import types
from importlib.resources import files
from pathlib import Path

import pytest

from inspector.capture.exit_code import ExitCode
from inspector.cli import main as cli
from layouts.arm64 import named_models
from tests.new_struct import NEW

ROOT = Path(__file__).parents[1]


def test_a_kvm_structure_is_one_layout(tmp_path: Path) -> None:
    """Read by --as, by its name in a folder and by its key in JSON; written as raw; told by layouts."""
    data = (123456789).to_bytes(8, "little") + bytes(NEW.construct.sizeof() - 8)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "vcpu0.kvm_regs.bin").write_bytes(bytes(144))
    (folder / "vcpu0.clock_data.bin").write_bytes(data)
    (tmp_path / "one.bin").write_bytes(data)
    state = {"vcpu_id": 0, "regs": {"rax": 1}, "debug_regs": {}, "clock_data": {"clock": 123456789}}
    (tmp_path / "state.json").write_text(json.dumps(state))
    shown = f"show {folder} -- show {tmp_path}/one.bin --as kvm-clock-data -- show {tmp_path}/state.json"
    words = f"{shown} -- convert {folder} --to raw -o {tmp_path}/raw -- layouts show kvm-clock-data"
    command = [sys.executable, "-m", "tests.new_struct", *words.split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.OK, done.stderr
    assert (
        len(re.findall(r"^ *clock\.clock .*123,?456,?789|^ *clock\.clock .*0x75bcd15", done.stdout, re.MULTILINE)) == 3
    )
    assert any(path.read_bytes() == data and "clock_data" in path.name for path in (tmp_path / "raw").iterdir())
    assert "KVM_GET_CLOCK" in done.stdout


MODEL = """\
name = "drill-v1"
title = "a core of tomorrow"
parent = "neoverse-n1-v1"

[[values]]
source = "graviton2"
[values.properties]
feat_SHA2 = "off"
"""


def test_a_named_model_is_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    for entry in files("layouts.arm64").joinpath("models").iterdir():
        if entry.name.endswith(".toml"):
            (models / entry.name).write_text(entry.read_text("utf-8"))
    (models / "drill-v1.toml").write_text(MODEL)
    monkeypatch.setattr(named_models, "data_names", lambda _, ending: sorted(p.name for p in models.glob(f"*{ending}")))
    monkeypatch.setattr(named_models, "data_table", lambda path: tomllib.loads((models / Path(path).name).read_text()))
    named_models.named_models.cache_clear()
    try:
        assert cli.main(["models", "list", "--arch", "arm64"]) == ExitCode.OK
        assert cli.main(["models", "show", "drill-v1"]) == ExitCode.OK
        assert cli.main(["models", "check", "drill-v1", "--host", "neoverse-n1@7.2"]) == ExitCode.OK
    finally:
        named_models.named_models.cache_clear()
    out = capsys.readouterr().out
    assert "a core of tomorrow" in out
    assert "drill-v1" in out


def test_a_command_is_one_module_and_its_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = types.ModuleType("inspector.cli.drill")
    module.run = lambda words: ExitCode.of(words == ["sample:amx"])  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(cli.COMMANDS, "drill", ("drill", "what tomorrow brings"))
    assert cli.main(["drill", "sample:amx"]) == ExitCode.OK
    assert cli.main(["drill"]) == ExitCode.NO
    assert cli.main(["--help"]) == ExitCode.OK
    assert "drill       what tomorrow brings" in capsys.readouterr().out
    assert cli.main(["dril"]) == ExitCode.USAGE
    assert "drill" in capsys.readouterr().err


def test_the_drills_name_files_that_are_there() -> None:
    """Each file that CONTRIBUTING tells to change, or to look at, exists."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(r"`((?:inspector|layouts|tests|docs|samples)/[\w./-]+\.(?:py|json|toml|md))`", text)
    assert len(named) > 20
    assert [path for path in named if not (ROOT / path).exists()] == []
