"""Records are read without tomllib where they can be: as tomllib reads them, and nothing that it would refuse."""

import random
import tomllib
from pathlib import Path

import pytest

from inspector.readers.plain_toml import plain_toml

RECORDS = [path for path in Path("samples").glob("*/*.toml") if path.name != "about.toml"]
TEXT = RECORDS[0].read_text()

REFUSED = [
    'a = "x\\n"',
    'a = """x"""',
    "a = 'x'",
    'a = "x" y',
    'a = "x',
    "a = 0x",
    "a = 0xg",
    "a = 0X1",
    "a = 1_0",
    "a = 01",
    "a = -1",
    "a = 1.5",
    "a = true",
    "a = [1, [2]]",
    "a = [1,]",
    "a = []",
    "a = {b = 1}",
    "a",
    "a =",
    "= 1",
    "a b = 1",
    "a.b.c = 1",
    ".a = 1",
    "a. = 1",
    '"a" = 1',
    "a = 1\na = 2",
    "a = 1\na.b = 2",
    "a.b = 1\na = 2",
    "a.b = 1\na.b = 2",
    "[a]\n[a]",
    "a = 1\n[a]",
    "[a.b]",
    "[[a]]",
    "[a] x",
    "a = 1\r\nb = 2",
    "a = 1 # \x07",
    "\ufeffa = 1",
    "é = 1",
    "a = \u0661",
]


@pytest.mark.parametrize("path", RECORDS, ids=str)
def test_records_of_ours_are_plain(path: Path) -> None:
    """Every record that ships, and its order."""
    text = path.read_text()
    found = plain_toml(text)
    assert found == tomllib.loads(text)
    assert found is not None
    assert list(found) == list(tomllib.loads(text))


@pytest.mark.parametrize("text", REFUSED)
def test_everything_else_is_left_to_tomllib(text: str) -> None:
    """A fault is told by tomllib, a form that is not plain is read by it."""
    assert plain_toml(text) is None


def test_what_is_plain_is_what_tomllib_reads() -> None:
    """Records with a few letters changed."""
    chance, lines, taken = random.Random(1), TEXT.split("\n"), 0
    for _ in range(1500):
        at = chance.randrange(len(lines))
        text = "\n".join(lines[:3] + lines[at : at + 3])
        for _ in range(chance.randrange(3)):
            place = chance.randrange(len(text) + 1)
            text = text[:place] + chance.choice('"\\.#=[]x0_-,\t\r\n aA\u00e91') + text[place + chance.randrange(2) :]
        found = plain_toml(text)
        if found is not None:
            taken += 1
            assert found == tomllib.loads(text), text
    assert taken > 300
