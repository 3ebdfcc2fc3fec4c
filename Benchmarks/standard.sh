#!/usr/bin/env bash
# The standard table: Apus beside the plain C reference of Benchmarks/Reference, and Apus by itself, both measured by `apus bench` on
# this machine and written to Benchmarks/results. Takes about six minutes. The machine should have nothing else to do.
#
#   BROKER_BINARY   another `apus` than the release build
#   ROUNDS          how often each side of a comparison runs (5)
#   SECONDS_EACH    how long each of the other measurements runs (5)
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
apus=${BROKER_BINARY:-$root/.build/release/apus}
rounds=${ROUNDS:-5}
seconds=${SECONDS_EACH:-5}
# Under the repository, which is on a disk as a rule; the directory for temporary files often is in memory.
mkdir -p "$root/.build"
work=$(mktemp -d "$root/.build/bench.XXXXXX")
results=$root/Benchmarks/results/$(date -u +%Y-%m-%d)-$(uname -m).md
broker=
stop() {
  [ -z "$broker" ] || { kill "$broker" 2>/dev/null && wait "$broker" 2>/dev/null || true; }
  broker=
}
trap 'stop; rm -rf "$work"' EXIT
case $(stat --file-system --format %T "$work") in
  tmpfs | ramfs)
    echo "standard.sh: $root/.build is in memory (tmpfs), where a sync costs nothing: the repository must be on a disk to be measured" >&2
    exit 1 ;;
esac
mkdir "$work/figures"

# Everything on standard output goes into the details; what is under way is said on standard error.
heading() { printf '\n## %s\n\n' "$1"; echo "-- $1" >&2; }

