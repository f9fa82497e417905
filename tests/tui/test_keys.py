"""The same keys do the same kind of thing on every screen."""

from __future__ import annotations

import pytest

from inspector.tui import keys
from inspector.tui.key import keys_of

#: Key -> what it may do, by the name of the action. A screen can leave a key out, but not give it to something else.
COMMON = {
    "q": {"leave", "up"},
    "question_mark": {"help"},
    "slash": {"search", "filter"},
    "n": {"search_next", "difference", "in_the_way", "again", "heading", "divergence", "next"},
    "N": {"search_previous", "difference", "in_the_way", "again", "heading", "divergence", "next"},
    "colon": {"jump", "ask", "ask_host"},
    "enter": {"edit", "enter", "field", "go", "fold", "ask", "leader"},
    "escape": {"app.up", "clear"},
    "u": {"undo"},
    "ctrl+r": {"redo"},
    "y": {"copy", "copy_value", "yank"},
    "Y": {"copy", "copy_command"},
    "S": {"save"},
    "s": {"picture"},
    "t": {"next_theme"},
    "ctrl+p": {"command_palette"},
}
#: Every screen has these.
EVERYWHERE = ("q", "question_mark", "escape", "s", "t", "ctrl+p")


def bound(screen: str) -> dict[str, set[str]]:
    """Key -> its actions on a screen, without what they are told."""
    found: dict[str, set[str]] = {}
    for one, _ in keys_of(keys.help_of(screen)):
        for key in one.keys.split(","):
            found.setdefault(key, set()).add(one.action.partition("(")[0])
    return found


@pytest.mark.parametrize("screen", keys.SCREENS)
def test_common_keys_are_common(screen: str) -> None:
    found = bound(screen)
    for key, actions in COMMON.items():
        assert found.get(key, set()) <= actions, key
    assert found.keys() >= set(EVERYWHERE)
    # Who goes to the next goes to the previous too; a scenario goes on, and u goes back.
    assert ("N" in found) == ("n" in found and (found["n"] != {"next"} or screen == "against"))


@pytest.mark.parametrize("screen", keys.SCREENS)
def test_ids_and_names_are_one_each(screen: str) -> None:
    ids = [one.id for one, _ in keys_of(keys.SCREENS[screen])]
    assert len(ids) == len(set(ids))
