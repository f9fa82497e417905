"""YAML as kubectl prints it and people write manifests: bounded, data alone.

PyYAML tells the parser's events; values are made of them here, so that depth, number and aliases are known before
anything is built of them (its own composer goes as deep as the text does). Tags change nothing: text stays text.
"""

from __future__ import annotations

from layouts.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any


#: A virtual machine's features lie nine deep.
_MAX_DEPTH = 64
#: 5,000 nodes with 150 labels each have 2 million.
_MAX_VALUES = 1 << 22
_PLAIN: dict[str, bool | None] = {"true": True, "false": False, "": None, "~": None, "null": None}


class _Open(NamedTuple):
    """A collection that is being filled: its value, and of a mapping the key that waits for its value."""

    value: dict[str, Any] | list[Any]
    key: list[str]

    def put(self, value: Any) -> None:
        """The next item, key or value."""
        if isinstance(self.value, list):
            self.value.append(value)
        elif self.key:
            self.value[self.key.pop()] = value
        else:
            self.key.append(str(value))


def parse_yaml(text: str) -> list[Any]:
    """The documents of a text. Raises ValueError, with words for the user, for what is no YAML or too much of it.

    Numbers and dates stay text, as they are written: labels of Kubernetes are. Keys are text.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _documents(yaml.parse(text, Loader=loader))
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"no YAML: {error.problem or error.context}{line}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"no YAML: {' '.join(str(error).split())[:80]}") from None


def _documents(events: Any) -> list[Any]:
    import yaml

    root = _Open([], [])
    depth = [root]
    for number, event in enumerate(events):
        if number > _MAX_VALUES:
            raise ValueError(f"more than {_MAX_VALUES} values")
        if isinstance(event, yaml.ScalarEvent):
            is_plain = not event.style and event.value in _PLAIN
            depth[-1].put(_PLAIN[event.value] if is_plain else event.value)
        elif isinstance(event, yaml.CollectionStartEvent):
            if len(depth) > _MAX_DEPTH:
                raise ValueError(f"values nested deeper than {_MAX_DEPTH} in line {event.start_mark.line + 1}")
            made = _Open({} if isinstance(event, yaml.MappingStartEvent) else [], [])
            if not isinstance(depth[-1].value, list) and not depth[-1].key:
                raise ValueError(f"a key that is no text in line {event.start_mark.line + 1}")
            depth[-1].put(made.value)
            depth.append(made)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth.pop()
        elif isinstance(event, yaml.AliasEvent):
            raise ValueError(f"an alias (*{event.anchor:.40}) in line {event.start_mark.line + 1}: write it out")
    assert isinstance(root.value, list)
    return root.value
