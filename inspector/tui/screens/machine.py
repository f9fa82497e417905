"""What the screens of both labs have: they tell what is wrong, take back, save, copy, and show bytes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import BinaryIO, Protocol

from inspector.capture.errors import OutputError, visible
from inspector.capture.model import Capture
from inspector.tui.base_app import BaseApp, KeyedScreen
from inspector.tui.key import written_keys
from inspector.tui.keys import help_of


class LabSession(Protocol):
    """What both labs can do. What can fail gives what is wrong, or nothing."""

    def undo(self) -> str:
        """Take the last change back."""

    def redo(self) -> str:
        """Make it again."""

    def command(self) -> str:
        """The command that shows the same; empty where there is none."""

    def capture(self) -> Capture:
        """The machine's bytes."""

    @property
    def name(self) -> str:
        """What the machine is called."""


class MachineScreen(KeyedScreen):
    """A screen on a simulated machine."""

    @property
    def keymap(self) -> Mapping[str, str]:
        """The user's own keys, by id."""
        return self.app.keymap if isinstance(self.app, BaseApp) else {}

    @cached_property
    def keys(self) -> Mapping[str, str]:
        """The first key of each id as it is written; the user's own where there are such."""
        return written_keys(help_of(self.keys_name), self.keymap)

    def lab_session(self) -> LabSession:
        """What the lab works on."""
        raise NotImplementedError

    def show_all(self) -> None:
        """Everything anew."""
        raise NotImplementedError

    def tell(self, wrong: str) -> None:
        """Say what did not work; nothing when nothing is wrong."""
        if wrong:
            self.notify(visible(wrong), severity="warning", markup=False, timeout=5)

    def done(self, wrong: str) -> None:
        """Show what a change came to, or say why there is none."""
        if wrong:
            self.tell(wrong)
        else:
            self.show_all()

    def action_undo(self) -> None:
        """Take the last change back."""
        self.done(self.lab_session().undo())

    def action_redo(self) -> None:
        """Make it again."""
        self.done(self.lab_session().redo())

    def action_yank(self) -> None:
        """Copy the command."""
        command = self.lab_session().command()
        if not command:
            self.tell(
                f"no command shows the same: nothing gives this state again; {self.keys['lab.save']} saves the machine"
            )
            return
        self.app.copy_to_clipboard(command)
        self.notify(f"copied: {command}", markup=False)

    def action_save(self) -> None:
        """Write the machine as a capture file: under its name, or with a number where that is taken."""
        from inspector.export.vcpu import write_vcpu

        session = self.lab_session()
        capture = session.capture()
        self.write_new(f"{session.name.replace(':', '-')}.vcpu", lambda out: write_vcpu(out, capture))

    def write_new(self, name: str, write: Callable[[BinaryIO], object]) -> None:
        """Write a new file here; its name gets a number where it is taken."""
        from inspector.export.files import file_name, save_new

        try:
            path = file_name(name, os.listdir())
            save_new(path, write)
        except (OutputError, OSError) as error:
            self.tell(str(error))
            return
        self.notify(f"saved {path}", markup=False)
