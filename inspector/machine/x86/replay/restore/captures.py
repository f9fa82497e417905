"""The captured vCPUs of an archive, by name: folders of files, as a VMM's structures are kept."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

from inspector.capture.errors import InputError
from layouts.light import cached_property

#: The files of a capture by its name, None where there is none.
CapturesByName = Callable[[str], Mapping[str, bytes] | None]
#: What an archive may hold: files, and bytes of each.
_MOST_FILES, _MOST_BYTES = 65_536, 1 << 20


class Captures:
    """An archive, read when the first capture is asked for. Raises InputError for what is none."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, name: str) -> Mapping[str, bytes] | None:
        """The files of a capture, None where the archive has none of that name."""
        return self._folders.get(name)

    @cached_property
    def _folders(self) -> dict[str, dict[str, bytes]]:
        found: dict[str, dict[str, bytes]] = {}
        try:
            with tarfile.open(self.path) as archive:
                for nth, member in enumerate(archive):
                    if nth >= _MOST_FILES or member.size > _MOST_BYTES:
                        raise InputError(str(self.path), "an archive of captured vCPUs", f"{member.name}: too large")
                    if not member.isfile():
                        continue
                    *_, folder, file = ("", *member.name.split("/"))
                    data = archive.extractfile(member)
                    found.setdefault(folder, {})[file] = data.read() if data else b""
        except (tarfile.TarError, OSError, EOFError) as error:
            raise InputError(str(self.path), "an archive of captured vCPUs", str(error)) from error
        return found
