#!/usr/bin/env bash
# Every benchmark, one after the other; results go to bench/results/NAME.json. An hour on two cores, minutes when the
# encoded texts are still in the cache. `runs/bench.sh --quick` takes a minute and checks the code paths alone.
set -uo pipefail
cd "$(dirname "$0")/.."
slowwave=${SLOWWAVE:-.venv/bin/slowwave}
results=bench/results
[ "${1:-}" = --quick ] && results=$(mktemp -d)
mkdir -p "$results"
failed=()

bench() { # name of the result, then the benchmark and its options
    local out=$1
    shift
    echo "== $*"
    "$slowwave" bench "$@" --out "$results/$out.json" || failed+=("$out")
}

if [ "${1:-}" = --quick ]; then
    for name in locomo longmemeval beam epbench personamem memorybank factstream sleep speed state state-speed kv; do
        bench "$name" "$name" --quick
    done
else
    bench locomo locomo
    bench longmemeval longmemeval
    bench beam_100k beam
    bench beam_500k beam --large
    bench epbench epbench
    bench personamem personamem
    bench memorybank memorybank
    bench factstream factstream
    bench sleep sleep
    bench speed speed
    bench state state
    bench state_speed state-speed
fi
if [ ${#failed[@]} -gt 0 ]; then
    echo "did not finish: ${failed[*]}" >&2
    exit 1
fi
echo "results are in $results"
