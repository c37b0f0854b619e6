#!/bin/sh
# Job: fetches the models that the list names and the volume lacks, with an Ollama server of its
# own that only this container can reach. Run again, it goes on where it was interrupted; with
# nothing to do it takes a moment.
#
#   pull.sh [LIST]
#
#   OLLAMA_MODELS  the volume, mounted to be written to
#   PULL_PORT      the server's port on loopback
#   PULL_DELAY     seconds before the second attempt at a model; three times as many after each
#
# Ends with 0 if every model is there, 1 if one is missing, 2 if the list itself is wrong: then
# another attempt would not help.
set -u
list=${1:-/etc/ollama/models.txt}
export OLLAMA_MODELS="${OLLAMA_MODELS:-/models}"
export OLLAMA_HOST="127.0.0.1:${PULL_PORT:-11435}"
# Without this the server begins by removing what no model refers to, half-fetched files included.
export OLLAMA_NOPRUNE=1

say() { echo "pull: $1"; }

models='' number=0 wrong=0
while read -r model rest || [ -n "$model" ]; do
    number=$((number + 1))
    case $model in '' | '#'*) continue ;; esac
    case $rest in '#'*) rest='' ;; esac
    name=$model${rest:+ $rest}
    case $name in
    [!A-Za-z0-9]* | *[!A-Za-z0-9._:/-]*)
        say "$list, line $number: '$name' is not the name of a model, such as llama3.2:1b"
        wrong=1
        ;;
    *) models="$models $name" ;;
    esac
done <"$list" || exit 2
[ "$wrong" = 0 ] || exit 2
[ -n "$models" ] || { say "$list names no model"; exit 2; }

# A signal waits for a command in the foreground but not for `wait`, so whatever may take long runs
# in the background.
server='' child='' run=''
finish() {
    trap '' TERM INT
    # The attempt ends first: the server then writes down how far it came.
    [ -z "$child" ] || { kill "$child" && sleep 1; }
    [ -z "$server" ] || kill "$server"
    wait
    rm -rf "$run"
} 2>/dev/null
trap finish EXIT
trap 'say "told to end; another run goes on from here"; exit 143' TERM INT
run=$(mktemp -d) && mkfifo "$run/progress" || exit 1

# Two Jobs must not write at once: Ollama does not know of another server on the same volume.
[ -w "$OLLAMA_MODELS" ] || { say "cannot write to $OLLAMA_MODELS"; exit 1; }
exec 9>"$OLLAMA_MODELS/.pull.lock"
if ! flock -n 9; then
    say "another run writes to $OLLAMA_MODELS; waiting for its end"
    flock 9 & child=$!
    wait "$child"
    child=''
fi

ollama serve >"$run/server.log" 2>&1 & server=$!
waited=0
until ollama list >/dev/null 2>&1; do
    if [ "$waited" = 120 ] || ! kill -0 "$server" 2>/dev/null; then
        say "the server does not start:"
        tail -n 5 "$run/server.log"
        exit 1
    fi
    waited=$((waited + 1))
    sleep 0.5
done

there() { ollama show "$1" >/dev/null 2>&1; }

# `ollama pull` draws every layer anew ten times a second. A log wants lines: a layer when it begins
# and every ten seconds, and anything else once.
lines() {
    past='|' layer='' at=0
    LC_ALL=C sed -u 's/\x1b\[1G/\n/g; s/\x1b\[[0-9;?]*[A-Za-z]//g; s/[^ -~\n]//g; s/  */ /g' |
        while read -r text; do
            about=${text%%: *} # "pulling 74701a8c35f6", or the whole of a message without numbers
            case $past in *"|$about|"*) continue ;; esac
            case $text in
            '') continue ;;
            *": 100% "*) past="$past$about|" ;;
            *": "*"% "*)
                read -r now _ </proc/uptime
                now=${now%.*}
                if [ "$about" != "$layer" ]; then
                    past="$past$layer|" # it stays in the picture, sometimes at 99 %
                elif [ $((now - at)) -lt 10 ]; then
                    continue
                fi
                layer=$about at=$now
                ;;
            *) past="$past$about|" ;;
            esac
            echo "$1: $text"
        done
}

# Whether the model is there afterwards is what counts, not how `ollama pull` ends.
attempt() {
    lines "$1" <"$run/progress" & shown=$!
    ollama pull "$1" >"$run/progress" 2>&1 & child=$!
    wait "$child"
    child=''
    wait "$shown"
    there "$1"
}

fetch() {
    delay=${PULL_DELAY:-5} left=3
    until attempt "$1"; do
        [ "$left" -gt 0 ] || return 1
        say "$1 is not complete; trying again in $delay s"
        sleep "$delay" & child=$!
        wait "$child"
        child='' left=$((left - 1)) delay=$((delay * 3))
    done
}

missing=''
for model in $models; do
    if there "$model"; then
        say "$model is there"
    else
        say "$model is fetched"
        fetch "$model" || missing="$missing $model"
    fi
done
ollama list
if [ -n "$missing" ]; then
    say "missing:$missing"
    exit 1
fi
# Nothing is half fetched any more, unless the list has changed meanwhile.
rm -f "$OLLAMA_MODELS"/blobs/*-partial*
say "all models of the list are there"
