"""Keys from bytes: an Esc alone, and one that another key begins with."""

from __future__ import annotations

import pytest
from textual import _parser
from textual.message import Message

from inspector.tui.driver import ESCAPE_SECONDS, KeyParser


class Clock:
    """Time that a test lets go on."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(_parser, "get_time", found)
    monkeypatch.delenv("ESCDELAY", raising=False)
    return found


def names(messages: object) -> list[str]:
    assert isinstance(messages, list)
    return [getattr(message, "key", type(message).__name__) for message in messages]


def test_an_esc_alone_waits_for_the_rest_of_a_key_only(clock: Clock) -> None:
    parser = KeyParser(False)
    assert names(list(parser.feed("\x1b"))) == []
    assert names(list(parser.tick())) == []
    clock.now += ESCAPE_SECONDS
    assert names(list(parser.tick())) == ["escape"]


def test_a_key_in_pieces_is_one(clock: Clock) -> None:
    parser, found = KeyParser(False), list[Message]()
    for letter in "\x1b[1;5C":
        found += [*parser.feed(letter), *parser.tick()]
        clock.now += ESCAPE_SECONDS / 2
    assert names(found) == ["ctrl+right"]


def test_a_user_has_the_last_word(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESCDELAY", "100")
    parser = KeyParser(False)
    list(parser.feed("\x1b"))
    clock.now += ESCAPE_SECONDS
    assert names(list(parser.tick())) == []
