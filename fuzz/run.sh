#!/usr/bin/env bash
# Fuzzes what reads hostile input, with libFuzzer on the stable compiler (no sanitizers: no unsafe code is under test).
#
#   run.sh [TARGET...] [--seconds N]    each target (all of them, when none is named) for N seconds (60)
#   run.sh --ci                         each target for 20,000 runs or 10 s, the same ones every time
#   run.sh TARGET --input FILE          runs one input: how a crash is looked at
#   run.sh --keep [TARGET...]           minimises what was found, and adds some of it to corpus/
#   run.sh --list                       the targets
#
# Exit 0: nothing found. Exit 1: an input broke a law; it lies in target/fuzz/crashes/, and the command to repeat it is
# the last line. Exit 2: misuse. Exit 3: a tool is missing.
# Inputs begin with corpus/TARGET, which is kept in git; what is new goes to target/fuzz/corpus/TARGET.
# `cargo fuzz run TARGET` works too, where cargo-fuzz and a nightly compiler are there.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/.." && pwd)
out=$root/target/fuzz
triple=x86_64-unknown-linux-gnu
# What corpus/ may hold of one target, in bytes and files: people read it, and it is in every clone.
keep_bytes=32000
keep_files=60

usage() { sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2; exit 2; }

targets() { for file in "$here"/fuzz_targets/*.rs; do basename "$file" .rs; done; }

build() {
    if ! command -v g++ >/dev/null; then
        echo "run.sh: g++ is missing, libFuzzer is C++. On Debian: apt-get install g++" >&2
        exit 3
    fi
    local flags=(-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
        -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing)
    # The flags are for the target only: build scripts and macros are built without. The folder is not cargo's usual
    # one, so that an ordinary build does not throw this one away.
    RUSTFLAGS="${flags[*]}" CARGO_INCREMENTAL=0 cargo build --manifest-path "$here/Cargo.toml" --release --locked \
        --target "$triple" --target-dir "$out" --bins
}

# run TARGET [libFuzzer's arguments...]: quiet, but for its last lines and what a crash says.
fuzz() {
    local target=$1 log=$out/$1.log crash
    shift
    mkdir -p "$out/crashes/$target" "$out/seeds"
    local found=$out/corpus/$target
    $fixed && found=$out/ci/$target && rm -rf "$found"
    mkdir -p "$found"
    local inputs=("$found")
    [[ ! -d $here/corpus/$target ]] || inputs+=("$here/corpus/$target")
    [[ $target != state ]] || { "$bin/seeds" "$out/seeds/state" && inputs+=("$out/seeds/state"); }
    [[ ! -f $here/dictionaries/$target.dict ]] || set -- "$@" -dict="$here/dictionaries/$target.dict"
    rm -f "$out/crashes/$target"/now-*
    if "$bin/$target" -timeout=20 -rss_limit_mb=1024 -max_len=8192 -print_final_stats=1 \
        -artifact_prefix="$out/crashes/$target/now-" "$@" "${inputs[@]}" >"$log" 2>&1; then
        awk -v t="$target" '/^#[0-9]+.*(DONE|INITED)/ { line = $0 } /average_exec_per_sec/ { rate = $2 }
            END { match(line, /cov: [0-9]+/); cov = substr(line, RSTART + 5, RLENGTH - 5); split(line, w, /[#\t ]+/)
                  printf "%-11s %8d runs, %6d a second, %6d edges\n", t, w[2], rate, cov }' "$log"
        return 0
    fi
    # Up to the panic and some of the stack.
    grep -A 12 -m 1 -E "panicked at|ERROR: libFuzzer" "$log" >&2 || tail -n 20 "$log" >&2
    crash=$(find "$out/crashes/$target" -name 'now-*' | head -n 1)
    if [[ -n $crash ]]; then
        local kept=${crash/now-/}
        mv "$crash" "$kept"
        echo "$target: found something; to repeat it: fuzz/run.sh $target --input ${kept#"$root"/}" >&2
    else
        echo "$target: libFuzzer failed; its log is ${log#"$root"/}" >&2
    fi
    return 1
}

# Of what covers all that was reached: a few of each size.
keep() {
    local target=$1 fresh=$out/keep/$1 files=() file total step i
    rm -rf "$fresh"
    mkdir -p "$fresh" "$here/corpus/$target" "$out/corpus/$target"
    "$bin/$target" -set_cover_merge=1 -max_len=2048 "$fresh" "$here/corpus/$target" "$out/corpus/$target" 2>/dev/null
    mapfile -t files < <(find "$fresh" -type f -size +0 -printf '%s %p\n' | sort -n | cut -d ' ' -f 2)
    total=$(cat "$here/corpus/$target"/* 2>/dev/null | wc -c)
    step=$((${#files[@]} / keep_files + 1))
    for ((i = 0; i < ${#files[@]}; i += step)); do
        file=${files[i]}
        [[ ! -e $here/corpus/$target/${file##*/} ]] || continue
        total=$((total + $(stat -c %s "$file")))
        ((total <= keep_bytes)) || break
        cp "$file" "$here/corpus/$target/"
    done
    find "$here/corpus/$target" -type f | wc -l | sed "s/^/$target: files kept: /"
}

chosen=()
seconds=60
fixed=false
keeping=false
input=""
while (($# > 0)); do
    case $1 in
    --seconds) seconds=${2:-}; [[ $seconds =~ ^[0-9]+$ ]] || usage; shift ;;
    --input) input=${2:-}; [[ -f $input ]] || { echo "run.sh: no file ${input:-is named}" >&2; exit 2; }; shift ;;
    --ci) fixed=true ;;
    --keep) keeping=true ;;
    --list) targets; exit 0 ;;
    -*) usage ;;
    *) [[ -f $here/fuzz_targets/$1.rs ]] || { echo "run.sh: no target $1; there are: $(targets | xargs)" >&2; exit 2; }
        chosen+=("$1") ;;
    esac
    shift
done
((${#chosen[@]} > 0)) || mapfile -t chosen < <(targets)
[[ -z $input ]] || ((${#chosen[@]} == 1)) || usage

build
bin=$out/$triple/release
if [[ -n $input ]]; then
    exec "$bin/${chosen[0]}" -timeout=20 "$input"
fi
rc=0
for target in "${chosen[@]}"; do
    if $keeping; then
        keep "$target"
    elif $fixed; then
        fuzz "$target" -seed=1 -runs=20000 -max_total_time=10 || rc=1
    else
        fuzz "$target" -max_total_time="$seconds" || rc=1
    fi
done
exit "$rc"
