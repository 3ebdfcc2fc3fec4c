#!/usr/bin/env bash
# `make demo`: a broker on an empty directory, a real file through it and back, and what that left on the disk.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
apus=${BROKER_BINARY:-$root/.build/release/apus}
file=$root/LICENSE
work=$(mktemp -d)
broker=
finish() {
  [ -z "$broker" ] || kill "$broker" 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT

say() { printf '\n\033[1m== %s\033[0m\n' "$1"; }
run() { printf '$ apus %s\n' "$*"; "$apus" "$@"; }

say "A broker on an empty directory"
mkfifo "$work/ready"
"$apus" start --data "$work/data" --listen 127.0.0.1:0 >"$work/ready" 2>"$work/log" &
broker=$!
read -r line <"$work/ready" || { cat "$work/log" >&2; exit 1; }
echo "$line"
address=${line#*listen=}
export APUS_BOOTSTRAP=${address%% *}

say "A topic, and a file through produce and consume"
run topic create demo --partitions 1
printf '$ apus produce demo < LICENSE\n'
"$apus" produce demo <"$file"
"$apus" consume demo --from-beginning --exit-at-end >"$work/back"
cmp "$file" "$work/back"
echo "the $(wc -l <"$file") lines came back as they were sent"

say "The first records"
run consume demo --offset 0 --count 3 --format '%t [%p] at offset %o: %s\n'

say "The topic"
run topic describe demo

say "The segment on disk"
ls -l "$work/data/demo-0"
run log dump "$work/data/demo-0/00000000000000000000.log" >"$work/dump"
head -4 "$work/dump" | cut -c1-140

say "A clean stop"
kill -TERM "$broker"
wait "$broker"
echo "exit $?"
broker=
