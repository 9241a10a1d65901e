# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared between the parts
# SPDX-License-Identifier: Apache-2.0
#
# The pod network where kind's own plug-in is not in the node image: what kindnetd does, from the outside. The work
# in a node is done by node/dpe-network; here it is told who the others are.

has_own_network() { docker exec "$1" test -x /usr/local/bin/dpe-network; }

pod_networks() { kube get nodes -o jsonpath='{range .items[*]}{.metadata.name}{" "}{.spec.podCIDR}{"\n"}{end}'; }

# tell_node NODE: writes the files of node/dpe-network and runs it. $table has a line "NODE POD-NETWORK ADDRESS" for each node.
tell_node() {
  local own
  own=$(awk -v node="$1" '$1 == node {print $2}' <<<"$table")
  {
    echo "$own $pod_network"
    awk -v node="$1" '$1 != node {print $2, $3}' <<<"$table"
  } | docker exec -i "$1" sh -ec 'mkdir -p /etc/dpe-network; cd /etc/dpe-network; cat >all; head -n 1 all >own; tail -n +2 all >peers; rm all; exec dpe-network'
}

# network_table: a line "NODE POD-NETWORK ADDRESS" for each node that runs. The pod networks are kept in a file, since the
# API server does not answer while its own node is being repaired.
network_table() {
  local node network
  if api_answers; then pod_networks >"$cluster_dir/pod-networks"; fi
  while read -r node network; do
    case $(node_state "$node") in running | paused) echo "$node $network $(node_address "$node")" ;; esac
  done <"$cluster_dir/pod-networks"
}

# repair_network: every running node knows the present addresses of all others. After a restart a node may have
# another address than before, so all are told.
repair_network() {
  local node table
  has_own_network "$(control_plane)" || return 0
  table=$(network_table)
  while read -r node _; do
    [ "$(node_state "$node")" = running ] || continue
    tell_node "$node" </dev/null
  done <<<"$table"
}
