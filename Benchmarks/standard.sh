#!/usr/bin/env bash
# The standard table: one broker on this machine, measured by `apus bench`, written to Benchmarks/results.
# Takes about three minutes. The machine should have nothing else to do.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
apus=${BROKER_BINARY:-$root/.build/release/apus}
seconds=${SECONDS_EACH:-8}
work=$(mktemp -d "${TMPDIR:-/tmp}/apus-bench.XXXXXX")
results=$root/Benchmarks/results/$(date -u +%Y-%m-%d)-$(uname -m).md
broker=
stop() {
  [ -z "$broker" ] || { kill "$broker" 2>/dev/null && wait "$broker" 2>/dev/null || true; }
  broker=
}
trap 'stop; rm -rf "$work"' EXIT

# start NAME [KEY=VALUE...]: a broker on the directory of that name; sets $broker, $address and $ready_ms.
start() {
  local name=$1 began line
  shift
  local settings=()
  for setting in "$@"; do settings+=(--set "$setting"); done
  rm -f "$work/ready"
  mkfifo "$work/ready"
  began=$(date +%s%N)
  "$apus" start --data "$work/$name" --listen 127.0.0.1:0 "${settings[@]}" >"$work/ready" 2>>"$work/$name.log" &
  broker=$!
  read -r line <"$work/ready" || { cat "$work/$name.log" >&2; exit 1; }
  ready_ms=$(( ($(date +%s%N) - began) / 1000000 ))
  address=${line#*listen=}
  address=${address%% *}
}
rss_mib() { awk '/^VmRSS/ { printf "%.0f", $2 / 1024 }' "/proc/$broker/status"; }
heading() { printf '\n## %s\n\n' "$1"; echo "-- $1" >&2; }
bench() {
  printf '`apus bench %s`\n\n```\n' "$*"
  "$apus" bench "$@" --bootstrap "$address" --broker-pid "$broker"
  printf '```\n\n'
}

{
  printf '# Benchmarks, %s\n\n' "$(date -u +%Y-%m-%d)"
  printf 'One broker and the load on one machine: %s x %s, %s MiB, Linux %s, file system %s; commit %s.\n' \
    "$(nproc)" "$(awk -F': ' '/^model name/ { print $2; exit }' /proc/cpuinfo)" \
    "$(awk '/^MemTotal/ { printf "%.0f", $2 / 1024 }' /proc/meminfo)" "$(uname -r)" \
    "$(df --output=fstype "$work" | tail -1)" "$(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo unknown)"

  heading 'Start and memory'
  for round in 1 2 3 4 5; do
    start "empty-$round"
    sleep 1
    printf -- '- start on an empty directory to `ready`: %s ms; resident when idle: %s MiB\n' "$ready_ms" "$(rss_mib)"
    stop
  done

  for policy in os fsync; do
    start "$policy" flush.policy=$policy log.retention.check.interval.ms=3600000
    heading "flush.policy=$policy: produce"
    bench produce --topic produce-100 --record-size 100 --batch-size 64KiB --acks 1 --connections 4 --in-flight 5 --duration "${seconds}s"
    bench produce --topic produce-1k --record-size 1KiB --batch-size 64KiB --acks 1 --connections 4 --in-flight 5 --duration "${seconds}s"
    bench produce --topic produce-all --record-size 100 --batch-size 64KiB --acks all --connections 4 --in-flight 5 --duration "${seconds}s"
    heading "flush.policy=$policy: fetch"
    bench consume --topic produce-100 --connections 4 --duration "${seconds}s"
    heading "flush.policy=$policy: latency of a synchronous produce"
    bench latency --topic latency-1 --record-size 1KiB --acks 1 --duration "${seconds}s"
    bench latency --topic latency-all --record-size 1KiB --acks all --duration "${seconds}s"
    stop
    rm -rf "${work:?}/$policy"
  done

  heading '10,000 idle partitions'
  start many
  # One request may write 10,000 metadata records, and a topic is a record too.
  for half in 1 2; do "$apus" topic create "many-$half" --partitions 5000 --bootstrap "$address" >&2; done
  printf -- '- resident after their creation: %s MiB\n' "$(rss_mib)"
  stop
  start many
  printf -- '- restart after a clean stop to `ready`: %s ms; resident: %s MiB\n' "$ready_ms" "$(rss_mib)"
  kill -9 "$broker"
  wait "$broker" 2>/dev/null || true
  broker=
  start many
  printf -- '- restart after `kill -9` to `ready`: %s ms; resident: %s MiB\n' "$ready_ms" "$(rss_mib)"
  stop
} >"$work/results.md"

mkdir -p "$(dirname "$results")"
mv "$work/results.md" "$results"
cat "$results"
echo "written to ${results#"$root"/}" >&2
