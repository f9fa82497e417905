"""Areas as JSON values: the part of the capture file that describes bytes."""

from __future__ import annotations

from typing import Any, get_origin, get_type_hints

from inspector.capture.attributes import Attributes

#: Version of the capture file. A reader refuses files of a later version.
VERSION = 1
MAGIC_KEY = "vcpu_capture"

#: Attributes of an area that are plain JSON values, with their type: all but the table, which has a record of its own.
PLAIN_ATTRIBUTES: dict[str, type] = {
    name: get_origin(hint) or hint for name, hint in get_type_hints(Attributes).items() if name != "table"
}


def plain_attributes(attributes: Attributes) -> dict[str, Any]:
    """The attributes that the capture file stores as they are."""
    return {name: value for name in PLAIN_ATTRIBUTES if (value := attributes.get(name)) is not None}
