#!/usr/bin/env bash
# Three brokers on this machine, each with a vote: `three.sh up` starts them and says how to use them, `three.sh down` stops them.
# Their data stays in ./apus-cluster.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
apus=${APUS:-$root/.build/release/apus}
data=${CLUSTER_DATA:-$PWD/apus-cluster}
voters=1@127.0.0.1:9093,2@127.0.0.1:9095,3@127.0.0.1:9097
bootstrap=127.0.0.1:9092,127.0.0.1:9094,127.0.0.1:9096

# The process of a node, if it runs: a number from an earlier run may belong to somebody else by now.
running() {
  local pid
  pid=$(cat "$data/node-$1.pid" 2>/dev/null) && ps -o args= -p "$pid" | grep -qF -- "--data $data/node-$1 " && echo "$pid"
}

start() {
  local client=$((9090 + 2 * $1))
  nohup "$apus" start --data "$data/node-$1" --set node.id="$1" --set process.roles=broker,controller \
    --set controller.quorum.voters="$voters" --set controller.listener.names=CONTROLLER \
    --set listeners="PLAINTEXT://127.0.0.1:$client,CONTROLLER://127.0.0.1:$((client + 1))" \
    --set default.replication.factor=3 --set min.insync.replicas=2 \
    >"$data/node-$1.out" 2>>"$data/node-$1.log" </dev/null &
  echo $! >"$data/node-$1.pid"
}

up() {
  [ -x "$apus" ] || { echo "three.sh: $apus is missing: build it with \`make build\`" >&2; exit 1; }
  mkdir -p "$data"
  for node in 1 2 3; do running $node >/dev/null || start $node; done
  for _ in $(seq 300); do
    # 1 is a cluster that answers and is not whole yet.
    if "$apus" cluster status --bootstrap "$bootstrap" --timeout 2s >"$data/status" 2>&1; then
      cat "$data/status"
      cat <<TEXT

Three brokers run, with their data in $data:
  export APUS_BOOTSTRAP=$bootstrap
  $apus topic create orders --partitions 12
  $apus cluster leaders --topic orders
  $apus cluster leaders --watch &            # what happens, as it happens
  kill -9 \$(cat $data/node-1.pid)            # somebody else leads at once
  $apus cluster explain orders 0             # and this is why
  make cluster                               # starts it again
Logs are $data/node-*.log; \`make cluster-down\` stops them.
TEXT
      return
    fi
    for node in 1 2 3; do
      running $node >/dev/null || { echo "three.sh: node $node has stopped:" >&2; tail -5 "$data/node-$node.log" >&2; exit 1; }
    done
    sleep 0.1
  done
  cat "$data/status" >&2
  echo "three.sh: the cluster is not healthy after 30 s" >&2
  exit 1
}

down() {
  local pids=() pid
  for node in 1 2 3; do if pid=$(running $node); then kill "$pid" && pids+=("$pid"); fi; done
  for pid in ${pids[@]+"${pids[@]}"}; do
    for _ in $(seq 600); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    ! kill -0 "$pid" 2>/dev/null || { echo "three.sh: process $pid does not stop" >&2; exit 1; }
  done
  rm -f "$data"/node-*.pid
}

case "${1:-}" in
  up) up ;;
  down) down ;;
  *) echo "usage: three.sh up|down" >&2; exit 64 ;;
esac
