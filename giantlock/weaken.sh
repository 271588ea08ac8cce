#!/bin/sh
# Shows that every ordering in the lock algorithms is needed: takes each ordering in
# src/queue away, one at a time and in a copy, and expects a loom model of that algorithm to fail.
# Left out is what only more CPUs than loom can take would miss, or an order over several words, which loom does not know:
# marked `// Beyond the models`.
# `AcqRel` loses one half at a time, `SeqCst` its release: loom knows it as no more. Prints a line per ordering; fails if one is not missed.
# Usage: giantlock/weaken.sh [ALGORITHM…]   (all of them: three minutes of processor time)
set -eu

crate=$(cd "$(dirname "$0")" && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r "$crate" "$copy/giantlock"
cp "$crate/../Cargo.lock" "$copy/"
sed -e 's/^members = .*/members = ["giantlock"]/' -e '/^default-members/d' "$crate/../Cargo.toml" >"$copy/Cargo.toml"
cp "$crate/../rust-toolchain.toml" "$copy/"
cd "$copy"
export RUSTFLAGS="--cfg loom" RUST_BACKTRACE=0
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$crate/../target}/weaken"

# The models of one algorithm, as they stand in the copy.
models() {
    cargo test --quiet -p giantlock --release --test loom -- "$1::" >output 2>&1
}

unneeded=0
for algorithm in ${*:-ticket mcs clh tas}; do
    file=giantlock/src/queue/$algorithm.rs
    cp "$file" original
    models "$algorithm" || { cat output; echo "$algorithm fails as it is"; exit 1; }
    # Each ordering as "line word weaker-word", comments and imports left out. One per line of code.
    grep -nE 'Acquire|Release|AcqRel|SeqCst' original | grep -vE '^[0-9]+: *(//|use )|// Beyond the models' |
        sed -E 's/^([0-9]+):.*(Acquire|Release|AcqRel|SeqCst).*/\1 \2/' |
        sed -E 's/^([0-9]+) AcqRel/\1 AcqRel Acquire\n\1 AcqRel Release/; t; s/$/ Relaxed/' >orderings
    while read -r line word weaker; do
        sed "${line}s/$word/$weaker/" original >"$file"
        if models "$algorithm" </dev/null; then
            verdict="NOT MISSED"
            unneeded=1
        elif grep -q '^test result: FAILED' output; then
            verdict="missed by $(sed -n "s/^    $algorithm::\(.*\)/\1/p" output | sort -u | tr '\n' ' ')"
        else
            cat output
            exit 1
        fi
        echo "$algorithm.rs:$line $word -> $weaker: $verdict"
    done <orderings
    cp original "$file"
done
exit $unneeded
