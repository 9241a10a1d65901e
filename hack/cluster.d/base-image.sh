# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared between the parts
# SPDX-License-Identifier: Apache-2.0
#
# Images from outside: pulled where a registry can be reached, and a Debian base made from packages where not.
# Used by hack/cluster (node image) and hack/images (the project's own images).

no_registry_minutes=30 # how long a "cannot be pulled" is believed, so that a second run does not wait again
manifest_seconds=20    # how long a registry may take to say that it knows an image

has_image() { docker image inspect "$1" >/dev/null 2>&1; }
image_label() { docker image inspect --format "{{index .Config.Labels \"$2\"}}" "$1" 2>/dev/null || true; }

negative_file() { printf '%s/pull/%s.no\n' "$cache" "${1//[\/:@]/_}"; }
known_unreachable() { [ -n "$(find "$(negative_file "$1")" -mmin -$no_registry_minutes 2>/dev/null)" ]; }
remember_unreachable() { # remember_unreachable IMAGE REASON
  mkdir -p "$cache/pull"
  printf '%s\n' "$2" >"$(negative_file "$1")"
}
unreachable_reason() { cat "$(negative_file "$1")"; }

pull_answered() { grep -Eqs 'Pulling|Download|Extract|Digest|Status' "$1" || ! kill -0 "$2" 2>/dev/null; }

# pull_image IMAGE: true if it is here afterwards. Only the registry's first answer is bounded: the download may take
# its time.
pull_image() {
  local log=$logs/pull.log pid
  has_image "$1" && return
  known_unreachable "$1" && return 1
  docker pull "$1" >"$log" 2>&1 </dev/null &
  pid=$!
  if ! try_seconds $manifest_seconds pull_answered "$log" "$pid"; then
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    remember_unreachable "$1" "no answer from the registry in $manifest_seconds s"
    return 1
  fi
  wait "$pid" && return
  remember_unreachable "$1" "$(tail -n 1 "$log" | sed 's/^Error response from daemon: //' | cut -c1-160)"
  return 1
}

# The Debian tree, as small as the image it stands in for: no documentation, no locales, no package lists.
# It is made in a temporary folder and renamed, so that a half-made one is never taken for a whole one.
debian_suite=bookworm

# Without DEBIAN_MIRROR debootstrap takes Debian's own, and writes down which; security updates lie beside it.
write_apt_settings() { # write_apt_settings TREE
  local mirror security
  mirror=$(awk '$1 == "deb" {print $2; exit}' "$1/etc/apt/sources.list")
  security=${DEBIAN_SECURITY_MIRROR:-${mirror%/debian}/debian-security}
  cat >"$1/etc/apt/sources.list" <<LIST
deb $mirror $debian_suite main
deb $mirror $debian_suite-updates main
deb $security $debian_suite-security main
LIST
  printf 'Apt::Install-Recommends "false";\nAcquire::Languages "none";\n' >"$1/etc/apt/apt.conf.d/90small"
  cat >"$1/etc/dpkg/dpkg.cfg.d/small" <<'DPKG'
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/man/*
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/lintian/*
DPKG
}

make_debian_tree() { # make_debian_tree ARCHIVE
  local tree
  tree=$(mktemp -d "$cache/debian/tree.XXXX")
  debootstrap --variant=minbase "$debian_suite" "$tree" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"}
  write_apt_settings "$tree"
  find "$tree/usr/share/doc" -type f ! -name copyright -delete
  rm -rf "$tree"/usr/share/{man,info,locale,lintian}/* "$tree"/var/{cache/apt,lib/apt/lists,log}/* "$tree"/var/cache/debconf/*-old
  # the host's own name and resolver do not belong into an image
  rm -f "$tree/etc/hostname" "$tree/etc/resolv.conf"
  tar -C "$tree" --one-file-system -cf "$1.new" .
  mv "$1.new" "$1"
  rm -rf "$tree"
}

import_debian_tree() { # import_debian_tree ARCHIVE
  docker import --change 'CMD ["bash"]' --change 'LABEL dev.dpe.made-by=debootstrap' "$1" "$BASE_IMAGE"
}

ensure_debootstrap() {
  have debootstrap && return
  { is_debian_like && is_root; } || die "$BASE_IMAGE cannot be pulled, and only root on Debian or Ubuntu can make it from packages" \
    "cure: load it with 'docker load', or name a registry mirror in Docker's settings"
  # the keyring is what debootstrap checks Debian's signatures with; Ubuntu does not have it from the start
  logged apt "install debootstrap" install_packages debootstrap debian-archive-keyring
}

# ensure_base_image: BASE_IMAGE is here: as it was, pulled, or made
ensure_base_image() {
  local archive
  archive=$cache/debian/$debian_suite-$(uname -m).tar
  has_image "$BASE_IMAGE" && return
  say "look whether $BASE_IMAGE can be pulled"
  pull_image "$BASE_IMAGE" && return
  note "it cannot: $(unreachable_reason "$BASE_IMAGE")"
  ensure_debootstrap
  mkdir -p "$cache/debian"
  rm -rf "$cache"/debian/tree.*
  [ -s "$archive" ] || logged debootstrap "make $BASE_IMAGE from Debian's packages" make_debian_tree "$archive"
  logged import "import $BASE_IMAGE" import_debian_tree "$archive"
}

# build_image TAG CONTEXT [ARGUMENT...]: the host's network is used because it is the one that is known to reach
# Debian's packages (name servers on loopback, proxies); the classic builder because Debian's docker.io has no other.
build_image() {
  local tag=$1 context=$2 name
  shift 2
  local proxies=()
  for name in http_proxy https_proxy no_proxy; do [ -z "${!name:-}" ] || proxies+=(--build-arg "$name=${!name}"); done
  DOCKER_BUILDKIT=0 docker build --force-rm --network host "${proxies[@]}" --build-arg "BASE=$BASE_IMAGE" "$@" -t "$tag" "$context"
}
