"""Bad words on the command line: one line that says what was meant, what there is, and the right exit code."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inspector.capture.nearest import did_you_mean
from inspector.cli.main import main
from inspector.targets import samples
from layouts.arm64.named_models import named_models, parse_model


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """The exit code, and the one line on stderr."""
    code = main(words)
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1, err
    return code, err.removeprefix("inspector: ").rstrip("\n")


def test_the_nearest_names_come_first_and_are_few() -> None:
    assert did_you_mean("opne", ["show", "open"], "x") == "did you mean open? x has them all"
    assert did_you_mean("qqq", ["show", "open"], "x") == "x has them all"
    assert did_you_mean("", ["show", "open"], "x") == "x has them all"
    hint = did_you_mean("neoverse", named_models(), "x")
    assert hint.count("neoverse") == 3


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("opne x", 2, "no command 'opne'; did you mean open? inspector --help has them all"),
        ("nosuch.core", 3, "nosuch.core: expected a readable file, found no such file"),
        ("no/such", 3, "no/such: expected a readable file, found no such file"),
        ("show sample:amx/proces.core", 3, "did you mean sample:amx/process.core"),
        ("show sample:", 3, "no such sample; inspector samples has them all"),
        ("show sample:amx --layout zen55", 2, "did you mean zen5"),
        ("sim guestxfd", 2, "sim: no scenario 'guestxfd'; did you mean guest-xfd?"),
        ("sim new --host zen55", 2, "did you mean zen5"),
        ("sim new --why -1", 2, "expected the number of a state component, 0 to 62"),
        ("sim new --why 63", 2, "expected the number of a state component, 0 to 62"),
        ("sim guest-xfd --from sample:amx", 2, "--from goes with restore and new"),
        ("sim guest-xfd --vcpu 1", 2, "--from names the capture"),
        ("models show neoverse-v9", 2, "did you mean neoverse-"),
        (
            "show model:EPYC-Milan:milan",
            2,
            "an x86 model, whose guest is a line and no registers",
        ),
        ("models check neoverse-v1 --host neovers-v1", 2, "did you mean neoverse-v1"),
        ("migrate neovers-v1 max", 2, "did you mean neoverse-v1"),
        ("models check neoverse-v1-v1 feat_FOO=on --host max", 2, "did you mean feat_"),
        ("screenshot model:: -o x.svg", 2, "expected a model and a host"),
        ("migrate max max@6.12 --kernel 6.1", 2, "--kernel 6.1 names another kernel"),
        ("layouts show xtilecf", 2, "did you mean xtilecfg"),
        ("layouts list foo", 2, "list takes no name"),
        ("verify --cpu zen55 x", 2, "did you mean zen5"),
        ("verify sim:guest-xfd", 2, "sim:guest-xfd: expected a file of recorded answers"),
        ("migrate sample:amx mlan", 2, "mlan: no such CPU or file; did you mean milan?"),
        ("models check EPIC-v4 --host milan", 2, "no CPU model 'EPIC-v4'; did you mean EPYC-v4"),
        ("samples nothing-has-this", 1, "none of the"),
        ("set sample:amx xcr.xcr0=zz", 2, "xcr0"),
        ("set sample:amx xcr.xcr0=0x1ffffffffffffffff", 2, "needs 65 bits"),
        ("set sample:amx xcr.xcr9=0", 2, "no such field"),
        ("screenshot sample:amx --size ²0x50 -o x.svg", 2, "columns x lines"),
        ("screenshot sample:amx --field bogus -o x.svg", 2, "no such path"),
        ("screenshot sample:amx --press bogus -o x.svg", 2, "no such key"),
        ("screenshot sample:amx --theme bogus -o x.svg", 2, "no such theme"),
        ("screenshot sim:guest-xfd --field xfd -o x.svg", 2, "are for one capture"),
        ("show sample:amx --as bogus", 2, "no such structure"),
    ],
)
def test_one_line_says_what_is_wrong(
    words: str,
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    found, line = told(capsys, *words.split())
    assert said in line
    assert found == code
    assert len(line) < 240, "a line, not a wall"
    assert os.listdir() == []


@pytest.mark.parametrize("keys", ["e,e,z", "ctrl+r", "question_mark", "slash,minus,plus", "shift+tab,f1,[,?", "down"])
def test_keys_that_there_are(keys: str) -> None:
    from inspector.tui.picture import check_keys

    check_keys(keys.split(","))


def test_samples_take_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["samples", "AMX", "core"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("sample:amx/process.core ") for line in lines)
    assert len(lines) < len(samples.names())
    assert main(["samples"]) == 0
    lines = capsys.readouterr().out.splitlines()
    columns = {len(line) - len(line.split(maxsplit=1)[1]) for line in lines}
    assert len(columns) == 1, "the texts are one below the other"


def test_a_baseline_under_any_name_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ('a"b', "back\\slash", "new\nline", "ordinary"):
        assert main(["models", "baseline", "neoverse-v1", "-o", f"{name}.toml"]) == 0
        assert main(["models", "show", f"{name}.toml"]) == 0
    assert 'a"b' in capsys.readouterr().out


@pytest.mark.parametrize(
    "text",
    [
        f"name = 'x'\nversion = {'9' * 5000}",
        f"name = 'x'\nversion = 0x{'f' * 5000}",
        "name = 'x'\nversion = 0",
        f"name = {'[' * 3000}",
        f"name = 'x'\n[[values]]\nvl_bytes = [0x{'f' * 5000}]",
        f"name = 'x'\n[[values]]\nsource = 's'\n[values.properties]\nfeat_AES = 0x{'f' * 5000}",
        f"name = 'x'\nparent = '{'y' * 100_000}'",
    ],
)
def test_model_files_that_are_too_much(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.toml"
    path.write_text(text)
    code, line = told(capsys, "models", "check", str(path), "--host", "max")
    assert code == 2
    assert len(line) < 400


def test_a_good_version_stays_good() -> None:
    assert parse_model("name = 'x'\nversion = 12", "f").version == 12


@pytest.mark.parametrize(
    "record",
    [
        '{"t":"reglist"}',
        '{"t":"idreg","v":"x"}',
        '{"t":"idreg","reg":"zz","host":"zz","cfg":"base"}',
        '{"t":"uname","release":7}',
        '{"t":"seq","steps":3}',
        '{"t":"seq","steps":[[]]}',
        "[1]",
        "x",
    ],
)
def test_records_that_lack_something(record: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "h.jsonl"
    path.write_text(record + "\n")
    for words in (("migrate", "max", str(path)), ("models", "check", "neoverse-v1-v1", "--host", str(path))):
        assert told(capsys, *words)[0] == 3
