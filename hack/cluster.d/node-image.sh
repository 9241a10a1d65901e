# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared between the parts
# SPDX-License-Identifier: Apache-2.0
#
# The kind node image made from packages, for machines that reach no container registry: a Debian base, Kubernetes as
# hack/tools/build compiles it, and images of the control plane that hold one static binary each.
# The tag is a hash of everything that goes in: an image that is there is whole and current.

made_node_image() { # its name and tag; needs no engine
  printf 'localhost/dpe-kind-node:%s-%s\n' "$KUBERNETES_VERSION" "$(node_image_key)"
}

# All that goes in: versions, files, and the functions that put them together (without comments and layout).
node_image_key() {
  {
    cat "$root"/hack/tools/{go.mod,versions.env} "$parts"/node/*
    declare -f make_node_base one_binary_image make_kube_proxy make_control_plane_images make_node_image
    printf '%s\n' "$import_in_node"
    if lacks_sys_resource; then echo reduced; fi
  } | sha256sum | cut -c1-10
}

kind_source() { # the folder of the pinned kind module, for the files of its base image
  (
    have go || PATH=$cache/tools/go-venv/bin:$PATH # where hack/tools/build puts one
    cd /
    GOFLAGS=-mod=mod go mod download -json "sigs.k8s.io/kind@$KIND_VERSION"
  ) | jq -er .Dir
}

make_node_base() { # make_node_base TAG PAUSE-IMAGE
  local context=$work/base restrict=false
  rm -rf "$context"
  mkdir -p "$context"
  cp "$parts"/node/* "$context/"
  cp -r "$(kind_source)/images/base/files" "$context/files"
  chmod -R u+w "$context"
  : >"$context/runc"
  if lacks_sys_resource; then
    write_runtime_wrapper "$context/runc" /usr/sbin/runc.real
    restrict=true
  fi
  build_image "$1" "$context" --build-arg "PAUSE_IMAGE=$2" --build-arg "RESTRICT_OOM_SCORE=$restrict"
}

# one_binary_image TAG FILE PATH-IN-IMAGE [CHANGE...]: no builder needed for an image of one file
one_binary_image() {
  local tag=$1 file=$2 path=$3 change changes=()
  shift 3
  for change in 'ENV PATH=/usr/local/bin:/usr/bin:/bin' "$@"; do changes+=(--change "$change"); done
  tar -C "$(dirname "$file")" --owner=0 --group=0 --mode=755 --transform "s#.*#${path#/}#" -c "$(basename "$file")" |
    docker import "${changes[@]}" - "$tag"
}

make_kube_proxy() { # make_kube_proxy TAG BIN NODE-BASE
  local context=$work/kube-proxy tools=localhost/dpe-kind-base:kube-proxy-tools
  rm -rf "$context"
  mkdir -p "$context"
  cp "$2/kube-proxy" "$context/"
  cp "$parts/node/Dockerfile.kube-proxy" "$context/Dockerfile"
  # the first stage gets a name for a moment, so that it can be removed and does not stay as a nameless image
  build_image "$tools" "$context" --build-arg "NODE_BASE=$3" --target tools
  build_image "$1" "$context" --build-arg "NODE_BASE=$3"
  docker rmi "$tools"
}

make_control_plane_images() { # make_control_plane_images BIN NODE-BASE: the archive for the node in $work/images.tar
  local bin=$1 base=$2 image name images=()
  docker rm -f dpe-kind-files >/dev/null 2>&1 || true
  docker create --name dpe-kind-files "$base" >/dev/null
  docker cp dpe-kind-files:/usr/bin/catatonit "$work/catatonit"
  docker rm dpe-kind-files >/dev/null
  while read -r image; do
    images+=("$image")
    name=${image##*/}
    case ${name%%:*} in
      kube-proxy) make_kube_proxy "$image" "$bin" "$base" ;;
      coredns) one_binary_image "$image" "$bin/coredns" /coredns 'ENTRYPOINT ["/coredns"]' ;;
      pause) one_binary_image "$image" "$work/catatonit" /pause 'ENTRYPOINT ["/pause", "-P"]' ;;
      *) one_binary_image "$image" "$bin/${name%%:*}" "/usr/local/bin/${name%%:*}" ;;
    esac
  done < <(control_plane_images "$bin")
  docker save -o "$work/images.tar" "${images[@]}"
  docker rmi "${images[@]}" >/dev/null # they are only of use inside the node
}
control_plane_images() { "$1/kubeadm" config images list --kubernetes-version "$KUBERNETES_VERSION" 2>/dev/null; }

# Run in the container that becomes the node image: fills containerd's store the way `kind build node-image` does.
# shellcheck disable=SC2016 # it is the node's shell that expands it
import_in_node='set -eu
containerd >/tmp/containerd.log 2>&1 &
daemon=$!
tries=0
until ctr version >/dev/null 2>&1; do tries=$((tries + 1)); [ $tries -lt 80 ] || { cat /tmp/containerd.log; exit 1; }; sleep 0.25; done
ctr -n k8s.io images import -
kill $daemon
wait $daemon || true
rm -rf /tmp/containerd.log /run/containerd'

make_node_image() { # make_node_image TAG BIN NODE-BASE
  local file box=dpe-kind-build
  docker rm -f -v $box >/dev/null 2>&1 || true
  docker run -d --name $box --privileged --security-opt seccomp=unconfined --entrypoint sleep "$3" infinity
  for file in kubeadm kubelet kubectl; do docker cp "$2/$file" "$box:/usr/bin/$file"; done
  docker exec $box mkdir -p /kind/manifests
  for file in default-storage default-cni; do docker cp "$parts/node/storage.yaml" "$box:/kind/manifests/$file.yaml"; done
  printf '%s' "$KUBERNETES_VERSION" | docker exec -i $box sh -c 'cat >/kind/version'
  docker exec -i --privileged $box sh -c "$import_in_node" <"$work/images.tar"
  docker commit --change 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]' --change 'LABEL dev.dpe.role=kind-node' $box "$1"
  docker rm -f -v $box
  rm -f "$work/images.tar"
}

# ensure_made_node_image: prints its name
ensure_made_node_image() {
  local tag bin base pause need=()
  tag=$(made_node_image)
  has_image "$tag" && return
  mapfile -t need < <(missing_packages jq:jq tar:tar)
  ((${#need[@]} == 0)) || logged apt "install ${need[*]}" install_packages "${need[@]}"
  # hack/tools/build tells by itself what it builds (15 minutes the first time, nothing later)
  bin=$("$root/hack/tools/build")
  work=$cache/node-image
  mkdir -p "$work"
  ensure_base_image
  base=localhost/dpe-kind-base:${tag##*-}
  pause=$(control_plane_images "$bin" | grep /pause:)
  has_image "$base" || logged node-base "node's base from Debian's packages" make_node_base "$base" "$pause"
  # of an interrupted run: images whose names are given away again would stay as nameless ones
  control_plane_images "$bin" | xargs docker rmi >/dev/null 2>&1 || true
  logged control-plane "control-plane images" make_control_plane_images "$bin" "$base"
  logged node-image "node image $tag" make_node_image "$tag" "$bin" "$base"
  remove_old_node_images "$tag"
}

# An image of an earlier version is 1.5 GB that nobody needs; one in use by a cluster cannot be removed, and stays.
remove_old_node_images() {
  docker image ls --format '{{.Repository}}:{{.Tag}}' |
    awk -v key="${1##*-}" '/^localhost\/dpe-kind-(node|base):/ && !index($0, key)' |
    while read -r image; do docker rmi "$image" >/dev/null 2>&1 || true; done
}
