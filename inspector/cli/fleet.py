"""``inspector fleet``: the questions of one capture, put to thousands of hosts and guests at once."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from inspector.capture.errors import UsageError
from inspector.capture.exit_code import ExitCode
from inspector.cli import arguments
from inspector.cli.streams import note, say, say_json
from inspector.fleet.hosts import Fleet, fleets
from inspector.fleet.lattice import Lattice
from inspector.fleet.store import Store
from layouts.files.fleet_store import DEFAULT_STORE

_EXAMPLES = """\
  inspector fleet add captures/ 'more/*.json' --store site.fleet
  kubectl get nodes -o json | inspector fleet add -
  ssh-to-all-hosts cat facts.json | inspector fleet add - --processes 4
  inspector fleet lattice --svg lattice.svg
  inspector fleet forecast --kernel 7.3 --on 'rack7-*'
  inspector fleet odd --json
  inspector open fleet:site.fleet                the same on screen

A line of standard input, or of a file whose name ends in .jsonl, is one JSON document: one of the formats that show
reads, or {"name": ..., "time": ..., "capture": {...}}, or with "text" in place of "capture". What was added stays added
where the command was interrupted; adding the same again changes nothing. The exit code is 1 where something is in
somebody's way: more than one pool, a guest that is refused or pinned, a host that is odd."""
#: So many names of a class are told.
_NAMES = 6
_MOST_NAMES = 1 << 20


class Command(NamedTuple):
    """A subcommand: what it does, and its function."""

    about: str
    run: Callable[[argparse.Namespace, Store], int]


def run(words: Sequence[str]) -> int:
    """Run one of the subcommands."""
    found = _parser().parse_args(words)
    with Store(found.store, create=found.name == "add") as store:
        return found.command.run(found, store)  # type: ignore[no-any-return]


def _parser() -> argparse.ArgumentParser:
    parser = arguments.parser(
        "fleet", "Thousands of hosts and guests: who can move where, and what if.", _EXAMPLES
    ).whole()
    commands = parser.add_subparsers(required=True, metavar="|".join(COMMANDS))
    for name, command in COMMANDS.items():
        one = commands.add_parser(name, help=command.about, description=command.about)
        one.set_defaults(command=command, name=name)
        one.add_argument("--store", default=DEFAULT_STORE, metavar="FILE", help=f"default {DEFAULT_STORE}")
        one.add_argument("--json", action="store_true", help="as JSON")
        if name == "add":
            _add_options(one)
        if name == "lattice":
            one.add_argument("--svg", default="", metavar="FILE", help="the picture, into a file")
        if name == "forecast":
            one.add_argument("--kernel", required=True, metavar="RELEASE", help="the newer release of Linux")
            one.add_argument("--on", nargs="+", default=["*"], metavar="HOSTS", help="names or patterns (default all)")
    return parser


def _add_options(to: argparse.ArgumentParser) -> None:
    to.add_argument("targets", nargs="*", metavar="TARGET", help="files, folders, globs, - or targets as of show")
    to.add_argument("--processes", type=int, default=0, metavar="N", help="that read (default: as many as CPUs)")
    to.add_argument("--dask", default="", metavar="ADDRESS", help="a scheduler whose workers read (an optional extra)")
    to.add_argument("--parquet", default="", metavar="DIR", help="write the store as Parquet (an optional extra)")


@contextmanager
def _progress(what: str, total: int | None = None) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error where that is a terminal; told how many are done, and of how many."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # No thread of its own draws: the processes that read are made while it is there.
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False, transient=True) as bar:
        task = bar.add_task(what, total=total)

        def told(done: int, of: int) -> None:
            bar.update(task, completed=done, total=of or None, refresh=True)

        yield told


def _add(found: argparse.Namespace, store: Store) -> int:
    from inspector.export.fleet import added_text
    from inspector.export.fleet_json import added_json
    from inspector.fleet.adding import add
    from inspector.fleet.sources import items

    if not (found.targets or found.parquet):
        raise UsageError("fleet add: name a target, or - for standard input")
    if found.processes < 0:
        raise UsageError(f"--processes {found.processes}: expected 1 or more")
    try:
        with _progress("adding") as told:
            came = add(
                store,
                items(found.targets),
                processes=found.processes,
                dask=found.dask,
                progress=lambda done: told(done, 0),
            )
    except KeyboardInterrupt:
        kept = store.counts().captures
        note(f"inspector: interrupted: {store.path} has {kept:,} captures; the same command goes on where it was")
        raise
    if found.parquet:
        from inspector.export.fleet_parquet import write_parquet

        write_parquet(store, found.parquet)
    counts, faults = store.counts(), store.faults(20)
    if found.json:
        say_json(added_json(store.path, came, counts, store.faults(_MOST_NAMES)))
    else:
        say(*added_text(came, counts, faults))
    return ExitCode.UNREADABLE if came.faults else ExitCode.OK


