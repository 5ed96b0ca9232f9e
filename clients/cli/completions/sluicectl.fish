# fish completion for sluicectl(1).
#
# Model names come from the daemon that the line talks to; without one there are none, quickly and silently.
# tests/lint/lint_cli.py compares this file with --help.

set -g __sluicectl_verbs chat run complete embed rerank classify models list ls show ps status top explain load unload stop cancel reload drain log doctor key \
    check-config version help

# The verb of the line, nothing while there is none.
function __sluicectl_verb
    set -l tokens (commandline -opc)
    set -l skip no
    for token in $tokens[2..-1]
        if test $skip = yes
            set skip no
        else if contains -- $token -s --socket
            set skip yes
        else if not string match -q -- '-*' $token
            echo $token
            return 0
        end
    end
    return 1
end

# Is it one of these?
function __sluicectl_is
    set -l verb (__sluicectl_verb)
    and contains -- $verb $argv
end

# Is it one of these, and no word behind it yet?
function __sluicectl_first_word_of
    set -l verb (__sluicectl_verb)
    or return 1
    contains -- $verb $argv
    or return 1
    test (commandline -opc)[-1] = $verb
end

function __sluicectl_models
    set -l tokens (commandline -opc)
    set -l daemon $tokens[1]
    for i in (seq (count $tokens))
        if contains -- $tokens[$i] -s --socket
            set -a daemon --socket $tokens[(math $i + 1)]
        else if string match -q -- '--socket=*' $tokens[$i]
            set -a daemon $tokens[$i]
        end
    end
    timeout 2 $daemon models --names 2>/dev/null </dev/null
end

complete -c sluicectl -f

complete -c sluicectl -n 'not __sluicectl_verb' -l version -d 'Show the version'
complete -c sluicectl -s h -l help -d 'Show what there is'
complete -c sluicectl -s j -l json -d 'Print JSON'
complete -c sluicectl -n 'not __sluicectl_is key check-config log' -s s -l socket -r -F -d 'The daemon\'s socket'

complete -c sluicectl -n 'not __sluicectl_verb' -a chat -d 'Ask a model, or hold a conversation with it'
complete -c sluicectl -n 'not __sluicectl_verb' -a run -d 'The same, with the model as the first word'
complete -c sluicectl -n 'not __sluicectl_verb' -a complete -d 'Let a model continue a text'
complete -c sluicectl -n 'not __sluicectl_verb' -a embed -d 'Turn texts into vectors'
complete -c sluicectl -n 'not __sluicectl_verb' -a rerank -d 'Order documents by their relevance'
complete -c sluicectl -n 'not __sluicectl_verb' -a classify -d 'Show the labels of texts'
complete -c sluicectl -n 'not __sluicectl_verb' -a models -d 'List the models'
complete -c sluicectl -n 'not __sluicectl_verb' -a list -d 'The same as models'
complete -c sluicectl -n 'not __sluicectl_verb' -a ls -d 'The same as models'
complete -c sluicectl -n 'not __sluicectl_verb' -a show -d 'Show the deployments of a model'
complete -c sluicectl -n 'not __sluicectl_verb' -a ps -d 'List what is in memory or at work'
complete -c sluicectl -n 'not __sluicectl_verb' -a status -d 'Show what the daemon is doing'
complete -c sluicectl -n 'not __sluicectl_verb' -a top -d 'Watch level, queue, models, callers and speed'
complete -c sluicectl -n 'not __sluicectl_verb' -a explain -d 'Say why a call would be admitted, queued or refused'
complete -c sluicectl -n 'not __sluicectl_verb' -a load -d 'Load a model into memory'
complete -c sluicectl -n 'not __sluicectl_verb' -a unload -d 'Free the memory of a model'
complete -c sluicectl -n 'not __sluicectl_verb' -a stop -d 'The same as unload'
complete -c sluicectl -n 'not __sluicectl_verb' -a cancel -d 'End a running or waiting call by its request id'
complete -c sluicectl -n 'not __sluicectl_verb' -a reload -d 'Let the daemon read its configuration again'
complete -c sluicectl -n 'not __sluicectl_verb' -a drain -d 'Let the daemon finish what runs, take nothing new, and end'
complete -c sluicectl -n 'not __sluicectl_verb' -a log -d 'Show the calls that have ended'
complete -c sluicectl -n 'not __sluicectl_verb' -a doctor -d 'Look whether this machine is set up well'
complete -c sluicectl -n 'not __sluicectl_verb' -a key -d 'Make a new random API key, or hash one'
complete -c sluicectl -n 'not __sluicectl_verb' -a check-config -d 'Say what each key of a configuration does'
complete -c sluicectl -n 'not __sluicectl_verb' -a version -d 'Show the versions'
complete -c sluicectl -n 'not __sluicectl_verb' -a help -d 'Explain a command'

