"""``inspector verify``: recorded answers of real kernels against the machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from inspector.capture.errors import UsageError
from inspector.capture.exit_code import ExitCode
from inspector.capture.nearest import did_you_mean
from inspector.cli import arguments
from inspector.cli.streams import say, say_json
from inspector.export.kinds import head
from inspector.machine.verify import Agreement, verify
from inspector.machine.x86.replay.restore.captures import Captures
from inspector.readers.lines import lines_of
from inspector.targets.schemes import scheme_of
from layouts.x86.cpus import cpu_layouts

_EXAMPLES = """\
  inspector verify x86-amx-linux-7.2.jsonl
  inspector verify --json recorded.jsonl.gz"""
_SHOWN = 10
_HOST = "host.jsonl.gz"
_CAPTURES = "captures.tar.xz"


def run(words: Sequence[str]) -> int:
    """Replay files; 1 when the machine disagrees anywhere."""
    parser = arguments.parser("verify", "Replay recorded kernel answers against the machine.", _EXAMPLES)
    parser.add_argument("files", nargs="+", metavar="FILE", help="one JSON object a line; gzip, xz and zstd are read")
    parser.add_argument("--json", action="store_true", help="one JSON document a file")
    parser.add_argument("--cpu", default="", metavar="NAME", help="a CPU layout, for files that record no CPUID")
    found = parser.parse_args(words)
    if found.cpu and found.cpu not in cpu_layouts():
        hint = did_you_mean(found.cpu, cpu_layouts(), "inspector layouts list")
        raise UsageError(f"--cpu {found.cpu}: no such CPU; {hint}")
    disagree = False
    for file in found.files:
        if scheme_of(file).prefix:
            raise UsageError(f"{file}: expected a file of recorded answers, one JSON object a line")
        agreement = verify(file, lines_of(file), found.cpu, _host_beside(file), _captures_beside(file))
        disagree = disagree or agreement.agree != agreement.total
        if found.json:
            say_json(head("verification") | agreement.as_json(), indent=None)
        else:
            _print(agreement)
    return ExitCode.of(not disagree)


def _host_beside(file: str) -> Iterable[bytes] | None:
    """The records that name the host of a file that does not.

    ``host.jsonl.gz`` in the same folder; of restores, the file of the same host in the folder ``hosts`` beside its own.
    """
    beside = Path(file).with_name(_HOST)
    if beside.is_file():
        return lines_of(str(beside)) if Path(file).name != _HOST else None
    name, *suffixes = Path(file).name.split(".jsonl")
    words = name.split("-")
    for count in range(len(words), 1, -1):
        host = Path(file).parent.parent / "hosts" / ".jsonl".join(("-".join(words[:count]), *suffixes))
        if host.is_file() and host.parent.resolve() != Path(file).parent.resolve():
            return lines_of(str(host))
    return None


def _captures_beside(file: str) -> Captures | None:
    """The captured vCPUs in the folder above, which restores on other hosts are of."""
    archive = Path(file).parent.parent / _CAPTURES
    return Captures(archive) if archive.is_file() else None


def _print(agreement: Agreement) -> None:
    say(f"{agreement.file}: {agreement.agree} of {agreement.total} answers agree")
    if agreement.host:
        say(f"  host: {agreement.host}")
    for name, (agree, total) in {**agreement.by_answer, **agreement.by_kind}.items():
        say(f"  {name:<22} {agree:>6} of {total:>6}")
    for cause, kinds in agreement.not_asked.items():
        say(f"  not asked: {sum(kinds.values())}, {cause} ({', '.join(kinds)})")
    for answer in agreement.disagreements[:_SHOWN]:
        say(
            f"  {answer.record}",
            f"    kernel {answer.expected}",
            f"    machine {answer.predicted}: {answer.because}",
        )
    hidden = agreement.total - agreement.agree - _SHOWN
    if hidden > 0:
        say(f"  and {hidden} more (--json has the first 100)")
