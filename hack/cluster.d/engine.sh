# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared between the parts
# SPDX-License-Identifier: Apache-2.0
#
# The Docker engine: found by `docker info` (a client without an engine exists), else installed from Debian's or
# Ubuntu's packages and started. Without systemd the daemon is started here, with its pid and log in the cache.

engine_dir=$cache/engine
engine_pid_file=$engine_dir/dockerd.pid
engine_log=$engine_dir/dockerd.log

engine_answers() { [ -n "$(timeout 20 docker info --format '{{.ServerVersion}}' 2>/dev/null)" ]; }
engine_root() { timeout 20 docker info --format '{{.DockerRootDir}}' 2>/dev/null || true; }
has_systemd() { [ -d /run/systemd/system ]; }

is_debian_like() {
  [ -r /etc/os-release ] && (. /etc/os-release && [[ " $ID ${ID_LIKE:-} " == *" debian "* || $ID == ubuntu ]])
}

# A machine whose bounding set lacks CAP_SYS_RESOURCE (bit 24) refuses a whole privileged container.
lacks_sys_resource() {
  local bounding
  bounding=$(awk '/^CapBnd/ {print $2}' /proc/self/status)
  (((16#$bounding >> 24 & 1) == 0))
}

# pid_is PID NAME: is this process there, and of that name? (a pid file outlives its process, and pids come back)
pid_is() { [ -n "$1" ] && [ "$(cat "/proc/$1/comm" 2>/dev/null)" = "$2" ]; }

engine_state() { # running | stopped (installed, not running) | absent | foreign (cannot be managed here) | denied
  if engine_answers; then echo running
  elif [[ $(docker info 2>&1) == *'ermission denied'* ]]; then echo denied
  elif [ -n "${DOCKER_HOST:-}" ] || [ "$(uname -s)" != Linux ]; then echo foreign
  elif have dockerd; then echo stopped
  else echo absent
  fi
}

# packages that the work needs and that are not here; one a line
missing_packages() {
  local pair
  for pair in "$@"; do have "${pair%%:*}" || printf '%s\n' "${pair##*:}"; done
}

install_packages() {
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
}

# The runtime wrapper takes the missing capability out of what runc is asked for (see node/runc-without-sys-resource).
write_runtime_wrapper() { # write_runtime_wrapper TARGET REAL-RUNC
  mkdir -p "$(dirname "$1")"
  sed "s#REAL_RUNC#$2#" "$parts/node/runc-without-sys-resource" >"$1.new"
  chmod 755 "$1.new"
  mv "$1.new" "$1"
}

engine_runtime_flags() { # what dockerd needs on the command line; nothing on an ordinary machine
  lacks_sys_resource || return 0
  grep -qs default-runtime /etc/docker/daemon.json && return 0 # somebody has cared for it: a flag beside it is refused
  write_runtime_wrapper "$engine_dir/runc-reduced" "$(command -v runc)"
  printf '%s\n' --add-runtime "reduced=$engine_dir/runc-reduced" --default-runtime reduced
}

# What a killed daemon leaves behind. Nothing is touched while a dockerd lives.
engine_clean_leftovers() {
  local pid
  pid=$(cat /var/run/docker.pid 2>/dev/null || true)
  if pid_is "$pid" dockerd; then
    engine_end_hung "$pid"
  fi
  rm -f /var/run/docker.pid
  pid=$(cat /var/run/docker/containerd/containerd.pid 2>/dev/null || true)
  if ! pid_is "$pid" containerd; then
    rm -f /var/run/docker/containerd/containerd.pid /var/run/docker/containerd/*.sock
  fi
  # with their processes gone (the machine's whole process tree was ended), mounts of containers are only in the way;
  # a network namespace that goes takes its veth with it
  if ! grep -qsa containerd-shim /proc/[0-9]*/comm; then
    awk '$2 ~ "^(/var)?/run/docker/netns/|^/var/lib/docker/(overlay2|containers)/" {print $2}' /proc/mounts |
      sort -r | while read -r mount; do umount -l "$mount" || true; done
  fi
}

# A daemon that is there and does not answer: one that just starts gets time, one of ours that hangs is ended.
engine_end_hung() {
  try_seconds 30 engine_answers && return
  [ "$1" = "$(cat "$engine_pid_file" 2>/dev/null)" ] ||
    die "dockerd (pid $1) runs but does not answer, and was not started by this tool" "restart it, then run this again"
  kill -9 "$1"
  try_seconds 10 engine_gone "$1" || die "dockerd (pid $1) cannot be ended"
}
engine_gone() { ! pid_is "$1" dockerd; }

# The containers' files: a kind node needs many more than the usual 1024; the hard limit is all one may ask for.
engine_spawn() {
  local flags=()
  mapfile -t flags < <(engine_runtime_flags)
  ulimit -n "$(ulimit -Hn)" || true
  [ ! -s "$engine_log" ] || mv "$engine_log" "$engine_log.1"
  # every descriptor above 2 is closed: the daemon must not inherit our locks
  # shellcheck disable=SC2016
  setsid bash -c 'for fd in /proc/self/fd/*; do n=${fd##*/}; ((n > 2)) && eval "exec $n>&-"; done; exec dockerd "$@"' \
    dockerd "${flags[@]}" >"$engine_log" 2>&1 </dev/null &
  printf '%s\n' "$!" >"$engine_pid_file"
}

engine_start() {
  mkdir -p "$engine_dir"
  if has_systemd; then
    systemctl start docker || die "systemctl start docker failed" "see: journalctl -u docker"
  else
    engine_answers && return # the package's own start script may have started it
    engine_clean_leftovers
    engine_answers && return
    engine_spawn
  fi
  try_seconds 60 engine_answers || {
    [ ! -e "$engine_log" ] || tail -n 5 "$engine_log" >&2
    die "dockerd was started and does not answer" "its log: $engine_log"
  }
}

# Many nodes in one kernel share these; 128 instances are too few for four systemds and kubelets with their pods.
raise_inotify_limits() {
  local pair key
  for pair in max_user_instances:1024 max_user_watches:524288; do
    key=/proc/sys/fs/inotify/${pair%%:*}
    [ "$(cat "$key")" -ge "${pair##*:}" ] || { echo "${pair##*:}" >"$key"; } 2>/dev/null ||
      note "fs.inotify.${pair%%:*} is $(cat "$key"): if pods fail with 'too many open files', set ${pair##*:}"
  done
}

# Can it start kind's nodes? Only a runtime that leaves a missing capability out can (an own default runtime is trusted).
engine_fits() { ! lacks_sys_resource || [ "$(docker info --format '{{.DefaultRuntime}}')" != runc ]; }

engine_install() {
  local need=()
  mapfile -t need < <(missing_packages dockerd:docker.io runc:runc iptables:iptables ip:iproute2)
  # a kernel that enforces AppArmor lets no container start without its parser
  if grep -qs Y /sys/module/apparmor/parameters/enabled && ! have apparmor_parser; then need+=(apparmor); fi
  ((${#need[@]})) || return 0
  is_debian_like || die "no Docker engine here, and this is neither Debian nor Ubuntu" "install and start Docker, then run this again"
  logged apt "install ${need[*]}" install_packages "${need[@]}"
  # Debian 13 and newer have the client in a package of its own
  have docker || logged apt "install docker-cli" install_packages docker-cli
  # where the package's start script works, it has started a daemon without our runtime, and nothing runs in it yet
  if engine_answers && ! engine_fits && ! has_systemd; then
    kill "$(cat /var/run/docker.pid)"
    try_seconds 30 engine_is_silent
  fi
}
engine_is_silent() { ! engine_answers; }

# engine_ensure: an engine that answers, installed and started if need be
engine_ensure() {
  case $(engine_state) in
    running) ;;
    denied) die "no right to use the Docker engine" "cure: run as root, or add yourself to the docker group and log in again" ;;
    foreign) die "the Docker engine does not answer${DOCKER_HOST:+ at $DOCKER_HOST}" "start it, then run this again" ;;
    stopped | absent)
      is_root || die "no Docker engine runs, and only root may start one" "cure: start Docker, or run this as root"
      engine_install
      say "start dockerd"
      engine_start ;;
  esac
  engine_fits || die "this machine lacks CAP_SYS_RESOURCE, and Docker's default runtime cannot do without" \
    "cure: end that dockerd and run this again (it starts one with a runtime that can), or set default-runtime in" \
    "      /etc/docker/daemon.json to a wrapper like hack/cluster.d/node/runc-without-sys-resource"
}

# engine_stop: ends the daemon if this tool started it
engine_stop() {
  local pid
  pid=$(cat "$engine_pid_file" 2>/dev/null || true)
  pid_is "$pid" dockerd || return 0
  say "stop dockerd (pid $pid), which this tool had started"
  kill "$pid"
  try_seconds 60 engine_gone "$pid" || die "dockerd (pid $pid) does not end" "its log: $engine_log"
  rm -f "$engine_pid_file"
}
