#!/usr/bin/env bash
# Three brokers beside one: `acks=all` with three replicas against a single broker, with `flush.policy=fsync` and `os`, in turns on this
# machine. Results go to Benchmarks/results. The machine should have nothing else to do.
#
#   BROKER_BINARY   another `apus` than the release build
#   ROUNDS          how often each side runs (3)
#   SECONDS_EACH    how long each measurement runs (5)
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
apus=${BROKER_BINARY:-$root/.build/release/apus}
rounds=${ROUNDS:-3}
seconds=${SECONDS_EACH:-5}
mkdir -p "$root/.build" "$root/Benchmarks/results"
work=$(mktemp -d "$root/.build/bench.XXXXXX")
results=$root/Benchmarks/results/$(date -u +%Y-%m-%d)-$(uname -m)-cluster.md
pids=()
stop() {
  local pid
  for pid in ${pids[@]+"${pids[@]}"}; do kill -9 "$pid" 2>/dev/null || true; done
  for pid in ${pids[@]+"${pids[@]}"}; do wait "$pid" 2>/dev/null || true; done
  pids=()
}
trap 'stop; rm -rf "$work"' EXIT
case $(stat --file-system --format %T "$work") in
  tmpfs | ramfs)
    echo "cluster.sh: $root/.build is in memory (tmpfs), where a sync costs nothing: the repository must be on a disk to be measured" >&2
    exit 1 ;;
esac

# free_ports N: that many ports that nobody listens on now.
free_ports() {
  python3 -c '
import socket, sys
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(s.getsockname()[1] for s in held))' "$1"
}

# start COUNT POLICY: brokers on empty directories; sets $address.
start() {
  local count=$1 policy=$2 node voters= clients controllers
  read -ra clients <<<"$(free_ports $((count * 2)))"
  controllers=("${clients[@]:count}")
  for ((node = 1; node <= count; node++)); do voters+=",$node@127.0.0.1:${controllers[node - 1]}"; done
  for ((node = 1; node <= count; node++)); do
    "$apus" start --data "$work/node-$node" --set node.id="$node" --set process.roles=broker,controller \
      --set controller.quorum.voters="${voters#,}" --set controller.listener.names=CONTROLLER \
      --set listeners="PLAINTEXT://127.0.0.1:${clients[node - 1]},CONTROLLER://127.0.0.1:${controllers[node - 1]}" \
      --set flush.policy="$policy" --set log.retention.check.interval.ms=3600000 >"$work/ready-$node" 2>>"$work/node-$node.log" &
    pids+=($!)
  done
  for ((node = 1; node <= count; node++)); do
    for _ in $(seq 200); do grep -q ready "$work/ready-$node" && continue 2; sleep 0.05; done
    cat "$work/node-$node.log" >&2
    exit 1
  done
  address=127.0.0.1:${clients[0]}
}

note() { echo "$2" >>"$work/figure-$1"; }
values() { paste -sd' ' "$work/figure-$1"; }
median() { sort -g "$work/figure-$1" | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
field() { sed -E "s/.*\"$1\": *([0-9.eE+-]+).*/\1/"; }

measure() {
  local count=$1 policy=$2 name=$1-$2 json
  start "$count" "$policy"
  "$apus" topic create bench --partitions 12 --replication-factor "$count" --bootstrap "$address" >&2
  json=$("$apus" bench produce --topic bench --record-size 1KiB --batch-size 64KiB --acks all --connections 4 --in-flight 5 \
    --duration "${seconds}s" --json --bootstrap "$address")
  note "$name-throughput" "$(field mb_per_second <<<"$json")"
  "$apus" topic create latency --partitions 1 --replication-factor "$count" --bootstrap "$address" >&2
  "$apus" bench latency --topic latency --record-size 1KiB --acks all --duration "${seconds}s" --bootstrap "$address" >"$work/last"
  note "$name-p50" "$(sed -nE 's/.* p50 ([0-9.]+) .*/\1/p' "$work/last")"
  note "$name-p99" "$(sed -nE 's/.* p99 ([0-9.]+) .*/\1/p' "$work/last")"
  stop
  rm -rf "$work"/node-*
}

for round in $(seq "$rounds"); do
  for policy in fsync os; do
    for count in 1 3; do
      echo "-- round $round: $count broker(s), flush.policy=$policy" >&2
      measure "$count" "$policy"
    done
  done
done

{
  printf '# Three brokers beside one, %s\n\n' "$(date -u +%Y-%m-%d)"
  printf 'Brokers and load on one machine: %s x %s, Linux %s; commit %s. 12 partitions, records of 1 KiB in batches of 64 KiB,\n' \
    "$(nproc)" "$(awk -F': ' '/^model name/ { print $2; exit }' /proc/cpuinfo)" "$(uname -r)" \
    "$(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo unknown)"
  printf 'acks=all, four connections; latency of one synchronous producer on one partition. Medians of %s rounds (all of them behind).\n\n' \
    "$rounds"
  printf '| flush.policy | brokers = replicas | MB/s | p50 ms | p99 ms |\n|---|---|---|---|---|\n'
  for policy in fsync os; do
    for count in 1 3; do
      name=$count-$policy
      printf '| %s | %s | %s (%s) | %s (%s) | %s (%s) |\n' "$policy" "$count" "$(median "$name-throughput")" "$(values "$name-throughput")" \
        "$(median "$name-p50")" "$(values "$name-p50")" "$(median "$name-p99")" "$(values "$name-p99")"
    done
  done
} >"$results"
cat "$results"
echo "written to ${results#"$root"/}" >&2
