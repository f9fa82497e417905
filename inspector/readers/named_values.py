"""Values that text names: an area whose fields are the paths that the names have everywhere.

Every reader of printed registers ends here. Such an area has no place in a file.
"""

from __future__ import annotations

from collections.abc import Iterable

from inspector.capture.errors import visible
from inspector.capture.model import Area, Origin

#: A value and its size in bytes.
Sized = tuple[int, int]


def named_area(values: dict[str, Sized], file: str, title: str) -> Area:
    """An area of values by path, in this order."""
    rows = [(path, _kind(path, size), size) for path, (_, size) in values.items()]
    data = b"".join((value % (1 << 8 * size)).to_bytes(size, "little") for value, size in values.values())
    return Area(
        "named-values", "registers", title, data, Origin(file, 0), attributes={"synthesized": True, "named": rows}
    )


def facts_area(rows: Iterable[tuple[str, str]], prefix: str, title: str, file: str) -> Area:
    """Named texts: no bytes, one row a fact."""
    told = [(visible(name), visible(text)) for name, text in rows]
    return Area("properties", prefix, title, b"", Origin(file, 0), attributes={"synthesized": True, "rows": told})


def _kind(path: str, size: int) -> str:
    if path.startswith(("xsave.st[", "fpr[")):
        return "x87"
    if path.startswith(("sve.p[", "sve.ffr")):
        return "predicate"
    return "vector" if size >= 16 else "uint"
