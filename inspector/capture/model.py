"""Capture, Vcpu and Area: what was opened, as bytes with a layout each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from inspector.capture.attributes import Attributes
from inspector.capture.errors import InputError
from inspector.capture.host import Host
from layouts.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from inspector.capture.calls import Call

Bytes = bytes | bytearray | memoryview


class Origin(NamedTuple):
    """Where an area's bytes are from: the file and the offset in it (after decompression)."""

    file: str
    offset: int


class Area:
    """Bytes with a layout.

    ``layout`` names an entry of :mod:`layouts.registry`, or ``xsave`` or ``raw``. ``prefix``
    is the first word of the paths of its fields, unique in its vCPU. ``declared_size_bytes``
    is what the file says it has; ``data`` may be shorter when the file was cut, and what is
    not there is "not captured". ``attributes`` hold what the layout needs beside the bytes
    (the placement of an XSAVE image, a note's number): :mod:`inspector.capture.attributes`.

    ``data`` is what is decoded now; ``original`` is what the file holds. They differ only by
    the edits of an :class:`~inspector.capture.overlay.Overlay`.
    """

    __slots__ = ("attributes", "data", "declared_size_bytes", "layout", "origin", "original", "prefix", "title")

    def __init__(
        self,
        layout: str,
        prefix: str,
        title: str,
        data: Bytes,
        origin: Origin,
        *,
        declared_size_bytes: int | None = None,
        attributes: Attributes | None = None,
    ) -> None:
        self.layout = layout
        self.prefix = prefix
        self.title = title
        self.data: Bytes = data
        self.original: Bytes = data
        self.origin = origin
        self.declared_size_bytes = len(data) if declared_size_bytes is None else declared_size_bytes
        self.attributes: Attributes = attributes.copy() if attributes else {}

    @property
    def size_bytes(self) -> int:
        """Bytes that are there."""
        return len(self.data)

    def __repr__(self) -> str:
        return f"Area({self.layout!r}, {self.prefix!r}, {self.size_bytes} bytes of {self.origin})"


class Vcpu:
    """One CPU or thread. Its areas are made when they are asked for."""

    __slots__ = ("_areas", "_make", "arch", "index", "name")

    def __init__(
        self,
        index: int,
        name: str,
        arch: str,
        areas: Sequence[Area] | Callable[[], Sequence[Area]],
    ) -> None:
        self.index = index
        self.name = name
        self.arch = arch
        self._areas: list[Area] | None = None
        self._make: Callable[[], Sequence[Area]] | None = None
        if callable(areas):
            self._make = areas
        else:
            self._areas = list(areas)

    @property
    def areas(self) -> list[Area]:
        """The areas, decoded headers and all, in the order of the file."""
        if self._areas is None:
            self._areas = list(self._make()) if self._make else []
        return self._areas

    def release(self) -> None:
        """Forget areas that can be made again: who looks at every thread of a large core holds one at a time.

        Edited ones stay.
        """
        if self._make is not None and all(area.data is area.original for area in self._areas or ()):
            self._areas = None

    def area(self, prefix: str) -> Area | None:
        """The area whose fields start with ``prefix``."""
        for area in self.areas:
            if area.prefix == prefix:
                return area
        return None


#: The format of what a simulated machine gives.
SIMULATED = "simulated"


class Capture:
    """What was opened.

    ``faults`` say what could not be read and why; a capture with faults is partial.
    ``notices`` are things a reader had to decide (a guessed layout). ``context`` are areas
    of the whole process or machine. ``calls`` are what a log tells of, in its order.
    """

    def __init__(
        self,
        target: str,
        format_name: str,
        vcpus: Sequence[Vcpu],
        *,
        host: Host | None = None,
        context: Sequence[Area] = (),
        faults: Sequence[InputError] = (),
        notices: Sequence[str] = (),
        calls: Sequence[Call] = (),
    ) -> None:
        self.target = target
        self.format = format_name
        self.vcpus = list(vcpus)
        self.host = host or Host()
        self.context = list(context)
        self.faults = list(faults)
        self.notices = list(notices)
        self.calls: list[Call] = list(calls)

    @property
    def is_simulated(self) -> bool:
        """A simulated machine made it, with what that knows of a vCPU."""
        return self.format == SIMULATED

    @property
    def partial(self) -> bool:
        """Something of the file is missing or could not be read."""
        return bool(self.faults)
