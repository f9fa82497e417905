"""Shell completion: the table that it starts from, what words can become, and the scripts in real shells."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs.make_options import TABLE, text
from inspector.cli.complete import completed
from inspector.cli.completion import SCRIPTS
from inspector.cli.main import COMMANDS, main
from inspector.targets import samples
from inspector.targets.host_names import kernel_names

BIN = Path(sys.executable).parent


def words(line: str) -> list[str]:
    """What the last word of a line can become."""
    return [word for word, _ in completed(line.split(" "))]


def test_the_table_is_what_the_parsers_say() -> None:
    """``python -m docs.make_options`` writes it."""
    assert TABLE.read_text("utf-8") == text()


@pytest.mark.parametrize(
    ("line", "some", "not_there"),
    [
        ("", {*COMMANDS, "sample:", "sim:", "model:"}, {"complete"}),
        ("sh", {"show"}, {"open"}),
        ("show --f", {"--field", "--feat"}, {"--list"}),
        ("show sample:amx", {"sample:amx/process.core"}, {"sample:zen5"}),
        ("sample:gra", {"sample:granite-rapids/linux-6.18"}, {"sample:amx"}),
        ("sim gu", {"guest-xfd"}, {"host-oops"}),
        ("sim arm64-put", {"arm64-put-registers"}, set()),
        ("sim new --host gra", {"granite-rapids", "grace"}, set()),
        ("open sim:host-oops@6.1", {"sim:host-oops@6.12"}, set()),
        ("open model:neoverse-v1:gra", {"model:neoverse-v1:grace", "model:neoverse-v1:graviton4"}, set()),
        ("migrate sample:amx mil", {"milan"}, {"neoverse-v1"}),
        ("migrate sample:amx milan@7.", {"milan@7.2"}, {"milan@6.18"}),
        ("migrate sample:amx milan --vmm fire", {"firecracker"}, {"qemu"}),
        ("migrate sample:amx milan --vmm=fire", {"--vmm=firecracker"}, set()),
        ("open sample:amx --to EPYC-R", {"EPYC-Rome", "EPYC-Rome-v4"}, set()),
        ("open sample:amx --kernel 6.1", {"6.12"}, set()),
        ("models ", {"list", "show", "expand", "check", "baseline", "find"}, {"--json"}),
        ("models check EPYC-Mil", {"EPYC-Milan"}, set()),
        ("models check neoverse-v1 feat_AE", {"feat_AES="}, set()),
        ("models check neoverse-v1 --host neoverse-n", {"neoverse-n1", "neoverse-n2"}, {"neoverse-v1"}),
        ("models find FEAT_SV", {"FEAT_SVE2"}, set()),
        ("layouts show xtile", {"xtilecfg", "xtiledata"}, set()),
        ("layouts kernels 6.1", {"6.12"}, {"xtilecfg"}),
        ("show x.bin --layout zen", {"zen5"}, set()),
        ("show x.bin --as kvm-s", {"kvm-sregs"}, {"elf-prstatus-x86-64"}),
        ("explain X010", {"X0101"}, {"X0201"}),
        ("show sample:amx --field xsave.h", {"xsave.header."}, {"xsave.header.xstate_bv"}),
        ("show sample:amx --field xsave.header.xs", {"xsave.header.xstate_bv"}, set()),
        ("show sample:amx --field sregs.cr4.O", {"sregs.cr4.OSXSAVE"}, {"sregs.cr4.VME"}),
        ("set sample:amx xcr.", {"xcr.xcr0="}, set()),
        ("screenshot sample:amx/process.core --field xsave.mx", set(), {"--field"}),
        ("sim guest-xfd --event KVM_", {"KVM_CREATE_VCPU", "KVM_RUN"}, {"guest boot"}),
        ("sim guest-xfd --against kernel=6", {"kernel=6.1"}, {"policy=upstream"}),
        ("sim new --why 1", {"17", "18"}, {"2"}),
        ("report sample:amx --keep p", {"pointer"}, {"memory"}),
        ("migrate sample:amx milan --machine pc-q35-9", {"pc-q35-9.0"}, {"q35"}),
        ("screenshot sample:amx --theme n", {"nord"}, {"dracula"}),
        ("fleet forecast --on mil", {"milan"}, set()),
        ("samples zen", {"zen5-kvm"}, set()),
        ("completion ", {"bash", "zsh", "fish"}, set()),
        ("show gdb:localhost:1 --field x", set(), {"xsave."}),
        ("show no-such-file --field x", set(), {"xsave."}),
        ("frobnicate --v", set(), {"--vcpu"}),
    ],
)
def test_what_a_word_can_become(line: str, some: set[str], not_there: set[str]) -> None:
    found = words(line)
    assert some <= set(found), found
    assert not not_there & set(found)
    assert len(found) == len(set(found))


def test_all_names_of_a_kind_are_there() -> None:
    assert set(words("show sample:")) == {f"sample:{name}" for name in samples.names()}
    assert set(words("sim x --kernel ")) == {*kernel_names("x86"), *kernel_names("arm64")}


def test_files_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my cores").mkdir()
    (tmp_path / "my cores/core.1").touch()
    (tmp_path / ".hidden").touch()
    assert words("show my") == ["my cores/"]
    assert [word for word, _ in completed(["show", "my cores/"])] == ["my cores/core.1"]
    assert ".hidden" not in words("show ")
    assert ".hidden" in words("show .h")


def test_nothing_is_said_where_nothing_can_be(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "broken").write_bytes(b"\x7fELF")
    for line in (["show", str(tmp_path / "broken"), "--field", "x"], ["show", "nosuch:", "--field", "x"], []):
        assert main(["complete", "--", *line]) == 0
        assert not capsys.readouterr().err


def test_no_machine_is_loaded() -> None:
    code = (
        "import sys; from inspector.cli.main import main;"
        "[main(['complete', '--', *line.split(' ')]) for line in ('sh', 'migrate sample:amx m', 'models check n')];"
        "print([name for name in sys.modules if 'inspector.machine' in name or name in ('textual', 'construct')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def in_shell(shell: str, text: str, before: str = "") -> list[str]:
    """What a script prints in a shell that knows the completion and nothing of a user's settings."""
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"no {shell} here")
    plain = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(
        [program, *plain, "-c", f"{before}\n{SCRIPTS[shell]}\n{text}"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


#: A line as typed, and what bash puts in the place of its last word (what is behind the last colon or equals sign).
IN_BASH = {
    "inspector sho": ["show"],
    "inspector show sample:amx/": ["amx/process.core"],
    "inspector migrate sample:amx milan@7.2 --vmm=fire": ["firecracker"],
    "inspector show sample:amx --field xsave.zmm[3": [r"xsave.zmm\[3\]", r"xsave.zmm\[30\]", r"xsave.zmm\[31\]"],
    "inspector show sample:amx --field 'xsave.zmm[31": ["xsave.zmm[31]"],
}


@pytest.mark.parametrize("line", IN_BASH)
def test_bash(line: str) -> None:
    text = f"""
    COMP_LINE={subprocess.list2cmdline([line]) if "'" not in line else '"' + line + '"'}
    COMP_POINT=${{#COMP_LINE}} COMP_WORDS=(inspector) COMP_WORDBREAKS=$' \\t\\n"\\'@><=;|&(:'
    _inspector; printf '%s\\n' "${{COMPREPLY[@]}}" """
    assert in_shell("bash", text) == IN_BASH[line]


def test_zsh() -> None:
    """Outside a completion zsh has no compadd: one that prints its words stands in."""
    text = """
    compadd() { local -A given; zparseopts -D -E -A given l d: a S:; print -l -- "${(@P)1}" }
    words=(inspector show sample:amx --field xsave.h); CURRENT=5; _inspector
    words=(inspector explain X010); CURRENT=3; _inspector"""
    found = in_shell("zsh", text, "compdef() { }")
    assert "xsave.header." in found
    assert "X0101" in found


def test_fish() -> None:
    found = in_shell("fish", "complete -C 'inspector migrate sample:amx milan@7'; complete -C 'inspector sample:amx/'")
    assert "milan@7.2" in found
    assert any(line.startswith("sample:amx/process.core\t") for line in found)
