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
from inspector.cli.main import COMMANDS, usage

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*ROOT.glob("inspector/**/*.py"), *ROOT.glob("layouts/**/*.py")])
MAX_LINES = 400
MAX_FUNCTION_LINES = 60


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


def test_layouts_do_no_input_or_output() -> None:
    for path in ROOT.glob("layouts/**/*.py"):
        assert "open(" not in path.read_text(), path


def test_version_is_in_the_changelog() -> None:
    assert f"## {inspector.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_every_command_is_in_the_usage_and_the_guide() -> None:
    guide = (ROOT / "docs/guide.md").read_text()
    for command in COMMANDS:
        assert command in usage()
        assert f"inspector {command}" in guide


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    reasons = (ROOT / "docs/decisions/0002-dependencies.md").read_text()
    for line in project["project"]["dependencies"]:
        assert re.split(r"[<>=; ]", line)[0] in reasons
        assert "<" in line, "bounded"


def test_links_and_pictures_of_the_docs_exist() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_readme_commands_work(tmp_path: Path) -> None:
    """Every `inspector ...` line of a shell block in README runs as printed, and exits as it says."""
    text = (ROOT / "README.md").read_text()
    commands = [
        line
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
        if line.startswith("inspector ") and not line.startswith("inspector open")
    ]
    assert commands
    for command in commands:
        done = subprocess.run(
            command.split("#")[0].replace("inspector", f"{sys.executable} -m inspector", 1),
            shell=True,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        expected = 1 if command.endswith("# exit code 1") else 0
        assert done.returncode == expected, (command, done.stderr)
