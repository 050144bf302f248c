#!/usr/bin/env bash
# Finds the third-party programs of the local world and prints their paths, one a line, in the order asked.
#
#   testing/controlplane/ensure.sh [etcd|kube-apiserver|kube-controller-manager|kubectl|helm]...
#
# Each is looked for in this order: its environment variable (ETCD, KUBE_APISERVER,
# KUBE_CONTROLLER_MANAGER, KUBECTL, HELM), PATH (if recent enough), the cache .local/bin, the
# official download (checksum verified), and a build from the Go module registry. What is downloaded
# or built lands in the cache. Progress goes to standard error.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=$root/.local/bin
# shellcheck source=../versions.env
source "$root/testing/versions.env"

all=(etcd kube-apiserver kube-controller-manager kubectl helm)
work=

say() { printf '[tools] %s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

pinned() {
  case $1 in
    etcd) echo "$ETCD_VERSION" ;;
    helm) echo "$HELM_VERSION" ;;
    *) echo "$K8S_VERSION" ;;
  esac
}

# The oldest version on PATH that will do: the API server must evaluate every CEL rule we use, the
# clients only have to speak to it.
oldest() {
  case $1 in
    etcd) echo 3.5.0 ;;
    kubectl) echo 1.30.0 ;;
    helm) echo 3.14.0 ;;
    *) echo 1.34.0 ;;
  esac
}

version_of() { # program path -> x.y.z, empty if it does not say
  local out
  case $1 in
    kubectl) out=$("$2" version --client 2>/dev/null) ;;
    helm) out=$("$2" version --short 2>/dev/null) ;;
    *) out=$("$2" --version 2>/dev/null) ;;
  esac
  grep -oE '[0-9]+\.[0-9]+\.[0-9]+' <<<"$out" | head -n 1
}

at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; } # oldest have

found() { # program -> path, or fails: environment variable, PATH, cache
  local name=$1 path have variable
  variable=$(tr 'a-z-' 'A-Z_' <<<"$name")
  path=${!variable:-}
  if [ -n "$path" ]; then
    [ -x "$path" ] || die "\$$variable is $path, which is not an executable file; correct or unset it"
    realpath -s "$path"
    return
  fi
  if path=$(command -v "$name") && [ "$path" != "$cache/$name" ]; then
    have=$(version_of "$name" "$path" || true)
    if [ -n "$have" ] && at_least "$(oldest "$name")" "$have"; then
      echo "$path"
      return
    fi
  fi
  [ -x "$cache/$name" ] && [ "$(version_of "$name" "$cache/$name" || true)" = "$(pinned "$name")" ] \
    && echo "$cache/$name"
}

platform() {
  case $(uname -m) in
    x86_64) echo amd64 ;;
    aarch64 | arm64) echo arm64 ;;
    *) die "no control plane for machine type $(uname -m)" ;;
  esac
}

declare -A unreachable=()

