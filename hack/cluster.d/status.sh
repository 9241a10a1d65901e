# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared between the parts
# SPDX-License-Identifier: Apache-2.0
#
# `hack/cluster status`: what the engine and the kernel know of the nodes, beside what the API server believes.

status() {
  local node zone ready believed=''
  engine_answers || die "no Docker engine answers" "cure: hack/cluster up starts one"
  [ -n "$(nodes)" ] || die "there is no cluster $CLUSTER" "cure: hack/cluster up makes it"
  need_tools kubectl
  believed=$(kube get nodes -o jsonpath='{range .items[*]}{.metadata.name}{" "}{.metadata.labels.topology\.kubernetes\.io/zone}{" "}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}' --request-timeout=5s 2>/dev/null) ||
    say "the API server does not answer"
  printf '%-22s %-8s %-8s %-6s %-8s %s\n' NODE ZONE MACHINE CABLE READY ADDRESS
  for node in $(nodes); do
    read -r zone ready < <(awk -v n="$node" '$1 == n {print $2, $3}' <<<"$believed")
    printf '%-22s %-8s %-8s %-6s %-8s %s\n' "$node" "${zone:--}" "$(machine "$node")" "$(cable "$node")" "${ready:--}" "$(node_address "$node")"
  done
  [ -s "$made_file" ] || say "this cluster was never finished: hack/cluster up makes it anew"
  note "kubeconfig: $kubeconfig"
  note "shared:     $cluster_dir/shared (in every node: /shared)"
  note "audit log:  $cluster_dir/audit/audit.log"
}
machine() {
  case $(node_state "$1") in running) echo runs ;; paused) echo frozen ;; *) echo dead ;; esac
}
cable() {
  case $(node_state "$1") in running | paused) ;; *) echo -; return ;; esac
  is_root || { echo '?'; return; } # the cables are seen by root only
  if node_is_cut "$1"; then echo cut; else echo ok; fi
}
