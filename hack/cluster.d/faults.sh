# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared between the parts
# SPDX-License-Identifier: Apache-2.0
#
# Faults of nodes, and their undoing. No state is kept: whether a node is cut off, frozen or dead is read from the
# kernel and the engine, so a fault of an interrupted test is found and undone by anybody.

assert_node() {
  [[ $'\n'$(nodes)$'\n' == *$'\n'"$1"$'\n'* ]] || die "no node '$1' in cluster $CLUSTER" "there are: $(nodes | tr '\n' ' ')"
}
assert_state() { # assert_state NODE STATE...
  local node=$1 state wanted
  shift
  state=$(node_state "$node")
  for wanted in "$@"; do [ "$state" != "$wanted" ] || return 0; done
  die "$node is $state; this needs it $*"
}

# The host's end of a node's cable. `docker exec` would hang on a frozen node, so the node's network namespace is entered.
node_veth() {
  local pid index file
  pid=$(docker inspect --format '{{.State.Pid}}' "$1")
  index=$(nsenter -t "$pid" -n ip -o link show eth0 2>/dev/null | sed -n 's/^[0-9]*: eth0@if\([0-9]*\):.*/\1/p')
  [ -n "$index" ] || return 1
  for file in /sys/class/net/*/ifindex; do
    [ "$(cat "$file")" != "$index" ] || { basename "$(dirname "$file")"; return; }
  done
  return 1
}
node_is_cut() {
  local veth
  veth=$(node_veth "$1") || return 1
  (($(cat "/sys/class/net/$veth/flags") % 2 == 0)) # IFF_UP is the lowest bit
}
set_link() { # set_link NODE up|down
  local veth
  is_root || die "cutting a node off needs root (it sets a network interface of the host)"
  assert_state "$1" running paused
  veth=$(node_veth "$1") || die "no cable of $1 found on this host" "does Docker run in a virtual machine or on another host?"
  ip link set "$veth" "$2"
}

cut_node() { set_link "$1" down; }
heal_node() { set_link "$1" up; }
freeze_node() { assert_state "$1" running; docker pause "$1" >/dev/null; }
thaw_node() {
  assert_state "$1" paused running
  if [ "$(node_state "$1")" = paused ]; then docker unpause "$1" >/dev/null; fi
}
kill_node() { # a power cut: nothing in the node gets a chance to say good-bye
  assert_state "$1" running paused
  thaw_node "$1" # a frozen container does not die
  docker kill "$1" >/dev/null
}
# start_node: after this its pods run again, with routes, rules and addresses in order
start_node() {
  case $(node_state "$1") in running | paused) ;; *) docker start "$1" >/dev/null ;; esac
  thaw_node "$1"
  try_seconds 30 node_boots "$1" || die "$1 does not boot" "see: docker logs $1"
  repair_network
  try_seconds 90 nodes_serve "$1" || die "$1 is not Ready 90 s after its start" "see: docker exec $1 journalctl -u kubelet"
}
node_boots() { docker exec "$1" systemctl is-active --quiet containerd </dev/null 2>/dev/null; }

# nodes_serve NODE...: Ready, and that by what they reported after their last start: for 50 s after a power cut the API
# server still believes the old report. The last thing to come up is kube-proxy, without which no Service is reached.
nodes_serve() {
  local node ready heartbeat proxy started believed proxies
  believed=$(kube get nodes -o jsonpath='{range .items[*]}{.metadata.name}{" "}{range .status.conditions[?(@.type=="Ready")]}{.status}{" "}{.lastHeartbeatTime}{end}{"\n"}{end}' 2>/dev/null) || return 1
  proxies=$(kube -n kube-system get pods -l k8s-app=kube-proxy -o jsonpath='{range .items[*]}{.spec.nodeName}{" "}{.status.containerStatuses[0].state.running.startedAt}{"\n"}{end}' 2>/dev/null) || return 1
  for node in "$@"; do
    read -r ready heartbeat < <(awk -v n="$node" '$1 == n {print $2, $3}' <<<"$believed")
    proxy=$(awk -v n="$node" '$1 == n {print $2}' <<<"$proxies")
    [ "$ready" = True ] && [ -n "$heartbeat" ] && [ -n "$proxy" ] || return 1
    started=$(seconds "$(docker inspect --format '{{.State.StartedAt}}' "$node")")
    (($(seconds "$heartbeat") >= started && $(seconds "$proxy") >= started)) || return 1
  done
}
seconds() { date -d "$1" +%s; }

thaw_all() {
  local node
  for node in $(nodes); do [ "$(node_state "$node")" != paused ] || thaw_node "$node"; done
}

# undo_faults: whatever an interrupted test has left
undo_faults() {
  local node
  for node in $(nodes); do
    case $(node_state "$node") in
      paused) say "$node is frozen: thaw it"; thaw_node "$node" ;;
      running) ;;
      *) say "$node does not run: start it"; docker start "$node" >/dev/null ;;
    esac
    if node_is_cut "$node"; then say "$node is cut off: heal it"; heal_node "$node"; fi
  done
}
