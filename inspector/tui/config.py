"""The user's own file: other keys for what the tables of keys do, by their ids, and the theme. docs/guide.md tells.

What is wrong with it is said in one line and left out; the rest of it holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from inspector.capture.nearest import did_you_mean
from inspector.tui import keys
from inspector.tui.key import LEADER, LEADER_ID, Table, is_behind, keys_of, named, written

_MOST_BYTES = 1 << 16
#: One key with two ids: one level up, which from the lowest screen is out of the program.
_TOGETHER = {"app.up": "app.leave", "app.leave": "app.up"}
_KNOWN = ("keys", "theme")


class Config(NamedTuple):
    """Keys by their ids, as Textual names them, with commas between; the theme; what is wrong, a line each."""

    keys: dict[str, str]
    theme: str
    wrong: tuple[str, ...]


def config_file() -> Path:
    """In the system's folder for settings: below ``$XDG_CONFIG_HOME``, or ``~/.config``, where XDG says so."""
    from platformdirs import user_config_path

    return user_config_path("inspector", appauthor=False) / "config.toml"


def theme_names() -> tuple[str, ...]:
    """The themes that a user can choose: every one of Textual's."""
    from textual.theme import BUILTIN_THEMES

    return tuple(BUILTIN_THEMES)


def load() -> Config:
    """What the user's file says; nothing where there is none."""
    path = config_file()
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES).decode()
        # Most users have no such file, and nobody waits for its parser then.
        import tomllib

        found = tomllib.loads(text)
    except FileNotFoundError:
        return Config({}, "", ())
    except (OSError, ValueError, RecursionError) as error:
        return Config({}, "", (f"{path}: {error}",))
    wrong = [
        f"{path}: nothing is called {name}; {did_you_mean(name, _KNOWN, 'docs/guide.md')}"
        for name in found
        if name not in _KNOWN
    ]
    theme = found.get("theme", "")
    if not isinstance(theme, str):
        wrong.append(f"{path}: theme: expected a name in quotes, found {theme}")
        theme = ""
    table = found.get("keys", {})
    if not isinstance(table, dict):
        wrong.append(f"{path}: expected [keys] with lines of an id and a key")
        table = {}
    chosen, more = keymap_of({str(name): value for name, value in table.items()})
    return Config(chosen, theme, (*wrong, *(f"{path}: {line}" for line in more)))


def keymap_of(wanted: Mapping[str, object]) -> tuple[dict[str, str], list[str]]:
    """Keys by id, as the tables of keys have them, and what is wrong with the others."""
    known = {key.id: key.keys for table in _tables().values() for key, _ in keys_of(table)}
    chosen: dict[str, str] = {}
    wrong = []
    for name, value in wanted.items():
        pressed = [value] if isinstance(value, str) else value
        if name not in known:
            wrong.append(f"keys: no key has the id {name}; {did_you_mean(name, known, 'docs/guide.md')}")
        elif not isinstance(pressed, list) or not pressed or not all(isinstance(one, str) and one for one in pressed):
            wrong.append(f"keys: {name}: expected a key in quotes, or a list of keys, found {value}")
        else:
            chosen[name] = ",".join(named(one) for one in pressed)
            if name in _TOGETHER and _TOGETHER[name] not in wanted:
                chosen[_TOGETHER[name]] = chosen[name]
    _follow_leader(chosen)
    for name in list(chosen):
        if taken := _led_by_none(name, chosen) or _taken_by(name, chosen):
            del chosen[name]
            wrong.append(f"keys: {name}: {taken}")
    return chosen, wrong


def _follow_leader(chosen: dict[str, str]) -> None:
    """What is behind the leader is behind the user's own; ``Space x`` is then another way to write that."""
    leader = chosen.get(LEADER_ID, "").partition(",")[0]
    if not leader:
        return
    for table in _tables().values():
        for key, _ in keys_of(table):
            pressed = chosen.get(key.id, key.keys).split(",")
            if any(map(is_behind, pressed)):
                chosen[key.id] = ",".join(_led_by(leader, one) for one in pressed)


def _led_by(leader: str, key: str) -> str:
    return f"{leader} {key.split()[1]}" if is_behind(key) and key.split(maxsplit=1)[0] == LEADER else key


def _led_by_none(name: str, chosen: Mapping[str, str]) -> str:
    """Which of its two keys has no leader before it, or no panel on the screen; nothing where all is well."""
    leader = chosen.get(LEADER_ID, LEADER).partition(",")[0]
    for pressed in filter(is_behind, chosen[name].split(",")):
        if pressed.split()[0] != leader or len(pressed.split()) > 2:
            return f"{written(pressed)}: two keys begin with {written(leader)} ({LEADER_ID})"
        for screen, table in _tables().items():
            ids = {key.id for key, _ in keys_of(table)}
            if name in ids and LEADER_ID not in ids:
                return f"{written(pressed)}: the {screen} screen has no keys behind {written(leader)}"
    return ""


def _tables() -> dict[str, Table]:
    """What is bound at one time, by screen; what is typed and the help have keys of their own."""
    return {**{name: keys.help_of(name) for name in keys.SCREENS}, "prompt": keys.PROMPT, "help": keys.HELP}


def _taken_by(name: str, chosen: Mapping[str, str]) -> str:
    """What else on a screen has one of its new keys; nothing when none has."""
    new = set(chosen[name].split(","))
    for screen, table in _tables().items():
        bound = {key.id: chosen.get(key.id, key.keys) for key, _ in keys_of(table)}
        if name not in bound:
            continue
        for other, has in bound.items():
            both = new & set(has.split(","))
            if other not in (name, _TOGETHER.get(name)) and both:
                return f"{', '.join(sorted(both))} is {other} on the {screen} screen"
    return ""