# launch NAME COMMAND...: runs a server until its ready line; sets $broker, $address and $ready_ms.
launch() {
  local name=$1 began line
  shift
  rm -f "$work/ready"
  mkfifo "$work/ready"
  began=$(date +%s%N)
  "$@" >"$work/ready" 2>>"$work/$name.log" &
  broker=$!
  read -r line <"$work/ready" || { cat "$work/$name.log" >&2; exit 1; }
  ready_ms=$(( ($(date +%s%N) - began) / 1000000 ))
  address=${line#*listen=}
  address=${address%% *}
}
# start NAME [KEY=VALUE...]: a broker on the directory of that name.
start() {
  local name=$1 setting
  shift
  local settings=()
  for setting in "$@"; do settings+=(--set "$setting"); done
  launch "$name" "$apus" start --data "$work/$name" --listen 127.0.0.1:0 "${settings[@]}"
}
start_reference() {
  mkdir "$work/reference"
  launch reference "$work/c-reference" "$work/reference"
}
rss_mib() { awk '/^VmRSS/ { printf "%.0f", $2 / 1024 }' "/proc/$broker/status"; }

# bench COMMAND...: one run of `apus bench`, shown; left in $work/last as well.
bench() {
  printf '`apus bench %s`\n\n```\n' "$*"
  "$apus" bench "$@" --bootstrap "$address" --broker-pid "$broker" | tee "$work/last"
  printf '```\n\n'
}
# note FIGURE VALUE: keeps a value under a name; `values`, `median` and `highest` give what was kept.
note() { echo "$2" >>"$work/figures/$1"; }
values() { paste -sd' ' "$work/figures/$1"; }
median() { sort -g "$work/figures/$1" | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
highest() { sort -g "$work/figures/$1" | tail -1; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.9g", a / b }'; }
# target WHAT REACHED LIMIT UNIT: a line of the first table; reached is right below the limit (or at it, for a ratio). Ratios are
# compared as they are, and shown with three digits.
target() {
  local verdict reached=$2
  [ "$4" != x ] || reached=$(printf '%.3f' "$2")
  verdict=$(awk -v a="$2" -v b="$3" -v unit="$4" 'BEGIN { print (unit == "x" ? a <= b : a < b) ? "met" : "**not met**" }')
  printf '| %s | %s %s | %s %s | %s |\n' "$1" "$reached" "$4" "$([ "$4" = x ] && echo "at most $3" || echo "below $3")" "$4" "$verdict" \
    >>"$work/targets"
}

# Pages that a virtual machine never used come from its host at their first use, at several times their cost. So that the first
# measurement does not pay for all later ones, nine tenths of the free memory are used once; within a container, of what it may have.
touch_memory() {
  local free limit used
  free=$(awk '/^MemFree/ { print int($2 / 1024) }' /proc/meminfo)
  if [ -r /sys/fs/cgroup/memory.max ] && limit=$(cat /sys/fs/cgroup/memory.max) && [ "$limit" != max ]; then
    used=$(cat /sys/fs/cgroup/memory.current)
    limit=$(( (limit - used) >> 20 ))
    [ "$limit" -ge "$free" ] || free=$limit
  fi
  echo "-- touching memory" >&2
  "$work/touch" $(( free * 9 / 10 )) 90
}

# compared SERVER CASE KIND ARGUMENTS...: one run of one side; keeps its CPU seconds per GB and its throughput.
compared() {
  local server=$1 case=$2 json key
  shift 2
  json=$("$apus" bench "$@" --connections 4 --json --bootstrap "$address" --broker-pid "$broker")
  # The round before the first fills what caches there are, and is not counted.
  [ "$round" -gt 0 ] || return 0
  for key in broker_cpu_seconds_per_gb mb_per_second; do
    note "$server-$case-$key" "$(sed -E "s/.*\"$key\": *([0-9.eE+-]+).*/\1/" <<<"$json")"
  done
}
start_side() {
  case $1 in
    os|fsync) start "$1" flush.policy="$1" log.retention.check.interval.ms=3600000 ;;
    reference) start_reference ;;
  esac
}
compare() {
  local round side cases=(spread fetch shared) records available
  # Little enough that the kernel leaves it in the page cache: the reference is never throttled, so nobody may be.
  available=$(awk '/^MemAvailable/ { print $2 * 1024 }' /proc/meminfo)
  records=$(awk -v free="$available" 'BEGIN { r = int(free * 0.07 / 110); print r < 15000000 ? r : 15000000 }')
  for round in $(seq 0 "$rounds"); do
    for side in os reference fsync; do
      echo "-- comparison, round $round: $side" >&2
      start_side "$side"
      compared "$side" spread produce --topic spread --partitions 4 --record-size 100 --batch-size 64KiB --acks 1 --records "$records"
      compared "$side" fetch consume --topic spread
      stop
      rm -rf "${work:?}/$side"
      start_side "$side"
      compared "$side" shared produce --topic shared --partitions 1 --record-size 100 --batch-size 64KiB --acks 1 --records "$records"
      stop
      rm -rf "${work:?}/$side"
    done
  done
  heading 'Beside the plain C reference'
  printf 'CPU seconds of the server per GB, medians of %s rounds of %s records of 100 bytes, acks=1, batches of 64 KiB, four\n' \
    "$rounds" "$records"
  printf 'connections; the sides take turns, each on an empty directory. The reference (Benchmarks/Reference) leaves its data to the\n'
  printf 'kernel, as `flush.policy=os` does; with `flush.policy=fsync` Apus also brings it to the disk.\n\n'
  printf '| | C reference | Apus, os | ratio | Apus, fsync | ratio |\n|---|---|---|---|---|---|\n'
  local case cpu=broker_cpu_seconds_per_gb
  declare -A names=([spread]='produce, a partition per connection' [fetch]='fetch of the same' [shared]='produce, all into one partition')
  for case in "${cases[@]}"; do
    local c os fsync
    c=$(median "reference-$case-$cpu") os=$(median "os-$case-$cpu") fsync=$(median "fsync-$case-$cpu")
    printf '| %s | %.3f | %.3f | %.2f | %.3f | %.2f |\n' \
      "${names[$case]}" "$c" "$os" "$(ratio "$os" "$c")" "$fsync" "$(ratio "$fsync" "$c")"
    target "CPU per GB, \`flush.policy=os\`: ${names[$case]}, against the C reference" "$(ratio "$os" "$c")" 1.5 x
  done
  printf '\n| every round | | CPU s/GB | MB/s |\n|---|---|---|---|\n'
  for case in "${cases[@]}"; do
    for side in reference os fsync; do
      printf '| %s | %s | %s | %s |\n' "$case" "$side" \
        "$(values "$side-$case-$cpu" | awk '{ for (i = 1; i <= NF; i++) printf "%.3f ", $i }')" \
        "$(values "$side-$case-mb_per_second" | awk '{ for (i = 1; i <= NF; i++) printf "%.0f ", $i }')"
    done
  done
}

starts() {
  local round
  heading 'Start and memory'
  for round in 1 2 3 4 5; do
    start "empty-$round"
    sleep 1
    note empty-ready "$ready_ms"
    note empty-rss "$(rss_mib)"
    stop
  done
  printf -- '- start on an empty directory to `ready`: %s ms\n- resident when idle: %s MiB\n' "$(values empty-ready)" "$(values empty-rss)"
  target 'start on an empty directory to `ready`, `flush.policy=fsync`, median of 5' "$(median empty-ready)" 100 ms
  target 'resident when idle, `flush.policy=fsync`, highest of 5' "$(highest empty-rss)" 40 MiB
}

