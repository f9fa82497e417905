"""Tables are kept as Python keeps modules, made by name, and rows of rules are never changed."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from importlib.util import cache_from_source
from pathlib import Path

import pytest

from layouts import data
from layouts.arm64.chips import _corrections, bare_hosts, cores
from layouts.arm64.named_models import named_models
from layouts.by_name import ByName
from layouts.kernels import Kernel
from layouts.x86.kernels import X86Kernel


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(data, "_ROOT", str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    path = tmp_path / "one.json"
    path.write_text('{"a": [1, 18446744073709551615, null, true, "é"]}')
    return path


def test_a_table_is_kept_and_made_again_when_it_changes(table: Path) -> None:
    first = data.data_table("one.json")
    kept = Path(cache_from_source(str(table)))
    assert kept.exists()
    assert first == data.data_table("one.json") == json.loads(table.read_text())
    assert first is not data.data_table("one.json")
    table.write_text('{"b": 2}')
    os.utime(table, (1, 1))
    assert data.data_table("one.json") == {"b": 2}


@pytest.mark.parametrize("damage", [b"", b"x" * 40, None])
def test_what_was_kept_damaged_is_no_matter(table: Path, damage: bytes | None) -> None:
    right = data.data_table("one.json")
    kept = Path(cache_from_source(str(table)))
    kept.write_bytes(kept.read_bytes()[:-9] if damage is None else damage)
    assert data.data_table("one.json") == right


def test_without_leave_to_write_nothing_is_kept(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert data.data_table("one.json")["a"][0] == 1
    assert not Path(cache_from_source(str(table))).exists()


def test_no_two_tables_are_kept_in_one_place() -> None:
    root = Path(data.__file__).parent
    tables = [path for ending in ("py", "json", "jsonl", "toml") for path in root.rglob(f"*.{ending}")]
    assert [kept for kept, count in Counter(cache_from_source(str(path)) for path in tables).items() if count > 1] == []


def test_an_entry_is_made_once_when_it_is_asked_for() -> None:
    made: list[str] = []
    table = ByName(("b", "a"), lambda name: made.append(name) or name.upper())  # type: ignore[func-returns-value]
    assert (list(table), len(table), "a" in table, table.get("c"), made) == (["b", "a"], 2, True, None, [])
    assert (table["a"], table["a"], made) == ("A", "A", ["a"])
    assert (dict(table), made) == ({"b": "B", "a": "A"}, ["a", "b"])


def test_files_and_corrections_are_named_as_what_they_hold() -> None:
    assert all(model.name == name for name, model in named_models().items())
    for name in bare_hosts():
        assert (cores()[name] != bare_hosts()[name]) == bool(_corrections(name)), name


def test_a_record_is_replaced_never_changed() -> None:
    one = Kernel(name="1.0", version="1.0.1")
    other = one.replaced(since="0.9")
    assert (one.since, other.since) == ("", "0.9")
    assert one != other
    assert one == Kernel(name="1.0", version="1.0.1")
    assert hash(one) == hash(Kernel(version="1.0.1", name="1.0"))
    assert repr(one).startswith("Kernel(name='1.0', version='1.0.1', since=''")
    assert X86Kernel.field_names()[:2] == ("name", "version")
    with pytest.raises(AttributeError):
        one.name = "2.0"  # type: ignore[misc]
    with pytest.raises(TypeError):
        one.replaced(nmae="2.0")
    with pytest.raises(TypeError):
        Kernel(name="1.0")  # type: ignore[call-arg]
