"""``inspector completion bash|zsh|fish``: a script that completes words as ``inspector complete`` says."""

from __future__ import annotations

from collections.abc import Sequence

from inspector.capture.exit_code import ExitCode
from inspector.cli import arguments
from inspector.cli.streams import say

_EXAMPLES = """\
  inspector completion bash > ~/.local/share/bash-completion/completions/inspector
  inspector completion zsh > ~/.zfunc/_inspector        a folder of fpath
  inspector completion fish > ~/.config/fish/completions/inspector.fish
  source <(inspector completion bash)                   for this shell alone"""

_BASH = """\
_inspector() {
    local IFS=$'\\n'
    COMPREPLY=($("${COMP_WORDS[0]}" complete --line "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null))
    case "${#COMPREPLY[@]} ${COMPREPLY[0]}" in
        "1 "*[.:/=]) compopt -o nospace ;;
    esac
}
complete -F _inspector inspector"""

# -U: what the program says begins as the word; -S: nothing behind a word that goes on.
_ZSH = """\
#compdef inspector
_inspector() {
    local line word
    local -a whole wholes open opens
    for line in "${(@f)$("${words[1]}" complete -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)}"; do
        word="${line%%$'\\t'*}"
        [[ -z $word ]] && continue
        if [[ $word == *[.:/=] ]]; then
            open+=("$word") opens+=("${line/$'\\t'/  }")
        else
            whole+=("$word") wholes+=("${line/$'\\t'/  }")
        fi
    done
    (( $#whole )) && compadd -l -d wholes -a whole
    (( $#open )) && compadd -l -S '' -d opens -a open
    (( $#whole + $#open ))
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _inspector "$@"
else
    compdef _inspector inspector
fi"""

_FISH = """\
function __inspector_complete
    set -l words (commandline -opc)
    command $words[1] complete -- $words[2..] (commandline -ct) 2>/dev/null
end
complete -c inspector -f -a '(__inspector_complete)'"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def run(words: Sequence[str]) -> int:
    """Print the script of a shell."""
    parser = arguments.parser(
        "completion",
        "A script that completes commands, options, samples, scenarios, hosts, models, kernels and fields.",
        _EXAMPLES,
    )
    parser.add_argument("shell", choices=tuple(SCRIPTS), help="whose script")
    say(*SCRIPTS[parser.parse_args(words).shell].splitlines())
    return ExitCode.OK
