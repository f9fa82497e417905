"""``models --json``: each subcommand has the same keys for both architectures, and of each key one kind of value."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from inspector.cli.main import main

#: Keys whose own keys are names: of hosts, models, registers, properties.
_BY_NAME = ("registers", "properties", "origins", "switches", "moves", "partial", "values")
COMMANDS = {
    "list": ("--arch arm64 --host neoverse-v1", "--arch x86 --host EPYC-Rome-v4"),
    "show": ("neoverse-v1-v1", "EPYC-Rome-v4"),
    "expand": ("neoverse-v1-v1 --host neoverse-n1", "EPYC-Milan,enforce --host EPYC-Rome-v4"),
    "check": ("neoverse-n1-v1 --host neoverse-n1 --host neoverse-v1", "EPYC --host EPYC-Rome-v4 --host EPYC-Milan"),
    "baseline": ("neoverse-v1 neoverse-n2", "EPYC-Rome-v4 EPYC-Milan-v2"),
}


def _kinds(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Each path with what kind of value is there; of null and of an empty list nothing."""
    if isinstance(value, dict):
        by_name = path.rpartition(".")[2].rstrip("[]") in _BY_NAME and "property" not in value
        for key, inner in value.items():
            yield from _kinds(inner, f"{path}.{'*' if by_name else key}")
        yield path, "object"
    elif isinstance(value, list):
        for inner in value:
            yield from _kinds(inner, f"{path}[]")
        yield path, "list"
    else:
        yield path, type(value).__name__


@pytest.mark.parametrize("command", COMMANDS)
def test_both_architectures_have_the_same_keys(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    kinds = []
    for words in COMMANDS[command]:
        main(["models", command, *words.split(), "--json"])
        found: dict[str, set[str]] = {}
        for path, kind in _kinds(json.loads(capsys.readouterr().out)):
            found.setdefault(path, set()).add(kind)
        kinds.append(found)
    arm64, x86 = kinds
    # What is below an empty list, or stands where nothing is told, has no keys to compare.
    inner = {path for path in arm64.keys() ^ x86.keys() if "[]." in path[2:] or path.endswith("[]") or "*" in path}
    assert arm64.keys() - inner == x86.keys() - inner
    for path in arm64.keys() & x86.keys():
        one, other = arm64[path] - {"NoneType"}, x86[path] - {"NoneType"}
        assert not (one and other) or one & other, (path, one, other)


def test_guests_of_one_x86_model_move_between_hosts(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["models", "check", "SapphireRapids", "--host", "SapphireRapids@5.10", "--host", "SapphireRapids@6.18"]
    assert main(words) == 1
    out = capsys.readouterr().out
    assert "  SapphireRapids@5.10 -> SapphireRapids@6.18: arrives" in out
    assert "  SapphireRapids@6.18 -> SapphireRapids@5.10: another guest there: the guest loses " in out
    assert "not the same guest: on SapphireRapids@6.18 alone bus-lock-detect amx-bf16" in out
    main([*words, "--json"])
    older, newer = json.loads(capsys.readouterr().out)
    assert [(move["to"], move["arrives"]) for move in older["moves"]] == [("SapphireRapids@6.18", True)]
    assert not newer["moves"][0]["arrives"]
    assert {"amx-tile", "xfd"} <= {name for name in newer["features"] if name not in older["features"]}
    assert older["unlike"][0]["values"] == {"SapphireRapids@5.10": "0x0", "SapphireRapids@6.18": "0x1"}
    assert main(["models", "check", "EPYC", "--host", "EPYC-Rome-v4", "--host", "milan@6.18"]) == 0
