"""Text from files, names and models goes through every command and screen without driving the terminal."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from textual.app import App

from inspector.capture.errors import visible
from inspector.cli.main import main
from inspector.cli.open import app_of
from inspector.export.files import save_bytes
from inspector.readers.open import open_capture
from inspector.tui.picture import opened, photograph, picture_of
from tests.hostile import FILE_NAME, INJECTED, TEXT, hostile_files, model_file, records, write_all

FILES = [*hostile_files(), "file-name", "folder"]
#: What no one may paint: controls, ends of lines that are not ours, writing direction, lone surrogates.
FORBIDDEN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_all(tmp_path_factory.mktemp("hostile"))


def clean(text: str) -> str:
    found = FORBIDDEN.search(text)
    assert found is None, text[max(0, found.start() - 60) : found.end() + 20]
    assert f"\n{INJECTED}" not in text
    return text


def painted(app: App[int]) -> str:
    """The lines on screen, as they go to the terminal."""
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


def run(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """A command's exit code and output; both streams clean, and no bug of ours."""
    try:
        code = main(words)
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    out, err = capfd.readouterr()
    clean(out)
    clean(err)
    assert "Traceback" not in err
    assert code in (0, 1, 2, 3), (words, err)
    return code, out


def test_visible_is_one_notation() -> None:
    assert visible("\x1b\x07\r\n\t\x85\u202e\u2028\ud800\udcff") == r"\x1b\x07\r\n\t\x85\u202e\u2028\ud800\udcff"
    assert visible("é … · ≠ 漢 [b]<i>") == "é … · ≠ 漢 [b]<i>"


@pytest.mark.parametrize("name", FILES)
def test_every_command_on_every_file(
    name: str, targets: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    target = targets[name]
    run(capfd, "show", target)
    run(capfd, "show", target, "--list")
    code, out = run(capfd, "show", target, "--json")
    if out:
        assert out.isascii()
        json.loads(out)
    if code != 3:
        run(capfd, "show", target, "--field", TEXT)
    for to in ("vcpu", "raw", "core", "json", "cpuid"):
        run(capfd, "convert", target, "--to", to, "-o", str(tmp_path / f"x.{to}"))
    if (tmp_path / "x.raw").exists():
        assert all(entry.is_file() for entry in (tmp_path / "x.raw").iterdir())
    run(capfd, "set", target, f"{TEXT}=1")
    run(capfd, "set", target, "regs.rax=1")
    run(capfd, "sim", "restore", "--from", target)
    run(capfd, "sim", "new", "--host", target)
    run(capfd, "migrate", target, "max")
    run(capfd, "migrate", "max", target)
    run(capfd, "models", "check", "neoverse-v1-v1", "--host", target)
    run(capfd, "models", "show", target)
    run(capfd, "verify", target)


@pytest.mark.parametrize("name", FILES)
def test_pictures_of_every_file(name: str, targets: dict[str, str], capfd: pytest.CaptureFixture[str]) -> None:
    """Each format of a picture; where the file cannot be read, one clean line."""
    if run(capfd, "show", targets[name], "--list")[0] == 3 and name != "vcpu-cut":
        return
    made = photograph(app_of(targets[name]), (100, 30), [], ("svg", "html", "txt"))
    ElementTree.fromstring(made["svg"])
    for data in made.values():
        clean(data.decode())


def test_the_screens(targets: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every place of the Inspect screen, side by side, prompts and messages, the lab; the screenshot key works."""
    monkeypatch.chdir(tmp_path)

    async def walk() -> None:
        app = app_of(targets["vcpu"])
        async with app.run_test(size=(140, 30)) as pilot:
            await opened(app, pilot)
            for key in (
                *["tab", *["j"] * 4] * 3,
                *("enter", "escape", "slash", "R", "E", "D", "enter", "n", "z", "z", "f", "Q", "Q", "enter", "escape"),
                *("colon", "x", "x", "enter", "escape", "y", "Y", "c", "right", "escape", "question_mark", "escape"),
                *("L", "n", "n", "w", "T", "escape", "o", "escape", "escape"),
            ):
                await pilot.press(key)
                clean(painted(app))
            app.notify(TEXT, markup=False)
            await pilot.pause()
            clean(painted(app))
            ElementTree.fromstring(picture_of(app, "svg"))
            await pilot.press("s")
            await pilot.pause()
            assert sorted(path.name for path in tmp_path.iterdir()) == ["inspector-1.png", "inspector-1.svg"]

    asyncio.run(walk())


def test_models_and_records(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model, recorded = tmp_path / f"{FILE_NAME}.toml", tmp_path / f"{FILE_NAME}.jsonl"
    save_bytes(str(model), model_file().encode())
    save_bytes(str(recorded), records())
    for words in (
        ("show", str(model)),
        ("show", str(model), "--json"),
        ("check", str(model), "--host", "max", "--steps"),
        ("check", str(model), "--host", str(recorded)),
        ("check", TEXT, "--host", "max"),
        ("check", "neoverse-v1-v1", f"{TEXT}=1", "--host", "max"),
        ("check", "neoverse-v1-v1", f"feat_AES={TEXT}", "--host", "max"),
        *(
            ("expand", str(model), "--host", "max", "--to", to)
            for to in ("text", "json", "qmp", "capabilities", "libvirt", "qemu", "sysreg")
        ),
        ("expand", str(model), "--host", "max", "--save", str(tmp_path / "x.regs")),
        ("baseline", str(recorded), "max"),
    ):
        run(capfd, "models", *words)
    clean((tmp_path / "x.regs").read_text())
    made = photograph(app_of(f"model:{model}"), (160, 45), ["i", "w"], ("svg", "txt"))
    ElementTree.fromstring(made["svg"])
    clean(made["txt"].decode())
    run(capfd, "verify", str(recorded))
    run(capfd, "migrate", "max", str(recorded))


def test_words_of_the_command_line(capfd: pytest.CaptureFixture[str]) -> None:
    """Names that a shell's * has put there."""
    for words in (
        (TEXT,),
        ("show", "x", TEXT),
        ("show", f"sample:{TEXT}"),
        ("show", "sample:amx", "--layout", TEXT),
        ("show", "sample:amx", "--as", TEXT),
        ("layouts", "show", TEXT),
        ("samples", TEXT),
        ("sim", TEXT),
        ("sim", "new", "--event", TEXT),
        ("sim", "new", "--host", TEXT),
        ("screenshot", "sample:amx", "-o", TEXT),
        ("screenshot", "sample:amx", "--size", TEXT, "-o", "x.svg"),
        ("screenshot", "sample:amx", "--theme", TEXT, "-o", "x.svg"),
        ("verify", TEXT),
        ("migrate", TEXT, TEXT),
        ("convert", "sample:amx", "--to", TEXT, "-o", "x"),
        ("convert", "sample:amx", "--to", "json", "-o", f"/no/{TEXT}"),
    ):
        assert run(capfd, *words)[0] in (1, 2, 3)


def test_the_capture_file_stays_faithful(targets: dict[str, str], tmp_path: Path) -> None:
    """What is shown is escaped, what is kept is not."""
    first = open_capture(targets["vcpu"])
    assert first.vcpus[0].name == f"0{TEXT}"
    path = tmp_path / "again.vcpu"
    assert main(["convert", targets["vcpu"], "--to", "vcpu", "-o", str(path)]) == 3
    again = open_capture(str(path))
    assert [vcpu.name for vcpu in again.vcpus] == [vcpu.name for vcpu in first.vcpus]
    assert again.notices == first.notices
