# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared between the parts
# SPDX-License-Identifier: Apache-2.0
#
# What `up` says before it changes anything: which way it goes and why, and everything that is missing, at once.

min_disk_gb=${DPE_MIN_DISK_GB:-15}
node_source=${DPE_CLUSTER_SOURCE:-auto} # auto | pull | packages
problems=()

problem() { problems+=("$1"); }

plan_engine() {
  local how='systemd starts it'
  has_systemd || how='dockerd is started by this tool, as there is no systemd'
  case $1 in
    running) note "engine: Docker $(docker info --format '{{.ServerVersion}}' 2>/dev/null) runs" ;;
    stopped) note "engine: Docker is installed but does not run: $how" ;;
    absent) note "engine: none (a client alone does not count): docker.io is installed with apt-get, then $how" ;;
    denied) problem "no right to use the Docker engine: run as root, or add yourself to the docker group and log in again" ;;
    foreign) problem "the Docker engine does not answer${DOCKER_HOST:+ at $DOCKER_HOST}: start it" ;;
  esac
  case $1 in stopped | absent) is_root || problem "only root may install or start Docker: run as root, or start Docker yourself" ;; esac
  [ "$1" != absent ] || is_debian_like || problem "Docker can be installed by this tool on Debian and Ubuntu only: install it yourself"
}

# registry_of IMAGE: the host it is pulled from; a first part without a dot or port is a folder of Docker's own registry
registry_of() {
  local first=${1%%/*}
  case $first in "$1" | docker.io) echo registry-1.docker.io ;; *.* | *:* | localhost) echo "$first" ;; *) echo registry-1.docker.io ;; esac
}

# Without curl nobody knows before the pull itself is tried.
registry_may_answer() { ! have curl || curl -s -o /dev/null -m 10 "https://$(registry_of "$1")/v2/"; }

# choose_source ENGINE: sets $path to pull or packages, and $why
choose_source() {
  path=packages
  case $node_source in
    pull)
      path=pull why="DPE_CLUSTER_SOURCE=pull"
      rm -f "$(negative_file "$NODE_IMAGE")" ;; # who insists wants it tried again
    packages) why="DPE_CLUSTER_SOURCE=packages" ;;
    auto)
      if [ "$1" = running ] && has_image "$NODE_IMAGE"; then path=pull why="it is on this machine"
      elif known_unreachable "$NODE_IMAGE"; then why="it could not be pulled before: $(unreachable_reason "$NODE_IMAGE")"
      elif registry_may_answer "$NODE_IMAGE"; then path=pull why="made from packages if it cannot be pulled"
      else why="$(registry_of "$NODE_IMAGE") does not answer"
      fi ;;
    *) die "DPE_CLUSTER_SOURCE=$node_source" "cure: auto, pull or packages" ;;
  esac
}

plan_source() {
  choose_source "$1"
  if [ "$path" = pull ]; then
    note "nodes:  $NODE_IMAGE from a registry ($why)"
    return
  fi
  note "nodes:  made from packages, Kubernetes $KUBERNETES_VERSION ($NODE_IMAGE: $why)"
  if [ "$1" = running ] && has_image "$(made_node_image)"; then note "        (made already)"; return; fi
  [ -n "$(find "$cache/tools" -path '*/bin/kubelet' 2>/dev/null)" ] || note "        the first time Kubernetes is compiled: about 15 minutes on two cores"
  { is_root && is_debian_like; } || have debootstrap || problem "making the node image needs root on Debian or Ubuntu (debootstrap), or a registry"
}

plan_disk() {
  local folder where free seen=''
  for folder in "$(engine_root)" "$cache"; do
    where=$(existing "${folder:-/var/lib/docker}")
    free=$(free_gb "$where")
    [[ $seen != *" $(stat -c %d "$where") "* ]] || continue # the same file system once
    seen+=" $(stat -c %d "$where") "
    note "disk:   $free GB free at $where"
    ((free >= min_disk_gb)) || problem "$free GB free at $where, $min_disk_gb GB are needed: make room, or choose another place (DPE_CACHE, Docker's data-root)"
  done
}

plan_memory() {
  local free
  free=$(awk '/^MemAvailable/ {printf "%d", $2 / 1048576}' /proc/meminfo)
  ((free >= 4)) || note "memory: only $free GB are free; four nodes and the tests want 6"
}

ask_once() {
  [ "${YES:-0}" != 1 ] && [ -t 0 ] && [ -t 2 ] || return 0
  local answer
  read -r -p "        Go on? [Y/n] " answer
  case $answer in '' | y | Y | yes) ;; *) die "stopped, nothing was changed" ;; esac
}

# make_plan REASON: sets $path; ends the run if anything is missing
make_plan() {
  local engine
  engine=$(engine_state)
  say "cluster $CLUSTER: 1 control plane, $workers workers in 3 zones, because: $1"
  plan_engine "$engine"
  plan_source "$engine"
  plan_disk
  plan_memory
  note "files:  $cluster_dir (kubeconfig, shared folder, audit log); nothing else of yours is touched"
  ((${#problems[@]} == 0)) || die "cannot go on, nothing was changed:" "${problems[@]}"
  case $engine in absent | stopped) ask_once ;; esac
}
