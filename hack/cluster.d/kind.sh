# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared between the parts
# SPDX-License-Identifier: Apache-2.0
#
# The cluster itself: its kind configuration, whether it is there and good, making and deleting it.
# Everything about it lies in one folder of the cache; the user's own kubeconfig is never read or written.

CLUSTER=${CLUSTER:-dpe}
[[ $CLUSTER =~ ^[a-z0-9][a-z0-9-]{0,29}$ ]] || die "CLUSTER=$CLUSTER is not a name for a cluster" "cure: up to 30 small letters, digits and dashes"
cluster_dir=$cache/clusters/$CLUSTER
kubeconfig=$cluster_dir/kubeconfig
made_file=$cluster_dir/made # written last: the configuration's hash and the ids of the nodes
pod_network=10.244.0.0/16
workers=3

kube() { "$bin/kubectl" --kubeconfig "$kubeconfig" --request-timeout=10s "$@"; }
kind_tool() { KUBECONFIG=$kubeconfig "$bin/kind" "$@"; }

nodes() { # the containers of the cluster, running or not, control plane first
  docker ps -a --filter "label=io.x-k8s.kind.cluster=$CLUSTER" --format '{{.Names}}' | sort
}
node_state() { docker inspect --format '{{.State.Status}}' "$1" 2>/dev/null || echo gone; }
node_address() { docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$1"; }

kind_node() { # kind_node ROLE IMAGE ZONE
  printf -- '  - role: %s\n    image: %s\n    labels: {topology.kubernetes.io/zone: %s}\n    extraMounts:\n' "$1" "$2" "$3"
  printf -- '      - {hostPath: %s, containerPath: /shared}\n' "$cluster_dir/shared"
  [ "$1" = control-plane ] || return 0
  printf -- '      - {hostPath: %s, containerPath: /audit}\n' "$cluster_dir/audit"
  printf -- '      - {hostPath: %s, containerPath: /etc/kubernetes/audit-policy.yaml, readOnly: true}\n' "$cluster_dir/audit-policy.yaml"
}

# kind_config IMAGE OWN-NETWORK: the whole configuration. OWN-NETWORK is true where kind's network plug-in is not in the
# image. Images loaded by hand cannot be pulled again, so kubelet must never collect them (kind sets that as well).
kind_config() {
  local zone
  cat <<YAML
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
networking: {disableDefaultCNI: $2, podSubnet: $pod_network, kubeProxyMode: iptables}
kubeadmConfigPatches:
  - |
    kind: ClusterConfiguration
    apiServer:
      extraArgs:
        audit-policy-file: /etc/kubernetes/audit-policy.yaml
        audit-log-path: /audit/audit.log
        audit-log-maxsize: "500"
        audit-log-maxbackup: "2"
      extraVolumes:
        - {name: audit-policy, hostPath: /etc/kubernetes/audit-policy.yaml, mountPath: /etc/kubernetes/audit-policy.yaml, readOnly: true, pathType: File}
        - {name: audit, hostPath: /audit, mountPath: /audit, readOnly: false, pathType: Directory}
  - |
    kind: KubeletConfiguration
    imageGCHighThresholdPercent: 100
    imageMaximumGCAge: 0s
    evictionHard: {nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%"}
nodes:
YAML
  kind_node control-plane "$1" zone-0
  for ((zone = 1; zone <= workers; zone++)); do kind_node worker "$1" "zone-$zone"; done
}

# cluster_key IMAGE: changes whenever the cluster would have to be made anew
cluster_key() {
  { kind_config "$1" "$2"; cat "$parts/audit-policy.yaml"; docker image inspect --format '{{.Id}}' "$1"; } | sha256sum | cut -c1-16
}
node_ids() { nodes | xargs -r docker inspect --format '{{.Id}}' | sort; }

# A cluster of this name that somebody else made must not be touched. Ours is known by the folder in its nodes.
assert_ours() {
  local node
  for node in $(nodes); do
    [[ $(docker inspect --format '{{range .Mounts}}{{.Source}} {{end}}' "$node") == *"/clusters/$CLUSTER/shared "* ]] ||
      die "a kind cluster '$CLUSTER' is here that this tool did not make" "cure: choose another name, for example CLUSTER=dpe2 $0 ..."
  done
}

api_answers() { [ "$(kube get --raw /readyz 2>/dev/null)" = ok ]; }

# why_not_good KEY: nothing if the cluster was made whole, with this configuration, and its nodes still exist
why_not_good() {
  [ -n "$(nodes)" ] || { echo "there is none"; return; }
  [ -s "$made_file" ] || { echo "it was never finished"; return; }
  [ "$(head -n 1 "$made_file")" = "$1" ] || { echo "its configuration or node image has changed"; return; }
  [ "$(tail -n +2 "$made_file")" = "$(node_ids)" ] || { echo "nodes of it are missing"; return; }
  [ -s "$kubeconfig" ] || { echo "its kubeconfig is gone"; return; }
  case $(node_state "$(control_plane)") in running | paused) ;; *) echo "its control plane does not run" ;; esac
}
control_plane() { printf '%s-control-plane\n' "$CLUSTER"; }

delete_cluster() {
  assert_ours
  rm -f "$made_file" # first: a delete that is interrupted leaves no cluster that looks whole
  thaw_all
  logged kind-delete "delete cluster $CLUSTER" remove_nodes
  rm -f "$kubeconfig"
}
remove_nodes() {
  kind_tool delete cluster --name "$CLUSTER" || true
  # what kind leaves when the engine was killed half-way through its work
  nodes | xargs -r docker rm -f -v
  [ -z "$(nodes)" ]
}

# make_cluster IMAGE OWN-NETWORK
make_cluster() {
  mkdir -p "$cluster_dir"/{shared,audit}
  chmod 1777 "$cluster_dir/shared" # pods write here under uids of their own
  cp "$parts/audit-policy.yaml" "$cluster_dir/"
  rm -f "$cluster_dir"/audit/*
  kind_config "$1" "$2" >"$cluster_dir/kind.yaml"
  logged kind-create "create cluster $CLUSTER (1 control plane, $workers workers)" \
    kind_tool create cluster --name "$CLUSTER" --config "$cluster_dir/kind.yaml" --kubeconfig "$kubeconfig" --retain=false
  chmod 600 "$kubeconfig"
}

mark_made() { # mark_made KEY
  { echo "$1"; node_ids; } >"$made_file.new"
  mv "$made_file.new" "$made_file"
}

wait_ready() {
  kube wait --for=condition=Ready nodes --all --timeout=120s --request-timeout=0
  kube -n kube-system rollout status daemonset/kube-proxy --timeout=120s --request-timeout=0
  kube -n kube-system rollout status deployment/coredns --timeout=120s --request-timeout=0
}