get() { # url file
  local host=${1#https://}
  host=${host%%/*}
  # Asked once in vain is enough: where nothing answers, each attempt costs the whole timeout.
  [ -z "${unreachable[$host]:-}" ] || return 1
  curl --fail --silent --show-error --location --connect-timeout 5 --speed-time 20 \
    --speed-limit 20000 --output "$2" "$1" 2>>"$work/download.log" || {
    unreachable[$host]=yes
    return 1
  }
}

# Downloads one program into $work/out, or fails. The checksum is the vendor's; no checksum, no use.
download() {
  local name=$1 arch version base archive sum
  arch=$(platform)
  version=v$(pinned "$name")
  case $name in
    etcd)
      archive=etcd-$version-linux-$arch.tar.gz
      base=https://github.com/etcd-io/etcd/releases/download/$version
      get "$base/SHA256SUMS" "$work/sums" && get "$base/$archive" "$work/$archive" || return 1
      sum=$(awk -v f="$archive" '$2 == f { print $1 }' "$work/sums")
      ;;
    helm)
      archive=helm-$version-linux-$arch.tar.gz
      base=https://get.helm.sh
      get "$base/$archive.sha256sum" "$work/sums" && get "$base/$archive" "$work/$archive" || return 1
      sum=$(awk '{ print $1 }' "$work/sums")
      ;;
    *)
      archive=$name
      base=https://dl.k8s.io/release/$version/bin/linux/$arch
      get "$base/$name.sha256" "$work/sums" && get "$base/$name" "$work/$archive" || return 1
      sum=$(awk '{ print $1 }' "$work/sums")
      ;;
  esac
  if ! echo "$sum  $work/$archive" | sha256sum --check --status; then
    say "$name: the download's checksum is not the published one; not used"
    return 1
  fi
  case $archive in
    *.tar.gz) tar -xzf "$work/$archive" -C "$work/out" --strip-components=1 --wildcards "*/$name" ;;
    *) mv "$work/$archive" "$work/out/$name" ;;
  esac
  chmod 755 "$work/out/$name"
}

# Runs `go build` in a module of ours; `-v` names each package it compiles, which is the progress.
go_build() { # module-directory ldflags package...
  local dir=$1 ldflags=$2 total
  shift 2
  command -v go >/dev/null || die "neither the official download of $* nor Go to build it is at hand.
    Install Go 1.26 or newer, or point the environment variables at the programs"
  export CGO_ENABLED=0 GOFLAGS="-mod=readonly -buildvcs=false" GOWORK=off
  say "fetching Go modules of ${dir#"$root"/}"
  total=$(cd "$dir" && go list -deps "$@" 2>"$work/go.log" | wc -l) || die "go list: $(tail -n 5 "$work/go.log")"
  say "compiling up to $total packages (several CPU minutes the first time)"
  if ! (cd "$dir" && go build -v -trimpath -ldflags "-s -w $ldflags" -o "$work/out/" "$@") 2>&1 \
    | tee "$work/go.log" \
    | awk -v total="$total" '{ n++ } n % 100 == 0 { print "[tools]   " n " of " total; fflush() }' >&2; then
    die "go build failed: $(tail -n 15 "$work/go.log")"
  fi
}

pins() { # module-directory module version: the pin in go.mod and in versions.env is one
  grep -qE "^\s*$2 v$3( |$)" "$1/go.mod" || die "$1/go.mod does not require $2 v$3 as testing/versions.env does"
}

build() {
  local name etcd='' k8s=() base=k8s.io/component-base/version
  for name in "$@"; do
    case $name in
      helm)
        pins "$root/testing/helm" helm.sh/helm/v4 "$HELM_VERSION"
        go_build "$root/testing/helm" \
          "-X helm.sh/helm/v4/internal/version.version=v$HELM_VERSION -X helm.sh/helm/v4/internal/version.gitTreeState=clean" \
          helm.sh/helm/v4/cmd/helm
        ;;
      etcd) etcd=yes ;;
      *) k8s+=("k8s.io/kubernetes/cmd/$name") ;;
    esac
  done
  if [ -n "$etcd" ]; then
    pins "$here" go.etcd.io/etcd/server/v3 "$ETCD_VERSION"
    go_build "$here" "" go.etcd.io/etcd/server/v3
    mv "$work/out/server" "$work/out/etcd" 2>/dev/null || mv "$work/out/v3" "$work/out/etcd"
  fi
  if [ ${#k8s[@]} -gt 0 ]; then
    pins "$here" k8s.io/kubernetes "$K8S_VERSION"
    go_build "$here" "-X $base.gitVersion=v$K8S_VERSION -X $base.gitMajor=$(cut -d. -f1 <<<"$K8S_VERSION") \
-X $base.gitMinor=$(cut -d. -f2 <<<"$K8S_VERSION") -X $base.gitTreeState=clean" "${k8s[@]}"
  fi
}

install_missing() {
  local name path to_build=()
  mkdir -p "$cache"
  exec 9>"$cache/.lock"
  flock 9 # another call may be building the same; then it is in the cache when we get the lock
  work=$(mktemp -d "$cache/.work.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  mkdir "$work/out"
  for name in "$@"; do
    found "$name" >/dev/null && continue
    ! path=$(command -v "$name") || say "$path is not used: need $name $(oldest "$name") or newer"
    say "$name $(pinned "$name"): trying the official download"
    if download "$name"; then
      say "$name $(pinned "$name"): downloaded"
    else
      say "$name $(pinned "$name"): the download cannot be reached from here, it will be built"
      to_build+=("$name")
    fi
  done
  [ ${#to_build[@]} -eq 0 ] || build "${to_build[@]}"
  find "$work/out" -type f -exec mv -t "$cache" {} +
}

[ $# -gt 0 ] || set -- "${all[@]}"
missing=()
for name in "$@"; do
  [[ " ${all[*]} " == *" $name "* ]] || die "unknown program $name; known: ${all[*]}"
  found "$name" >/dev/null || missing+=("$name")
done
[ ${#missing[@]} -eq 0 ] || install_missing "${missing[@]}"
for name in "$@"; do
  found "$name" || die "$name is still not there; see $cache"
done
