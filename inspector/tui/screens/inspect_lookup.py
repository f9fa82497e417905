"""How one finds things on the Inspect screen: search while typing, filter, places, marks, links."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspector.tui.base_app import BaseApp
from inspector.tui.screens.inspect_doors import DoorScreen

if TYPE_CHECKING:
    from inspector.tui.widgets.prompt import Prompt

_SEARCH = "search (* before it: all vCPUs)"
#: So many vCPUs are searched while one types; more when Enter comes.
_MOST_WHILE_TYPING = 8
#: So long vCPUs are searched at a time, and so long keys are waited for between two times.
_SLICE_SECONDS, _PAUSE_SECONDS = 0.02, 0.005
#: What a question says that finds nothing; each is a method of the session.
_NOTHING = {
    "filter": "no field of this area matches ",
    "go_to": "no such path, offset or vCPU: ",
}


class LookupScreen(DoorScreen):
    """A screen over a session in which things are found."""

    #: What the next letter is for: a mark that is set, or gone to.
    _letter_for = ""

    def show_title(self) -> None:
        """Paint what is above the panes anew."""
        raise NotImplementedError

    def answer(self, purpose: str, text: str) -> None:
        """Do what else was asked for."""
        raise NotImplementedError

    def _prompt(self) -> Prompt:
        from inspector.tui.widgets.prompt import Prompt

        return self.query_one(Prompt)

    # Searching

    def action_search(self) -> None:
        """Ask what to look for."""
        if self.session is not None:
            self.session.begin_search()
            self._prompt().ask("search", f"{_SEARCH}:", live=True)

    def on_prompt_changed(self, event: Prompt.Changed) -> None:
        """Go to the likeliest match of what has been typed so far."""
        session = self.session
        if session is None or self._waits(event.text):
            return
        session.search_on(event.text)
        self._tell_count()
        self.show_all()

    def _waits(self, text: str) -> bool:
        """A search of many vCPUs waits for Enter."""
        assert self.session is not None
        return text.startswith("*") and len(self.session.capture.vcpus) > _MOST_WHILE_TYPING

    def _tell_count(self) -> None:
        assert self.session is not None
        count = self.session.count_text()
        self._prompt().label(f"{_SEARCH} {count}:" if count else f"{_SEARCH}:")

    def on_prompt_stepped(self, event: Prompt.Stepped) -> None:
        """Another match while one types."""
        if self.session is not None and self.session.matches:
            self.session.search(self.session.search_text, backwards=event.by < 0, again=True)
            self._tell_count()
            self.show_all()

    def on_prompt_cancelled(self) -> None:
        """Back to where the search began."""
        if self.session is not None and self._prompt().purpose == "search":
            self.session.end_search(keep=False)
            self.show_all()

    def _end_search(self, text: str) -> None:
        assert self.session is not None
        session = self.session
        if text.strip().lower() != session.search_text and text.strip():
            session.search_on(text, _SLICE_SECONDS)
        if session.is_searching:
            # What there is so far is shown; keys are heard between two slices. Enter again stays with it.
            self._tell_count()
            self.show_all()
            self.set_timer(_PAUSE_SECONDS, self._search_further)
            if not session.matches:
                return
        self._stay(text)

    def _search_further(self) -> None:
        """Look through more vCPUs, as long as nothing else is asked for."""
        session, prompt = self.session, self._prompt()
        if session is None or not session.is_searching:
            return
        is_first = session.search_further(_SLICE_SECONDS)
        if session.is_searching:
            self.set_timer(_PAUSE_SECONDS, self._search_further)
        if prompt.is_open and prompt.purpose == "search":
            self._tell_count()
            if is_first or not session.is_searching:
                self._stay(session.search_text)
        self.show_title()

    def _stay(self, text: str) -> None:
        """At the match, or say that there is none."""
        assert self.session is not None
        session, prompt = self.session, self._prompt()
        found = bool(session.matches)
        session.end_search(keep=found)
        if found or not text.strip():
            prompt.close()
        else:
            where = "no vCPU" if text.startswith("*") else "nothing in this vCPU"
            prompt.give_up(f"{where} matches {text!r}")
        self.show_all()

    def action_search_next(self) -> None:
        """To the next match."""
        self._search_again(backwards=False)

    def action_search_previous(self) -> None:
        """To the previous match."""
        self._search_again(backwards=True)

    def _search_again(self, *, backwards: bool) -> None:
        if self.session is None:
            return
        if not self.session.search_text:
            self.action_search()
        elif self.session.search(self.session.search_text, backwards=backwards, again=True):
            self.show_all()

    # Going

    def action_jump(self) -> None:
        """Ask where to go."""
        self._prompt().ask("go_to", "go to (path, 0x offset, #vCPU):")

    def action_filter(self) -> None:
        """Ask which fields to show."""
        rows = self.session.rows if self.session else None
        if rows is not None:
            self._prompt().ask("filter", "only fields with (empty: all):", rows.filter_text)

    def on_prompt_submitted(self, event: Prompt.Submitted) -> None:
        """Do what was asked for, or say why not."""
        if self.session is None:
            return
        if event.purpose == "search":
            self._end_search(event.text)
        elif event.purpose not in _NOTHING:
            self.answer(event.purpose, event.text)
        elif getattr(self.session, event.purpose)(event.text):
            self._prompt().close()
            self.show_all()
        else:
            self._prompt().give_up(f"{_NOTHING[event.purpose]}{event.text!r}")

    def on_prompt_closed(self) -> None:
        """Back to the fields."""
        from inspector.tui.widgets.field_list import FieldList

        self.set_focus(self.query_one(FieldList))

    def action_clear(self) -> None:
        """End the zoom, else search and filter, else one level up."""
        if self.maximized is not None:
            self.run_action_zoom()
        elif self.session is not None and (self.session.forget_search() | self.session.is_filtered):
            self.session.filter("")
            self.show_all()
        elif isinstance(self.app, BaseApp) and len(self.app.screen_stack) > 1:
            self.go_up()

    def run_action_zoom(self) -> None:
        """End the zoom."""
        raise NotImplementedError

    def go_up(self) -> None:
        """One level up."""
        assert isinstance(self.app, BaseApp)
        self.app.action_up()

    def action_back(self) -> None:
        """To the place before."""
        self._went(found=self.session is not None and self.session.go_back(), otherwise="no place before this one")

    def action_forward(self) -> None:
        """To the place that one came back from."""
        self._went(found=self.session is not None and self.session.go_forward(), otherwise="no place behind this one")

    def action_follow(self) -> None:
        """To what the field refers to."""
        self._went(
            found=self.session is not None and self.session.follow(),
            otherwise="refers to nothing here: bits of XSTATE_BV, XCOMP_BV, XCR0 do",
        )

    def _went(self, *, found: bool, otherwise: str) -> None:
        if found:
            self.show_all()
        else:
            self.notify(otherwise, markup=False, timeout=3)

    # Marks

    def action_mark(self) -> None:
        """The next letter is this place's name."""
        self._wait_for_letter("mark", "mark: a letter")

    def action_to_mark(self) -> None:
        """To the place with the next letter."""
        marks = "".join(sorted(self.session.marks)) if self.session is not None else ""
        self._wait_for_letter("to_mark", f"go to the mark: {' '.join(marks)}" if marks else "no marks: m and a letter")

    def _wait_for_letter(self, purpose: str, said: str) -> None:
        self._letter_for = purpose
        self.notify(said, timeout=3)

    def takes(self, character: str | None) -> bool:
        """See KeyedScreen: the letter of a mark."""
        purpose, self._letter_for = self._letter_for, ""
        if not purpose or self.session is None or character is None or not character.isalpha():
            return False
        if purpose == "mark":
            self.session.mark(character)
            self.notify(f"marked {character}: ' and {character} come back here", timeout=2)
        else:
            self._went(found=self.session.go_to_mark(character), otherwise=f"no mark {character}")
        return True
