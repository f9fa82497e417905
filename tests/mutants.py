"""Mutants of the rules, made and asked by mutmut: ``make mutants MUTANTS=...`` (docs/mutants.md).

Here is what mutmut does not know: a run of some files needs no mutants of the others, answers that a function has
remembered are of the code before the mutant, and some mutants change words alone. Ends with the rows of the page.
"""

from __future__ import annotations

import argparse
import ast
import functools
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path

#: What the mutants are made in; ``.gitignore`` has it.
FOLDER = Path("mutants")
#: Functions whose first argument is words.
_TOLD = {"check", "Rule", "depends", "told", "refused"}
_LIVES = {"survived", "no tests", "suspicious", "not checked"}
_ROW = "| `{}` | {} | {} | {} | {} | {} |"


def pattern(word: str) -> str:
    """mutmut's name of what a word means: a file below inspector/machine is all that is in it."""
    if not word.endswith(".py"):
        return word
    path = word if word.startswith("inspector/") else f"inspector/machine/{word}"
    return path.removesuffix(".py").replace("/", ".") + ".*"


def is_in(module: str, name: str) -> bool:
    """Whether a pattern of mutants' names can mean one of a module."""
    return fnmatch(module, name) or fnmatch(f"{module}.", name) or name.startswith(f"{module}.")


def files(all_files: Iterable[Path], patterns: Sequence[str]) -> list[Path]:
    """The files that have mutants of these names; without a name all."""
    modules = {path: ".".join(path.with_suffix("").parts) for path in sorted(all_files)}
    return [path for path, module in modules.items() if not patterns or any(is_in(module, name) for name in patterns)]


class _Wordless(ast.NodeTransformer):
    """A function without its name and without its words: a text with a space, and what a check is called."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.name = "function"
        self.generic_visit(node)
        return node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.Constant:
        return ast.Constant("words")

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        return ast.Constant("words") if isinstance(node.value, str) and " " in node.value else node

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in _TOLD and node.args and isinstance(first := node.args[0], ast.Constant):
            node.args[0] = ast.Constant("words") if isinstance(first.value, str | None) else first
        return node


def words(source: str) -> set[str]:
    """Of a file with its mutants, those that change words alone."""
    found = {
        node.name: node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and "__mutmut_" in node.name
    }
    told = {name: ast.dump(_Wordless().visit(node)) for name, node in found.items()}
    original = {name: told[f"{name.rpartition('__mutmut_')[0]}__mutmut_orig"] for name in told}
    return {name for name, text in told.items() if text == original[name] and not name.endswith("_orig")}


def row(path: Path, states: Mapping[str, str], of_words: set[str]) -> str:
    """A file's row of the page: mutants, killed by tests, by mypy, words alone, and those that live."""
    counts = Counter("words" if name.rpartition(".")[2] in of_words else state for name, state in states.items())
    live = sum(counts[state] for state in _LIVES)
    types = counts["caught by type check"]
    killed = len(states) - live - types - counts["words"]
    return _ROW.format(path.relative_to("inspector/machine"), len(states), killed, types, counts["words"], live)


def forget() -> None:
    """Forget what functions of ours have remembered: answers of the code without the mutant that now runs."""
    for name, module in list(sys.modules.items()):
        if not name.startswith(("inspector.", "layouts.")):
            continue
        for value in list(vars(module).values()):
            for each in (value, *vars(value).values()) if isinstance(value, type) else (value,):
                if isinstance(each, functools._lru_cache_wrapper):
                    each.cache_clear()


def _narrow(wanted: Sequence[Path], patterns: Sequence[str], tests: Sequence[str]) -> None:
    """Tell mutmut the files and the tests; take away another run's copies, which mutmut holds for mutated ones."""
    from mutmut.configuration import config

    config().only_mutate = [str(path) for path in wanted]
    config().pytest_add_cli_args_test_selection = list(tests) or config().pytest_add_cli_args_test_selection
    if patterns or not all((FOLDER / f"{path}.meta").exists() for path in wanted):
        shutil.rmtree(FOLDER, ignore_errors=True)


def _tell(wanted: Sequence[Path], patterns: Sequence[str]) -> None:
    from mutmut.mutation.data import SourceFileMutationData
    from mutmut.stats import status_by_exit_code

    rows, living = [], []
    for path in wanted:
        data = SourceFileMutationData(path=path)
        data.load()
        states = {
            name: status_by_exit_code[code]
            for name, code in data.exit_code_by_key.items()
            if not patterns or any(fnmatch(name, one) for one in patterns)
        }
        of_words = words((FOLDER / path).read_text())
        rows.append(row(path, states, of_words))
        living += [
            f"{name}: {state}"
            for name, state in states.items()
            if state in _LIVES and name.rpartition(".")[2] not in of_words
        ]
    print(_ROW.format("file", "mutants", "by tests", "by types", "words", "live").replace("`", ""))
    print("\n".join([*rows, "", *living]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the mutants of some files or of all; the exit code is 2 where no file is meant."""
    parser = argparse.ArgumentParser(prog="tests/mutants.py", description=__doc__)
    parser.add_argument("names", nargs="*", help="files below inspector/machine or names of mutants, with *; none: all")
    parser.add_argument("--tests", nargs="*", default=[], help="the tests that are asked")
    options = parser.parse_args(arguments)
    patterns = [pattern(word) for word in options.names]
    from mutmut.__main__ import _run
    from mutmut.utils.file_utils import walk_mutatable_files

    wanted = files(walk_mutatable_files(), patterns)
    if not wanted:
        parser.error(f"no file of inspector/machine has mutants named {' '.join(options.names)}")
    _narrow(wanted, patterns, options.tests)
    os.register_at_fork(after_in_child=forget)
    _run(tuple(patterns), None)
    _tell(wanted, patterns)
    return 0


if __name__ == "__main__":
    sys.exit(main())
