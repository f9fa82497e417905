"""One table says what a TARGET can be, and every command takes it; a new scheme is one entry."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from inspector.capture.errors import InspectorError, UsageError
from inspector.cli.main import main
from inspector.fleet.store import Store
from inspector.targets import schemes
from inspector.targets.labs import IdLab, XstateLab
from inspector.targets.schemes import SCHEMES, Scheme, capture_of, host_of, is_target, lab_of, scheme_of
from tests.support import SAMPLES, field

ROOT = Path(__file__).parents[2]
MODEL = "model:neoverse-v1-v1:max"
RECORDED = ROOT / "tests/machine/verdicts/arm64-linux-7.2-max.jsonl.gz"


def answered(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(words)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.form)
def test_what_an_entry_names_is_there(scheme: Scheme) -> None:
    for name in filter(None, (scheme.capture, scheme.host, scheme.lab)):
        module, _, function = name.partition(":")
        assert callable(getattr(import_module(f"inspector.targets.{module}"), function))
    assert scheme.architectures or scheme.instead


def test_a_word_has_one_scheme() -> None:
    words = {
        "sample:amx": "sample:",
        "sim:x": "sim:",
        "model:x:y": "model:",
        "kvm:": "kvm:",
        "gdb:localhost:1234": "gdb:",
        "pid:1/2": "pid:",
        "-": "-",
        "-x": "",
        "a": "",
    }
    assert {word: scheme_of(word).prefix for word in words} == words
    assert [scheme.prefix for scheme in SCHEMES if not scheme.prefix] == [SCHEMES[-1].prefix]
    with pytest.raises(UsageError, match="no such file, and no scheme foo:; expected sample:NAME, sim:SCENARIO"):
        scheme_of("foo:bar")


def test_a_path_with_a_colon_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(SAMPLES / "amx/process.core", "core:1")
    assert is_target("core:1")
    assert capture_of("core:1").format == "elf-core"
    assert not is_target("core")


def test_show_of_a_scenario_is_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = answered(capsys, "show", "sim:guest-xfd", "--field", "xcr.xcr0", "--json")
    found = json.loads(out)
    assert (code, found["target"], found["format"]) == (0, "sim:guest-xfd", "simulated")
    assert found["vcpus"][0]["fields"][0]["value"] == "0x602e7"


def test_show_of_a_model_is_its_guest(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = answered(capsys, "show", MODEL, "--field", "id.ID_AA64PFR0_EL1.SVE", "--json")
    found = json.loads(out)
    assert (code, found["target"], found["format"]) == (0, MODEL, "simulated")
    assert [entry["value"] for vcpu in found["vcpus"] for entry in vcpu["fields"]] == ["0x1"]


def test_simulated_captures_have_one_name_and_a_kernel_as_captured_ones() -> None:
    x86, arm64 = capture_of("sim:guest-xfd@6.12"), capture_of(f"{MODEL}@6.12")
    assert (x86.format, x86.host.kernel) == (arm64.format, arm64.host.kernel) == ("simulated", "6.12")


@pytest.mark.parametrize("target", ["sim:guest-xfd", MODEL])
def test_convert_takes_it_and_the_file_opens(target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "made.vcpu"
    assert answered(capsys, "convert", target, "--to", "vcpu", "-o", str(path))[0] == 0
    made, opened = capture_of(target), capture_of(str(path))
    assert [vcpu.name for vcpu in opened.vcpus] == [vcpu.name for vcpu in made.vcpus]
    for before, after in zip(made.vcpus, opened.vcpus, strict=True):
        assert {area.prefix: bytes(area.data) for area in before.areas} == {
            area.prefix: bytes(area.data) for area in after.areas
        }


def test_a_line_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    record = (SAMPLES / "ice-lake/linux-6.1.toml").read_text()
    path.write_text('\n{"text": 1}\n' + json.dumps({"name": "one", "text": record}) + "\n[\n")
    assert capture_of(f"line:{path}:3").format == "cpu-record"
    for word, wrong in (
        (f"{path}:5", "expected line 5, found 4 lines"),
        (f"{path}:4", "expected JSON"),
        ("1", "line:FILE:NUMBER"),
        (f"{path}x:1", "no such file"),
    ):
        with pytest.raises(InspectorError, match=wrong):
            capture_of(f"line:{word}")


def test_set_of_a_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = answered(capsys, "set", "sim:guest-xfd", "xcr.xcr0=0x40007")
    assert code == 1
    assert "xcr.xcr0: 0x602e7 -> 0x40007" in out
    assert "KVM_SET_XCRS 0x40007" in out


def test_a_scenario_is_restored_from(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = answered(capsys, "sim", "restore", "--from", "sim:guest-xfd@6.12")
    assert code == 0
    assert "Linux 6.12: captured: 6.12" in out


@pytest.mark.parametrize("target", ["sim:guest-xfd", MODEL, MODEL.replace(":max", ":max@7.3")])
def test_nothing_that_is_simulated_contradicts_itself(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Registers stand as KVM_GET_REG_LIST has them (copy_sve_reg_indices: the vector lengths first)."""
    assert answered(capsys, "lint", target)[0] == 0