complete -c sluicectl -n '__sluicectl_is chat complete embed rerank classify log' -s m -l model -x -a '(__sluicectl_models)' -d 'The model'
complete -c sluicectl -n '__sluicectl_is chat run complete' -s n -l max-tokens -x -d 'Longest answer'
complete -c sluicectl -n '__sluicectl_is chat run complete' -s t -l temperature -x -d '0 for the likeliest answer, up to 2'
complete -c sluicectl -n '__sluicectl_is chat run complete' -l top-p -x -d 'Sample from the likeliest tokens'
complete -c sluicectl -n '__sluicectl_is chat run complete' -l seed -x -d 'The same seed gives the same answer'
complete -c sluicectl -n '__sluicectl_is chat run complete' -s v -l verbose -d 'Print the summary also for a pipe'
complete -c sluicectl -n '__sluicectl_is chat run complete embed rerank classify explain' -s c -l class -x -a 'interactive batch background' -d 'Who waits'
complete -c sluicectl -n '__sluicectl_is chat run complete embed rerank classify' -l timeout -x -a '500ms 5s 30s 2min' -d 'Give up after this long'
complete -c sluicectl -n '__sluicectl_is chat run' -s S -l system -x -d 'What the model is told first'
complete -c sluicectl -n '__sluicectl_is chat run' -l effort -x -a 'none minimal low medium high max' -d Reasoning
complete -c sluicectl -n '__sluicectl_is embed' -s d -l dimensions -x -d 'Length of the vectors'
complete -c sluicectl -n '__sluicectl_is rerank' -s n -l top-n -x -d 'The best ones'
complete -c sluicectl -n '__sluicectl_is models list ls' -s q -l names -d 'Print the names only'
complete -c sluicectl -n '__sluicectl_is status' -s w -l watch -d 'Go on'
complete -c sluicectl -n '__sluicectl_is status top' -s i -l interval -x -a '500ms 1s 5s 30s' -d 'Watch, and look that often'
complete -c sluicectl -n '__sluicectl_is top' -s n -l count -x -d 'End after that many looks'
complete -c sluicectl -n '__sluicectl_is top' -l sort -x -a 'waiting running name idle' -d 'Order rows'
complete -c sluicectl -n '__sluicectl_is log' -s f -l follow -d 'Go on'
complete -c sluicectl -n '__sluicectl_is log' -s n -l lines -x -d 'The last ones'
complete -c sluicectl -n '__sluicectl_is log' -l since -x -a '10min 1h 1d today yesterday' -d 'Ended since'
complete -c sluicectl -n '__sluicectl_is log' -s u -l uid -x -a '(__fish_complete_users)' -d 'Calls of a user'
complete -c sluicectl -n '__sluicectl_is log' -l failed -d 'Those that did not complete'
complete -c sluicectl -n '__sluicectl_is log' -l stats -d 'In numbers'
complete -c sluicectl -n '__sluicectl_is log' -s D -l directory -r -F -d 'Another journal'
complete -c sluicectl -n '__sluicectl_is log' -l file -r -F -d 'A journal file'
complete -c sluicectl -n '__sluicectl_is doctor' -l ollama -x -d 'An Ollama to look at'
complete -c sluicectl -n '__sluicectl_is doctor' -l root -r -F -d 'Look below this folder'
complete -c sluicectl -n '__sluicectl_is key' -s i -l id -x -d 'What to call it'
complete -c sluicectl -n '__sluicectl_is key' -s n -l count -x -d 'Make that many'
complete -c sluicectl -n '__sluicectl_is check-config' -l strict -d 'Fail also where a key is not read exactly'

complete -c sluicectl -n '__sluicectl_first_word_of run show explain load unload stop' -a '(__sluicectl_models)'
complete -c sluicectl -n '__sluicectl_first_word_of key' -a 'new hash'
complete -c sluicectl -n '__sluicectl_first_word_of help' -a "$__sluicectl_verbs"
complete -c sluicectl -n '__sluicectl_first_word_of check-config' -F
