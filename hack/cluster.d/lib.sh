# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared between the parts
# SPDX-License-Identifier: Apache-2.0
#
# What every part of hack/cluster and hack/images needs: where things are kept, how progress is told, and how a
# command is run so that its output is there when it fails and out of sight when it does not.

cache=${DPE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/dpe-operator}
logs=$cache/logs
mkdir -p "$logs" "$cache/locks"

# Lines of progress go to standard error: standard output is for what other programs read.
say() { last_said=$*; printf '[%4ds] %s\n' "$SECONDS" "$*" >&2; }
note() { printf '        %s\n' "$*" >&2; }
die() {
  printf 'error: %s\n' "$1" >&2
  shift
  (($# == 0)) || printf '       %s\n' "$@" >&2
  finish 1
}

# No end without a word: a command that fails where nobody expected it to would just stop the script (`set -e`).
told=''
finish() { told=yes; exit "$1"; }
trap 'rc=$?; ((rc == 0 || rc > 128)) || [ -n "$told" ] || printf "error: stopped unexpectedly (status %s) after: %s\n" "$rc" "$last_said" >&2' EXIT
last_said='the start'

# A line that counts the seconds, on a terminal only; it ends with the process that wrote it, even with a killed one.
tick() { # tick TITLE: runs until killed
  local started=$SECONDS owner=$$
  while kill -0 "$owner" 2>/dev/null; do
    printf '\r[%4ds] %s (%d s) ' "$SECONDS" "$1" $((SECONDS - started)) >&2
    sleep 1
  done
}

# logged NAME TITLE COMMAND...: run a noisy command, with its output in a file that is shown when it fails.
# The command runs in the foreground, so that Ctrl-C reaches it. Never call this inside a condition: bash would then
# ignore `set -e` inside COMMAND.
logged() {
  local log=$logs/$1.log title=$2 started=$SECONDS ticker='' rc
  shift 2
  if [ -t 2 ]; then tick "$title" & ticker=$!; else say "$title"; fi
  set +e
  (set -e; "$@") >"$log" 2>&1 </dev/null
  rc=$?
  set -e
  if [ -n "$ticker" ]; then
    kill "$ticker" 2>/dev/null
    wait "$ticker" 2>/dev/null || true
    printf '\r[%4ds] %s: %d s        \n' "$SECONDS" "$title" $((SECONDS - started)) >&2
  elif ((SECONDS - started >= 5)); then
    say "  done in $((SECONDS - started)) s"
  fi
  ((rc == 0)) && return
  tail -n 15 "$log" | sed 's/^/        /' >&2
  die "failed: $title" "the whole output: $log"
}

# with_lock NAME COMMAND...: one at a time. The kernel drops the lock when its last holder is gone, so a killed run
# leaves none behind. The commands it started inherit it on purpose: after `kill -9` of this script a half-done
# `kind create` may still run, and the next run has to wait for its end before it cleans up.
with_lock() {
  local file=$cache/locks/$1 fd
  shift
  exec {fd}>>"$file"
  if ! flock -n "$fd"; then
    say "waiting for another run that holds $file"
    flock -w 3600 "$fd" || die "still locked after an hour: $file" "who holds it: fuser -v $file"
  fi
  "$@"
  exec {fd}>&-
}

have() { command -v "$1" >/dev/null 2>&1; }
is_root() { [ "$(id -u)" = 0 ]; }
free_gb() { df -Pk "$1" | awk 'NR == 2 {printf "%d", $4 / 1048576}'; }

# existing PATH: the nearest folder above PATH that is there (df needs one)
existing() {
  local path=$1
  while [ ! -e "$path" ]; do path=$(dirname "$path"); done
  printf '%s\n' "$path"
}

# try_seconds SECONDS COMMAND...: repeat until it succeeds, at most this long
try_seconds() {
  local until=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < until)) || return 1
    sleep 0.5
  done
}