policies() {
  local policy acks percentile
  for policy in os fsync; do
    start "$policy" flush.policy=$policy log.retention.check.interval.ms=3600000
    heading "flush.policy=$policy: produce"
    bench produce --topic produce-1k --record-size 1KiB --batch-size 1KiB --acks 1 --connections 4 --in-flight 5 --duration "${seconds}s"
    bench produce --topic produce-64k --record-size 1KiB --batch-size 64KiB --acks 1 --connections 4 --in-flight 5 --duration "${seconds}s"
    bench produce --topic produce-all --record-size 100 --batch-size 64KiB --acks all --connections 4 --in-flight 5 --duration "${seconds}s"
    heading "flush.policy=$policy: fetch"
    bench consume --topic produce-64k --connections 4 --duration "${seconds}s"
    heading "flush.policy=$policy: latency of a synchronous produce"
    for acks in 1 all; do
      bench latency --topic latency-$acks --record-size 1KiB --acks $acks --duration "${seconds}s"
      for percentile in p50 p99; do
        note "latency-$policy-$percentile" "$(sed -nE "s/.* $percentile ([0-9.]+) .*/\1/p" "$work/last")"
      done
    done
    stop
    rm -rf "${work:?}/$policy"
  done
  target 'synchronous produce of 1 KiB, `flush.policy=os`, p50 (the worse of acks=1 and all)' "$(highest latency-os-p50)" 0.15 ms
  target 'synchronous produce of 1 KiB, `flush.policy=os`, p99 (the worse of acks=1 and all)' "$(highest latency-os-p99)" 1 ms
}

many_partitions() {
  local half
  heading '10,000 idle partitions'
  start many
  # One request may write 10,000 metadata records, and a topic is a record too.
  for half in 1 2; do "$apus" topic create "many-$half" --partitions 5000 --bootstrap "$address" >&2; done
  note many-rss "$(rss_mib)"
  printf -- '- resident after their creation: %s MiB\n' "$(rss_mib)"
  stop
  start many
  note many-rss "$(rss_mib)"
  note many-ready "$ready_ms"
  printf -- '- restart after a clean stop to `ready`: %s ms; resident: %s MiB\n' "$ready_ms" "$(rss_mib)"
  kill -9 "$broker"
  wait "$broker" 2>/dev/null || true
  broker=
  start many
  note many-rss "$(rss_mib)"
  note many-ready "$ready_ms"
  printf -- '- restart after `kill -9` to `ready`: %s ms; resident: %s MiB\n' "$ready_ms" "$(rss_mib)"
  stop
  target '10,000 idle partitions, `flush.policy=fsync`: resident, highest of three' "$(highest many-rss)" 1024 MiB
  target '10,000 idle partitions, `flush.policy=fsync`: restart to `ready`, the slower of clean and killed' "$(highest many-ready)" 3000 ms
}

# Swift's toolchain brings a C compiler, if there is no other.
cc=$(command -v cc || command -v clang) || { echo "standard.sh: a C compiler is needed" >&2; exit 1; }
"$cc" -O2 -Wall -Wextra -Werror -pthread "$root"/Benchmarks/Reference/*.c -lisal -o "$work/c-reference"
"$cc" -O2 -Wall -Wextra -Werror "$root/Benchmarks/Memory/touch.c" -o "$work/touch"
read -r touched_mib touch_seconds < <(touch_memory)
{
  compare
  starts
  policies
  many_partitions
} >"$work/details"

mkdir -p "$(dirname "$results")"
{
  printf '# Benchmarks, %s\n\n' "$(date -u +%Y-%m-%d)"
  printf 'Server and load on one machine: %s x %s, %s MiB, Linux %s, file system %s; commit %s.\n' \
    "$(nproc)" "$(awk -F': ' '/^model name/ { print $2; exit }' /proc/cpuinfo)" \
    "$(awk '/^MemTotal/ { printf "%.0f", $2 / 1024 }' /proc/meminfo)" "$(uname -r)" \
    "$(df --output=fstype "$work" | tail -1)" "$(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo unknown)"
  printf 'Before the first measurement %s MiB of free memory were used once, which took %s s.\n' "$touched_mib" "$touch_seconds"
  printf '\n## Targets\n\n| | reached | target | |\n|---|---|---|---|\n'
  cat "$work/targets" "$work/details"
} >"$work/results.md"
mv "$work/results.md" "$results"
cat "$results"
echo "written to ${results#"$root"/}" >&2
