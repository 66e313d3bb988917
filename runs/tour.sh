#!/usr/bin/env bash
# The whole story in one command: arrive, add, search in time, sleep, look, undo, forget, leave, erase. Everything happens
# in a passing folder. Needs what `make demo` or `make test` has installed; SLOWWAVE names another way to start slowwave.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
read -ra program <<<"${SLOWWAVE:-$root/.venv/bin/slowwave}"
if ! command -v "${program[0]}" >/dev/null; then
    echo "there is no ${program[0]}; run make demo first, or set SLOWWAVE" >&2
    exit 1
fi
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
export SLOWWAVE_DB=$place/ana.db SLOWWAVE_USER_ID=ana

say() { # what happens next
    printf '\n\033[1m%s\033[0m\n' "$*"
}

run() { # print a command, then run it
    local word line='$ slowwave'
    for word in "$@"; do
        if [[ $word =~ ^[A-Za-z0-9_./:=-]+$ ]]; then line+=" $word"; else line+=" \"$word\""; fi
    done
    printf '\033[36m%s\033[0m\n' "$line"
    "${program[@]}" "$@"
}

id_of() { # the id of the best hit for a question
    "${program[@]}" search "$1" --top-k 1 --threshold 0 --no-note-use --json | sed -n 's/^ *"id": "\(.*\)",$/\1/p' | head -1
}

cat >chat.jsonl <<'END'
{"id": "m1", "role": "user", "name": "Ana", "timestamp": "2023-02-01T18:00:00Z", "content": "I live in Porto, near the river."}
{"id": "m2", "role": "assistant", "timestamp": "2023-02-01T18:00:09Z", "content": "Lovely! Do you have family there?"}
{"id": "m3", "role": "user", "name": "Ana", "timestamp": "2023-02-01T18:01:00Z", "content": "Only my sister Clara, she plays the cello."}
{"id": "m4", "role": "user", "name": "Ana", "timestamp": "2023-06-10T09:30:00Z", "content": "The dentist is on Friday at ten."}
END

say "Arrive: another system's data, looked at first, then taken in. Again is a no-op."
run import chat.jsonl --dry-run
run import chat.jsonl
run import chat.jsonl

say "Add: with the time at which it was said."
run add "I moved to Lisbon last week." --speaker Ana --at 2024-05-06
run add "Clara's concert was wonderful, they played Elgar." --speaker Ana --at 2024-05-09

say "Search: now, at a date, and on something never said."
run search "Where does Ana live?" --top-k 2
run search "Where does Ana live?" --top-k 1 --at 2023-12-24
run search "What is the boiling point of tungsten?"

say "Sleep: first the diff, then for real. A newer value supersedes the older one; both stay."
run sleep --dry-run
run sleep
run search "Where does Ana live?" --top-k 2
run context "Where does Ana live?" --kinds fact --max-tokens 60

say "Look, and take the whole night back."
run log
run undo
run search "Where does Ana live?" --kinds fact

say "Correct: the old text stays in its history."
dentist=$(id_of "When is the dentist?")
run update "$dentist" "The dentist is on Thursday at ten." --reason "Ana corrected herself"
run history "$dentist"

say "Forget, which can be undone."
run forget --subject dentist
run undo

say "Leave: a file that loses nothing."
run export ana.jsonl
run stats

say "Erase, for good: the bytes of the files are scanned afterwards."
run erase --subject Clara --yes
run search "Who plays the cello?"
run check

say "And what there is to come: every published memory system, and where it is here."
run atlas --form text | head -12
