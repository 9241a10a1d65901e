# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared between the parts
# SPDX-License-Identifier: Apache-2.0
#
# Images of this machine into the nodes. What a node has already is not sent again.

node_ctr() { docker exec -i "$1" ctr --namespace k8s.io images "${@:2}"; }

# missing_in_node NODE: of the lines "NAME ID" on standard input, the names that the node lacks or has with other content.
# containerd lists an image under its name and under its id, both with the digest of the manifest.
missing_in_node() {
  awk 'NR == FNR {digest[$1] = $3; next}
       {id = digest[$2] ? digest[$2] : $2; if (digest[$1] == "" || digest[$1] != id) print $1}' \
    <(node_ctr "$1" ls </dev/null 2>/dev/null) -
}

full_name() { # Docker leaves the registry out of a name, containerd never does
  case $1 in
    localhost/* | *.*/* | *:*/*) printf '%s\n' "$1" ;;
    */*) printf 'docker.io/%s\n' "$1" ;;
    *) printf 'docker.io/library/%s\n' "$1" ;;
  esac
}

# The archive lies in the folder that every node sees: streaming it through `docker exec` is slower.
send_to_nodes() { # send_to_nodes ARCHIVE NODE...
  local archive=$1 node pids=() pid
  shift
  for node in "$@"; do
    docker exec "$node" ctr --namespace k8s.io images import --snapshotter overlayfs "/shared/${archive##*/}" </dev/null &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid"; done
}

# common_content NODE...: digests of the blobs that all these nodes have
common_content() {
  local node
  for node in "$@"; do docker exec "$node" ctr --namespace k8s.io content ls -q </dev/null; done |
    sort | uniq -c | awk -v nodes=$# '$1 == nodes {print $2}'
}

# pack_and_send IMAGES NODES: both lists in one word each, separated by blanks
pack_and_send() {
  local images nodes whole=$cluster_dir/load.tar thin=$cluster_dir/shared/.load-$$.tar
  read -r -a images <<<"$1"
  read -r -a nodes <<<"$2"
  docker save -o "$whole" "${images[@]}"
  common_content "${nodes[@]}" | "${PYTHON:-python3}" "$parts/thin_archive.py" "$whole" "$thin"
  if ! send_to_nodes "$thin" "${nodes[@]}"; then
    # a layer that was there a moment ago is gone: the whole archive has everything
    echo "again, with all layers"
    mv "$whole" "$thin"
    send_to_nodes "$thin" "${nodes[@]}"
  fi
  rm -f "$whole" "$thin"
}

# load_images IMAGE...: one archive for all, read by the nodes at the same time
load_images() {
  local image id node list='' lacking='' behind=() images
  for image in "$@"; do
    id=$(docker image inspect --format '{{.Id}}' "$image" 2>/dev/null) || die "no image $image on this machine" "cure: hack/images build"
    list+="$(full_name "$image") $id $image"$'\n'
  done
  for node in $(nodes); do
    [ "$(node_state "$node")" = running ] || { say "$node does not run: it gets no images"; continue; }
    image=$(printf '%s' "$list" | missing_in_node "$node")
    [ -n "$image" ] || continue
    behind+=("$node")
    lacking+=$image$'\n'
  done
  ((${#behind[@]})) || { say "images: all nodes have them"; return; }
  mapfile -t images < <(awk 'NR == FNR {name[$1] = $3; next} NF && !seen[$1]++ {print name[$1]}' <(printf '%s' "$list") <(printf '%s' "$lacking"))
  rm -f "$cluster_dir"/shared/.load-*.tar # of an interrupted run
  logged load "load ${images[*]##*/} into ${behind[*]}" pack_and_send "${images[*]}" "${behind[*]}"
}
