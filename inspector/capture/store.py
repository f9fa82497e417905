"""Areas as JSON values: the part of the capture file that describes bytes."""

from __future__ import annotations

from typing import Any

#: Version of the capture file. A reader refuses files of a later version.
VERSION = 1
MAGIC_KEY = "vcpu_capture"

#: Attributes of an area that are plain JSON values, with their type.
PLAIN_ATTRIBUTES: dict[str, type] = {
    "note_owner": str,
    "note_type": int,
    "word_bytes": int,
    "synthesized": bool,
    "implied": bool,
    "xstate_bv_unmaintained": bool,
    "arch": str,
    "x87_order": str,
    "fields": list,
    "ids": list,
    "rows": list,
    "named": list,
    "unknown": str,
    "dropped": list,
}


def plain_attributes(attributes: dict[str, Any]) -> dict[str, Any]:
    """The attributes that the capture file stores as they are."""
    return {name: attributes[name] for name in PLAIN_ATTRIBUTES if name in attributes}
