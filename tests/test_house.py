"""The house rules that a machine can check."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import inspector
from inspector.capture.exit_code import ExitCode
from inspector.cli.main import COMMANDS, main, usage

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*ROOT.glob("inspector/**/*.py"), *ROOT.glob("layouts/**/*.py")])
MAX_LINES = 400
MAX_FUNCTION_LINES = 45


def test_import_arrows() -> None:
    lint_imports = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint_imports], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_rooms_not_halls(path: Path) -> None:
    text = path.read_text()
    declarations = path.is_relative_to(ROOT / "layouts")
    assert declarations or text.count("\n") <= MAX_LINES
    tree = ast.parse(text)
    assert ast.get_docstring(tree) or not text.strip()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert (node.end_lineno or 0) - node.lineno < MAX_FUNCTION_LINES, node.name


def test_textual_lives_in_tui_only() -> None:
    for path in SOURCES:
        if "tui" not in path.parts:
            assert not re.search(r"^\s*(from|import) textual", path.read_text(), re.MULTILINE), path


#: What declarations have no business with; their own data comes through layouts/data.py.
_OUTSIDE = {"os", "io", "sys", "pathlib", "shutil", "socket", "subprocess", "tempfile", "urllib", "logging"}


def input_and_output(text: str) -> list[str]:
    """What a module reads or writes beside its own data, by name."""
    found: list[str] = []
    own_data = False
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.partition(".")[0] in _OUTSIDE]
        elif isinstance(node, ast.ImportFrom):
            own_data = own_data or node.module == "layouts.data"
            found += [node.module or ""] if (node.module or "").partition(".")[0] in _OUTSIDE else []
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("open", "print"):
            found.append(node.func.id)
        elif isinstance(node, ast.Attribute) and node.attr.startswith(("write_", "read_")) and not own_data:
            found.append(node.attr)
    return found


@pytest.mark.parametrize(
    "path",
    sorted({*ROOT.glob("layouts/**/*.py")} - {ROOT / "layouts/data.py"}),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_layouts_do_no_input_or_output(path: Path) -> None:
    assert input_and_output(path.read_text()) == []


@pytest.mark.parametrize(
    "text",
    [
        "open('x')",
        "import os",
        "from pathlib import Path",
        "def f(x):\n    return x.read_text()",
        "print(1)",
        "import os.path",
    ],
)
def test_input_and_output_are_seen(text: str) -> None:
    assert input_and_output(text)


def test_commands_name_no_page_that_an_installed_user_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS:
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert "docs/" not in capsys.readouterr().out, command


def test_version_is_in_the_changelog() -> None:
    assert f"## {inspector.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_every_command_is_in_the_usage_and_the_guide() -> None:
    guide = (ROOT / "docs/guide.md").read_text()
    for command in COMMANDS:
        assert command in usage()
        assert f"inspector {command}" in guide


def test_exit_codes_have_names_and_are_in_the_guide() -> None:
    """Commands return ExitCode, never a number; the guide has a row for each."""
    for path in SOURCES:
        if "cli" in path.parts:
            assert not re.search(r"(return|else) \d+$", path.read_text(), re.MULTILINE), path
    guide = (ROOT / "docs/guide.md").read_text()
    rows = {int(code) for code in re.findall(r"^\| (\d+) \| ", guide.partition("## Exit codes")[2], re.MULTILINE)}
    codes = {code for name, code in vars(ExitCode).items() if name.isupper()}
    assert rows == codes - {ExitCode.INTERRUPTED}
    assert f"{ExitCode.INTERRUPTED} for Ctrl-C" in guide


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    reasons = (ROOT / "docs/decisions/0002-dependencies.md").read_text()
    extras = project["project"]["optional-dependencies"].values()
    for line in [*project["project"]["dependencies"], *(line for extra in extras for line in extra)]:
        assert re.split(r"[<>=; ]", line)[0] in reasons
        assert "<" in line, "bounded"


def test_links_and_pictures_of_the_docs_exist() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_no_test_module_imports_another() -> None:
    """What several need is in a support module of their room."""
    for path in sorted(ROOT.glob("tests/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
            whole = f"{getattr(node, 'module', None) or ''}.{'.'.join(names)}"
            assert not re.search(r"\btests\..*\btest_", whole), (path.name, whole)


def test_screens_have_one_line_of_keys() -> None:
    """Textual's Footer makes a widget for each key anew whenever the focus moves: KeyLine is ours."""
    assert [path.name for path in ROOT.glob("inspector/tui/**/*.py") if "import Footer" in path.read_text()] == []
