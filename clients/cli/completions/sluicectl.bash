# shellcheck shell=bash
# bash completion for sluicectl(1).
#
# Needs nothing of the bash-completion package, which only finds this file. Model names come from the daemon that the line
# talks to; without one there are none, quickly and silently. tests/lint/lint_cli.py compares this file with --help.

_sluicectl_models() {
    local name
    while IFS= read -r name; do
        [[ $name == "$cur"* ]] && COMPREPLY+=("$(printf %q "$name")")
    done < <(timeout 2 "$@" models --names 2>/dev/null </dev/null)
}

_sluicectl_files() {
    compopt -o filenames 2>/dev/null # folders go on without a blank
    mapfile -t COMPREPLY < <(compgen -f -- "$cur")
}

# _sluicectl_of WORD...: those that the current word begins.
_sluicectl_of() {
    local word
    for word in "$@"; do
        [[ $word == "$cur"* ]] && COMPREPLY+=("$word")
    done
}

_sluicectl_options() {
    local options=(--json --help)
    case $verb in
    key | check-config | log) ;;
    *) options+=(--socket) ;;
    esac
    case $verb in
    chat | complete | embed | rerank | classify | log) options+=(--model) ;;
    esac
    case $verb in
    chat | run | complete) options+=(--max-tokens --temperature --top-p --seed --verbose) ;;
    esac
    case $verb in
    chat | run | complete | embed | rerank | classify) options+=(--class --timeout) ;;
    esac
    case $verb in
    chat | run) options+=(--system --effort) ;;
    embed) options+=(--dimensions) ;;
    rerank) options+=(--top-n) ;;
    models | list | ls) options+=(--names) ;;
    status) options+=(--watch --interval) ;;
    explain) options+=(--class) ;;
    top) options+=(--interval --count --sort) ;;
    log) options+=(--follow --lines --since --uid --failed --stats --directory --file) ;;
    key) options+=(--id --count) ;;
    check-config) options+=(--strict) ;;
    doctor) options+=(--ollama --root) ;;
    esac
    _sluicectl_of "${options[@]}"
}

# Does the option $1 want a value, as a word of its own?
_sluicectl_wants_value() {
    case $1 in
    --socket | -s | --model | -m | --class | -c | --effort | --timeout | --interval | -i | --id | --max-tokens | --count | -n | \
        --temperature | -t | --top-p | --seed | --system | -S | --dimensions | -d | --top-n | --lines | --since | --uid | -u | --directory | \
        -D | --file | --ollama | --root | --sort) ;;
    *) return 1 ;;
    esac
}

_sluicectl_value() {
    case $1 in
    --socket | -s | --file | --directory | -D | --root) _sluicectl_files ;;
    --model | -m) _sluicectl_models "${daemon[@]}" ;;
    --uid | -u) mapfile -t COMPREPLY < <(compgen -u -- "$cur") ;;
    --since) _sluicectl_of 10min 1h 1d today yesterday ;;
    --class | -c) _sluicectl_of interactive batch background ;;
    --effort) _sluicectl_of none minimal low medium high max ;;
    --sort) _sluicectl_of waiting running name idle ;;
    --timeout | --interval | -i) _sluicectl_of 500ms 5s 30s 2min ;;
    esac
}

_sluicectl_words() {
    case $verb in
    run | show | explain | load | unload | stop) [[ $n_words -eq 0 ]] && _sluicectl_models "${daemon[@]}" ;;
    key) [[ $n_words -eq 0 ]] && _sluicectl_of new hash ;;
    check-config) [[ $n_words -eq 0 ]] && _sluicectl_files ;;
    help) [[ $n_words -eq 0 ]] && _sluicectl_of "${verbs[@]}" ;;
    esac
}

_sluicectl() {
    local verbs=(chat run complete embed rerank classify models list ls show ps status top explain load unload stop cancel reload drain log doctor key
        check-config version help)
    local line=${COMP_LINE:0:COMP_POINT} words cur previous='' verb='' n_words=0 daemon i
    COMPREPLY=()

    # Readline cuts words at ':' and '=' as well, which stand in model names and options: cut the line again, at blanks.
    read -ra words <<<"$line"
    [[ $line == *[[:blank:]] ]] && words+=('')
    daemon=("${words[0]}")
    for ((i = 1; i < ${#words[@]} - 1; i++)); do
        case ${words[i]} in
        --socket=*) daemon+=("${words[i]}") ;;
        --socket | -s) daemon+=(--socket "${words[i + 1]}") ;;
        -*) ;;
        *)
            if _sluicectl_wants_value "${words[i - 1]}"; then
                :
            elif [[ -z $verb ]]; then
                verb=${words[i]}
            else
                ((n_words++))
            fi
            ;;
        esac
    done
    cur=${words[-1]}
    previous=${words[i - 1]}

    local option=''
    if [[ $cur == --*=* ]]; then
        option=${cur%%=*} cur=${cur#*=}
        _sluicectl_value "$option"
    elif _sluicectl_wants_value "$previous"; then
        _sluicectl_value "$previous"
    elif [[ $cur == -* && -z $verb ]]; then
        _sluicectl_of --socket --json --help --version
    elif [[ $cur == -* ]]; then
        _sluicectl_options
    elif [[ -z $verb ]]; then
        _sluicectl_of "${verbs[@]}"
    else
        _sluicectl_words
    fi

    # Readline replaces what stands behind its own cut only.
    if [[ $cur == *:* && $COMP_WORDBREAKS == *:* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${cur%"${cur##*:}"}"}")
    fi
    if [[ -n $option && $COMP_WORDBREAKS != *=* ]]; then
        COMPREPLY=("${COMPREPLY[@]/#/$option=}")
    fi
}
complete -o bashdefault -F _sluicectl sluicectl
