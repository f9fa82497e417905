"""Textual's command palette, which outlives fast keys."""

from __future__ import annotations

from typing import Any

from textual import work
from textual.command import CommandPalette
from textual.css.query import NoMatches
from textual.message import Message
from textual.widgets import Input, OptionList

from inspector.tui.closing import ClosesOnce

#: What Textual 8.2 raises when a key, a timer or the search meets a palette that is closed already, or a list that
#: is not laid out yet: CommandPalette queries its list, OptionList looks up a line.
_RACES = (NoMatches, KeyError, IndexError)
#: What the user does; a palette that is closed takes none of it, or a command would run twice.
_INPUTS = (Input.Changed, Input.Submitted, OptionList.OptionSelected)


class Palette(CommandPalette, ClosesOnce):
    """The command palette. What comes too early or too late for it does nothing."""

    # Without colours Textual 8.2 marks the selected command by reverse alone, which OptionList loses.
    DEFAULT_CSS = """
    Palette:nocolor OptionList > .option-list--option-highlighted { text-style: bold underline; }
    """

    async def _dispatch_message(self, message: Message) -> None:
        """Messages, timers and watchers."""
        if isinstance(message, _INPUTS) and not self.is_active:
            return
        try:
            await super()._dispatch_message(message)
        except _RACES as error:
            self.log.warning(f"palette: {error!r}")

    def _action_command_list(self, action: str) -> None:
        """Keys that move in the list."""
        try:
            super()._action_command_list(action)
        except _RACES as error:
            self.log.warning(f"palette: {error!r}")

    def _action_cursor_down(self) -> None:
        """The key that opens the list."""
        try:
            super()._action_cursor_down()
        except _RACES as error:
            self.log.warning(f"palette: {error!r}")

    @work(exclusive=True, group=CommandPalette._GATHER_COMMANDS_GROUP)
    async def _gather_commands(self, search_value: str) -> None:
        """The search, which goes on when the palette has been closed."""
        search: Any = CommandPalette._gather_commands
        try:
            await search.__wrapped__(self, search_value)
        except _RACES as error:
            self.log.warning(f"palette: {error!r}")
