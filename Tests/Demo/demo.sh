#!/usr/bin/env bash
# `make demo`: a broker on an empty directory, a real file through it and back, a kill that loses nothing, and what is on the disk.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
apus=${BROKER_BINARY:-$root/.build/release/apus}
work=$(mktemp -d)
broker=
finish() {
  [ -z "$broker" ] || kill "$broker" 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
cd "$root"

say() { if [ -t 1 ]; then printf '\n\033[1m== %s\033[0m\n' "$1"; else printf '\n== %s\n' "$1"; fi; }
# show COMMAND: prints a shell command as it would be typed.
show() { printf '$ %s\n' "$1"; }
# run ARGUMENTS...: prints and runs one command of `apus`, arguments quoted only where a shell needs it.
run() {
  local line=apus argument
  for argument; do
    [[ $argument == *[!a-zA-Z0-9_./:=-]* ]] && line+=" '$argument'" || line+=" $argument"
  done
  show "$line"
  "$apus" "$@"
}
# start LISTEN: a broker on $work/data; sets $broker and $address once it is ready.
start() {
  rm -f "$work/ready"
  mkfifo "$work/ready"
  show "apus start --data ./data --listen $1"
  "$apus" start --data "$work/data" --listen "$1" >"$work/ready" 2>>"$work/log" &
  broker=$!
  read -r line <"$work/ready" || { cat "$work/log" >&2; exit 1; }
  echo "$line"
  address=${line#*listen=}
  address=${address%% *}
}
come_back() {
  show "apus consume demo --from-beginning --exit-at-end | cmp - README.md"
  "$apus" consume demo --from-beginning --exit-at-end | cmp - README.md
  echo "all $(wc -l <README.md) lines came back as they were sent"
}

say "A broker on an empty directory"
start 127.0.0.1:0
export APUS_BOOTSTRAP=$address
show "export APUS_BOOTSTRAP=$address"

say "A topic, and a file through produce and consume: a record per line"
run topic create demo --partitions 1
show "apus produce demo < README.md"
"$apus" produce demo <README.md
come_back

say "Some of its records"
run consume demo --offset 0 --count 3 --format '%t [%p] at offset %o: %s\n'

say "kill -9, and a restart: what was acknowledged is on the disk"
show "kill -9 $broker"
kill -9 "$broker"
wait "$broker" 2>/dev/null || true
start "$address"
come_back

say "The topic"
run topic describe demo

say "Its files, which are Kafka's own"
(cd "$work/data/demo-0" && ls -l | tail -n +2)
show "apus log dump ./data/demo-0/00000000000000000000.log | head -4"
"$apus" log dump "$work/data/demo-0/00000000000000000000.log" >"$work/dump"
head -4 "$work/dump" | sed "s#$work#.#" | cut -c1-140

say "A clean stop"
show "kill -TERM $broker"
kill -TERM "$broker"
status=0
wait "$broker" || status=$?
broker=
echo "the broker ended with exit $status"
[ "$status" = 0 ] || { cat "$work/log" >&2; exit 1; }
printf '\nNext: `make run` for a broker on 127.0.0.1:9092, and README.md for what to do with it.\n'