def test_migrate_takes_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert answered(capsys, "migrate", MODEL, "max")[0] == 0
    code, out, _ = answered(capsys, "migrate", MODEL, "neoverse-n1@6.12")
    assert code == 1
    assert "only features that the host supports" in out


@pytest.mark.parametrize(
    ("word", "architecture", "kernel", "release"),
    [
        ("zen5", "x86", "", "7.2"),
        ("zen5@6.12", "x86", "", "6.12"),
        ("zen5", "x86", "6.6", "6.6"),
        ("sample:zen5@6.12", "x86", "", "6.12"),
        ("sim:guest-xfd@6.12", "x86", "", "6.12"),
        ("neoverse-v1+max@6.12", "arm64", "", "6.12"),
        ("sample:graviton3/linux-6.18@7.2", "arm64", "", "7.2"),
        (f"{MODEL}@6.12", "arm64", "", "6.12"),
        (str(RECORDED), "arm64", "", "7.2"),
    ],
)
def test_hosts(word: str, architecture: schemes.Architecture, kernel: str, release: str) -> None:
    host = host_of(word, architecture, kernel)  # type: ignore[call-overload]
    assert host.kernel.release == release


def test_records_are_known_by_content(tmp_path: Path) -> None:
    path = tmp_path / "answers"
    shutil.copy(RECORDED, path)
    assert host_of(str(path), "arm64").limits == host_of(str(RECORDED), "arm64").limits


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("models check neoverse-v1-v1 --host sim:guest-xfd", "expected an arm64 host; the scenario's is x86"),
        ("migrate sim:guest-xfd max", "max is an arm64 CPU, and an x86 model was asked for"),
        (
            "sim guest-xfd --host model:max:max",
            "as sample:NAME, sim:SCENARIO[:HOST], kvm:",
        ),
        ("sim new --host zen5@6.12 --kernel 6.6", "--kernel 6.6 names another kernel"),
        ("show sim:guest-xfd --as kvm-regs", "--as kvm-regs: sim:guest-xfd has no bytes"),
        ("show model:max --layout zen5", "--layout zen5: model:max has no bytes"),
        ("show sim:guestxfd", "did you mean guest-xfd?"),
        ("show model:", "expected a model and a host"),
        ("show model:neoverse-v1-v1,sve=of:max", "model:neoverse-v1-v1,sve=of: sve: expected on or off; found 'of'"),
        ("show model:neoverse-v1-v1,:max", "expected NAME=VALUE"),
        ("models show neoverse-v1-v1,sve=off", "models expand shows it on a host"),
        ("models check neoverse-v1-v1 --host milan", "milan is an x86 CPU, and an arm64 host was asked for"),
        ("models check neoverse-v1-v1 --host zen5", "zen5 is an x86 CPU, and an arm64 host was asked for"),
        ("migrate zen5 milan", "zen5: an x86 CPU and no guest; expected a capture, or model:NAME:HOST"),
        ("show kvm:x", "expected kvm: and nothing after it"),
        ("migrate max kvm:@6.12", "has a kernel of its own"),
        (f"migrate max {RECORDED}@6.12", "has a kernel of its own"),
        ("foo:bar", "no scheme foo:"),
        ("show foo:bar", "no scheme foo:"),
    ],
)
def test_what_makes_no_sense_says_what_does(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = answered(capsys, *words.split())
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert said in err


def test_labs() -> None:
    lab = lab_of("sim:guest-xfd")
    assert isinstance(lab, XstateLab)
    assert not lab.world.steps
    assert lab.scenario.name == "guest-xfd"
    captured = lab_of("sample:amx")
    assert isinstance(captured, XstateLab)
    assert captured.scenario.name == "restore"
    for word in (MODEL, "sample:graviton3/linux-6.18"):
        assert isinstance(lab_of(word), IdLab)
    with pytest.raises(UsageError, match="the lab needs"):
        lab_of("sample:pasted/oops.txt")


def test_a_lab_is_on_the_captured_kernel(tmp_path: Path) -> None:
    """Not on the newest profile, and not on the default one."""
    path = str(tmp_path / "old.vcpu")
    assert main(["convert", "sim:guest-xfd@6.6", "--to", "vcpu", "-o", path]) == 0
    lab = lab_of(path)
    assert isinstance(lab, XstateLab)
    assert lab.world.host.kernel.release == "6.6"


def test_the_page_of_targets_is_the_table() -> None:
    rows = [line for line in (ROOT / "docs/targets.md").read_text("utf-8").splitlines() if line.startswith("| `")]
    hosts = {
        scheme.form: ["yes" if one in scheme.architectures else "-" for one in ("x86", "arm64")] for scheme in SCHEMES
    }
    expected = [
        f"| `{one.form}` | {one.about} | {' | '.join(hosts[one.form])} | its {'lab' if one.opens_lab else 'fields'} |"
        for one in SCHEMES
    ]
    assert rows[: len(SCHEMES)] == expected


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("show fleet:a.fleet", 2),
        ("show a.fleet", 2),
        ("lint a.fleet", 2),
        ("migrate sample:amx a.fleet", 2),
        ("sim new --host fleet:a.fleet", 2),
        ("show a.fleet --as kvm-regs", 2),
        ("open fleet:", 3),
        ("open fleet:other", 3),
    ],
)
def test_a_fleet_is_no_capture_and_no_host(
    words: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("inspector.tui.terminal.require_screen", lambda: None)
    monkeypatch.setattr("inspector.tui.terminal.keys_of_terminal", lambda **_: None)
    Store("a.fleet", create=True).close()
    sqlite3.connect("other").executescript("CREATE TABLE hosts (id);")
    assert scheme_of("other").prefix == ""
    found, out, err = answered(capsys, *words.split())
    assert (found, out, len(err.splitlines())) == (code, "", 1)
    assert "inspector fleet" in err


@pytest.mark.parametrize("command", ["open", "show", "convert", "set", "screenshot", "diff"])
def test_help_has_every_scheme(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    shown = capsys.readouterr().out
    for scheme in SCHEMES:
        assert f"  {scheme.form} " in shown
        assert scheme.about in shown


DRILL = """
from inspector.targets.schemes import capture_of

def capture_of_drill(target, options):
    return capture_of("sample:" + target.removeprefix("drill:"), options)
"""


@pytest.fixture
def drill(monkeypatch: pytest.MonkeyPatch) -> None:
    """One entry and one module: all that a new scheme takes."""
    module = ModuleType("inspector.targets.drill")
    exec(DRILL, module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    entry = Scheme("drill:", "drill:NAME", "a sample by another name", capture="drill:capture_of_drill")
    monkeypatch.setattr(schemes, "SCHEMES", (entry, *SCHEMES))


@pytest.mark.usefixtures("drill")
def test_a_new_scheme_is_one_entry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert answered(capsys, "show", "drill:amx", "--list")[1].startswith("drill:amx: ")
    path = tmp_path / "drilled.vcpu"
    assert answered(capsys, "convert", "drill:amx", "--to", "vcpu", "-o", str(path))[0] == 0
    assert field(capture_of(str(path)).vcpus[0], "xcr.xcr0").value
    assert answered(capsys, "set", "drill:amx", "xcr.xcr0=7")[0] in (0, 1)
    assert "drill:amx" in answered(capsys, "sim", "restore", "--from", "drill:amx")[1]
    assert answered(capsys, "sim", "new", "--host", "drill:zen5", "--event", "KVM_CREATE_VCPU")[0] == 0
    assert answered(capsys, "migrate", "drill:graviton3/linux-6.18", "drill:graviton3/linux-6.18")[0] == 0
    assert answered(capsys, "models", "check", "host", "--host", "drill:graviton3/linux-6.18")[0] == 0
    shot = tmp_path / "drilled.txt"
    assert answered(capsys, "screenshot", "drill:amx", "-o", str(shot))[0] == 0
    assert "drill:amx" in shot.read_text()
    assert isinstance(lab_of("drill:amx"), XstateLab)
    assert "drill:NAME" in answered(capsys, "show", "foo:bar")[2]


#: What a command must not load.
TEXTUAL, X86, ARM64 = "textual", "inspector.machine.x86", "inspector.machine.arm64"
HYGIENE = {
    "show sample:amx --json": (TEXTUAL, X86, ARM64, "asyncio"),
    "show sample:arm64-kvm/max-linux-7.2.13.regs --json": (TEXTUAL, X86, ARM64, "asyncio"),
    "show sim:guest-xfd --list": (TEXTUAL, ARM64, "asyncio"),
    f"show {MODEL} --list": (TEXTUAL, X86, "asyncio"),
    "convert sample:amx --to json -o -": (TEXTUAL, X86, ARM64, "asyncio"),
    "convert sim:guest-xfd --to json -o -": (TEXTUAL, ARM64, "asyncio"),
    "set sample:amx xcr.xcr0=7": (TEXTUAL, ARM64, "asyncio"),
    "sim guest-xfd": (TEXTUAL, ARM64, "asyncio"),
    "sim restore --from sample:amx": (TEXTUAL, ARM64, "asyncio"),
    "migrate neoverse-v1 max": (TEXTUAL, X86, "asyncio"),
    "models check neoverse-v1-v1 --host max": (TEXTUAL, X86, "asyncio"),
    "layouts list": (TEXTUAL, "asyncio"),
    "samples amx": (TEXTUAL, X86, ARM64, "asyncio"),
    "verify tests/machine/verdicts/arm64-linux-7.2-a64fx.jsonl.gz": (TEXTUAL, "asyncio"),
    "screenshot sample:amx --size 80x24 -o OUT": (X86, ARM64),
    "screenshot sim:guest-xfd --size 80x24 -o OUT": (),
}


@pytest.mark.parametrize("words", HYGIENE)
def test_a_command_loads_no_more_than_it_needs(words: str, tmp_path: Path) -> None:
    code = (
        "import sys; from inspector.cli.main import main; main(sys.argv[1:]);"
        f"bad = [m for m in {HYGIENE[words]} if m in sys.modules];"
        "sys.exit(f'imported {bad}' if bad else 0)"
    )
    asked = words.replace("OUT", str(tmp_path / "out.txt")).split()
    done = subprocess.run([sys.executable, "-c", code, *asked], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_properties_follow_a_model() -> None:
    lab = lab_of("model:neoverse-v1-v1,sve=off:graviton3,neoverse-n1")
    assert isinstance(lab, IdLab)
    assert lab.bench.setup.words == ("sve=off",)
    assert lab.second is not None
