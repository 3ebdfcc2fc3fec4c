#!/usr/bin/env bash
# `make fuzz`: every coverage-guided target for FUZZ_SECONDS (default 60). What it learns is kept in Tests/Fuzz/.build/corpus;
# an input that breaks something is left in Tests/Fuzz/.build and named.
set -euo pipefail
cd "$(dirname "$0")"

swift build -c release --product fuzz
# Swift leaks by design at exit (lazy globals), and symbolizing a trap can take minutes.
export ASAN_OPTIONS=detect_leaks=0:symbolize=0
for target in stream message produce fetched metadata; do
  mkdir -p ".build/corpus/$target"
  echo "== $target"
  APUS_FUZZ=$target .build/release/fuzz -max_total_time="${FUZZ_SECONDS:-60}" -rss_limit_mb=4096 -print_final_stats=1 \
    -artifact_prefix=".build/$target-" ".build/corpus/$target" 2>&1 | grep -vE '^#[0-9]+\s+(NEW|REDUCE|pulse)' || exit 1
done
