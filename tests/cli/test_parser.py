"""Words that are read without argparse mean what argparse makes of them; all others are left to it."""

from __future__ import annotations

import itertools

import pytest

from inspector.cli.parser import Parser


def parser() -> Parser:
    made = Parser("try", "Try.")
    made.add_argument("source", metavar="SRC")
    made.add_argument("targets", nargs="+", metavar="TARGET")
    made.add_argument("--vcpu", type=int, metavar="N")
    made.add_argument("--field", action="append", default=[], metavar="GLOB")
    made.add_argument("--press", action="append")
    made.add_argument("--abi", default="merged", choices=("merged", "proposal"))
    made.add_argument("--as", dest="as_format", default="")
    made.add_argument("--imp-ids", action="store_true")
    made.add_argument("-o", "--output")
    made.add_argument("--count", type=int, default="7")
    made.add_argument("--to", choices=("text", "json"), default="text")
    made.add_argument("--json", dest="to", action="store_const", const="json")
    return made


def test_both_read_the_same() -> None:
    parts = [
        ("a",),
        ("a", "b", "c"),
        ("--vcpu", "3"),
        ("--field", "x[*]"),
        ("--field", "y"),
        ("--imp-ids",),
        ("-o", "f"),
    ]
    parts += [
        ("--abi", "proposal"),
        ("--as", "kvm-regs"),
        ("-",),
        ("--press", "q"),
        ("--json",),
        ("--to", "text"),
        ("--output", "g"),
        ("",),
    ]
    read = 0
    for chosen in itertools.permutations(parts, 3):
        words = [word for part in chosen for word in part]
        plain = parser().plain(words)
        if plain is not None:
            read += 1
            assert vars(plain) == vars(parser().whole().parse_args(words)), words
    assert read > 400


@pytest.mark.parametrize(
    "words",
    [
        "",
        "a",
        "a b --help",
        "a b --vcpu",
        "a b --vcpu x",
        "a b --vcpu=3",
        "a b --vcpu -3",
        "a b --abi other",
        "a b --imp",
        "a b -of",
        "a b -- c",
        "a --imp-ids b",
    ],
)
def test_the_rest_is_left_to_argparse(words: str) -> None:
    assert parser().plain(words.split()) is None


def test_defaults_are_not_shared() -> None:
    one = parser().plain(["a", "b", "--field", "x"])
    made = parser()
    first, second = made.plain(["a", "b"]), made.plain(["a", "b"])
    assert one is not None
    assert first is not None
    assert second is not None
    first.field.append("y")
    assert second.field == []


def test_what_is_required_is_asked_for_by_argparse() -> None:
    made = Parser("try", "Try.")
    made.add_argument("--host", action="append", default=[], required=True)
    assert made.plain([]) is None
    found = made.plain(["--host", "h"])
    assert found is not None
    assert found.host == ["h"]