def _each(
    found: argparse.Namespace,
    store: Store,
    ask: Callable[[Fleet], Any],
    as_json: Callable[[Fleet, Any], dict[str, Any]],
    as_text: Callable[[Fleet, Any], Iterator[str]],
) -> list[Any]:
    """Ask a question to each architecture, and print the answers."""
    from inspector.export.fleet_json import answer

    made = [(fleet, ask(fleet)) for fleet in fleets(store, note)]
    if found.json:
        say_json(answer(found.name, store.path, (as_json(fleet, one) for fleet, one in made)))
    else:
        for fleet, one in made:
            say(*as_text(fleet, one))
    return [one for _, one in made]


def _lattice_of(fleet: Fleet) -> Lattice:
    with _progress(f"{fleet.arch} hosts") as told:
        return fleet.lattice(told)


def _lattice(found: argparse.Namespace, store: Store) -> int:
    from inspector.export.fleet import class_title, lattice_text
    from inspector.export.fleet_json import lattice_json

    drawn: list[tuple[Fleet, Lattice]] = []

    def ask(fleet: Fleet) -> tuple[Lattice, Any]:
        made = _lattice_of(fleet)
        drawn.append((fleet, made))
        return made, fleet.common(made)

    def as_text(fleet: Fleet, made: tuple[Lattice, Any]) -> Iterator[str]:
        classes = range(len(made[0].classes))
        ids = [fleet.hosts[made[0].classes[one].first].id for one in classes]
        names = [class_title(fleet, made[0], one, store.names_of(ids[one], _NAMES)) for one in classes]
        return lattice_text(fleet, *made, names)

    def as_json(fleet: Fleet, made: tuple[Lattice, Any]) -> dict[str, Any]:
        return lattice_json(fleet, *made, lambda host: store.names_of(fleet.hosts[host].id, _MOST_NAMES))

    made = _each(found, store, ask, as_json, as_text)
    if found.svg:
        from inspector.export.files import save_bytes
        from inspector.export.fleet_svg import lattice_svg

        save_bytes(found.svg, lattice_svg(drawn).encode())
    return ExitCode.of(all(len(one.pools) == 1 for one, _ in made))


def _baseline(found: argparse.Namespace, store: Store) -> int:
    from inspector.export.fleet import baseline_text
    from inspector.export.fleet_json import baseline_json

    def ask(fleet: Fleet) -> tuple[Lattice, Any]:
        made = _lattice_of(fleet)
        return made, fleet.common(made)

    made = _each(
        found, store, ask, lambda fleet, one: baseline_json(fleet, *one), lambda fleet, one: baseline_text(fleet, *one)
    )
    return ExitCode.of(all(len(common) == 1 for _, common in made))


def _check(found: argparse.Namespace, store: Store) -> int:
    from inspector.export.fleet import check_text
    from inspector.export.fleet_json import check_json
    from inspector.fleet.checked import check

    def ask(fleet: Fleet) -> Any:
        with _progress(f"{fleet.arch} guests") as told:
            return check(fleet, store.homes(), told)

    made = _each(found, store, ask, check_json, check_text)
    if not any(made):
        note(
            f"inspector: {store.path}: no guest was captured, only hosts; lattice asks about guests with all of a host"
        )
    return ExitCode.of(not any(row.refused or row.open for rows in made for row in rows))


def _forecast(found: argparse.Namespace, store: Store) -> int:
    from inspector.export.fleet import forecast_text
    from inspector.export.fleet_json import forecast_json
    from inspector.fleet.forecast import forecast

    chosen: dict[int, int] = {}
    for host in store.named(found.on).values():
        chosen[host] = chosen.get(host, 0) + 1
    if not chosen:
        raise UsageError(f"--on {' '.join(found.on)}: no host of {store.path} has such a name")

    def ask(fleet: Fleet) -> Any:
        with _progress(f"{fleet.arch} guests") as told:
            return forecast(fleet, found.kernel, chosen, told)

    made = _each(found, store, ask, forecast_json, forecast_text)
    return ExitCode.of(not any(one.pinned for one in made))


def _odd(found: argparse.Namespace, store: Store) -> int:
    from inspector.export.fleet import odd_text
    from inspector.export.fleet_json import odd_json
    from inspector.fleet.odd import odd

    made = _each(found, store, odd, odd_json, odd_text)
    if not found.json and not any(made):
        say("no host is otherwise than most of its siblings")
    return ExitCode.of(not any(made))


COMMANDS = {
    "add": Command("keep what captures tell of hosts and guests, each distinct one once", _add),
    "check": Command("which captured guests cannot arrive on which hosts", _check),
    "baseline": Command("the best guest for all hosts, and what each gives up", _baseline),
    "lattice": Command("who can move where: classes, pools, and the bit that splits them", _lattice),
    "forecast": Command("which guests a kernel upgrade on some hosts pins", _forecast),
    "odd": Command("the host that is not as its siblings, and in what", _odd),
}
