#!/usr/bin/env bash
# Installs what NGC needs to build, on Debian 12 or a relative of it. Safe to run again; a finished set-up takes no time.
#
#   tests/setup.sh --play       what the elements need: GStreamer; no libtorch, no Python
#   tests/setup.sh              also libtorch for the CPU: training, the paper profile, all tests
#   NGC_CUDA=1 tests/setup.sh   libtorch with CUDA
#   NGC_MPI=1 tests/setup.sh    also what distributed training needs
#   NGC_TORCH_LIB=DIR ...       use the libtorch 2.11 in DIR instead (the folder of libtorch_cpu.so)
set -euo pipefail
cd "$(dirname "$0")/.."

TORCH_VERSION=2.11.0
TYPOS_VERSION=1.52.0
TARGET=${NGC_TARGET:-target}/libtorch
TOOLS=${NGC_TARGET:-target}/tools
PACKAGES="build-essential pkg-config libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev gstreamer1.0-tools
  gstreamer1.0-plugins-base gstreamer1.0-plugins-base-apps gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav"

play=0
[ "${1:-}" = --play ] && play=1

# What tests of batches, of installing and of the examples in C and Python need; they are skipped without.
EXTRA_PACKAGES="parallel procps meson ninja-build ges1.0-tools python3-gi gir1.2-gst-plugins-base-1.0 python3-numpy"
MPI_PACKAGES="libopenmpi-dev openmpi-bin libclang-dev"

fail() {
  printf 'setup: %s\n' "$*" >&2
  exit 1
}

need_rust() {
  command -v cargo >/dev/null || fail "cargo is missing: install Rust 1.95 or newer with rustup"
  local version
  version=$(cargo --version | cut -d' ' -f2)
  [ "$(printf '1.95\n%s\n' "$version" | sort -V | head -n1)" = 1.95 ] ||
    fail "cargo $version is too old: run 'rustup update stable' for Rust 1.95 or newer"
}

need_packages() {
  local missing=() wanted=$PACKAGES
  [ $play -eq 0 ] && wanted="$wanted python3"
  [ $play -eq 0 ] && [ "$(id -u)" -eq 0 ] && wanted="$wanted $EXTRA_PACKAGES"
  [ "${NGC_MPI:-0}" = 1 ] && wanted="$wanted $MPI_PACKAGES"
  for package in $wanted; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
  done
  [ $play -eq 1 ] || python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
  [ ${#missing[@]} -eq 0 ] && return
  if [ "$(id -u)" -ne 0 ]; then
    fail "packages are missing; run: sudo apt-get install --no-install-recommends ${missing[*]}"
  fi
  echo "setup: installing ${missing[*]}"
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
}

pip_install() {
  local folder=$1
  shift
  # Debian's own pip refuses to install outside a virtual environment; a target folder harms nothing.
  local options=(--quiet --disable-pip-version-check --target "$folder")
  if python3 -m pip install --help | grep -q break-system-packages; then
    options+=(--break-system-packages)
  fi
  python3 -m pip install "${options[@]}" "$@"
}

need_torch() {
  local lib kind=cpu
  [ "${NGC_CUDA:-0}" = 1 ] && kind=cuda
  if [ -n "${NGC_TORCH_LIB:-}" ]; then
    [ -e "$NGC_TORCH_LIB/libtorch_cpu.so" ] || fail "NGC_TORCH_LIB=$NGC_TORCH_LIB holds no libtorch_cpu.so"
    lib=$NGC_TORCH_LIB
    mkdir -p "$TARGET/site"
    ln -sfn "$(dirname "$(realpath "$lib")")" "$TARGET/site/torch"
  else
    # The stamp is written last, so an interrupted installation starts again.
    if [ "$(cat "$TARGET/.stamp" 2>/dev/null)" != "$TORCH_VERSION $kind" ]; then
      echo "setup: installing libtorch $TORCH_VERSION ($kind)"
      mkdir -p "$TARGET"
      rm -rf "$TARGET/new" "$TARGET/.stamp"
      if [ $kind = cuda ]; then
        pip_install "$TARGET/new" "torch==$TORCH_VERSION"
      else
        # libtorch_cpu.so of this wheel needs these two even where there is no GPU.
        pip_install "$TARGET/new" --no-deps "torch==$TORCH_VERSION" 'nvidia-cuda-runtime==13.0.*' 'nvidia-cuda-cupti==13.0.*'
        rm -f "$TARGET"/new/torch/lib/libtorch_cuda*.so
      fi
      rm -rf "$TARGET/site"
      mv "$TARGET/new" "$TARGET/site"
      echo "$TORCH_VERSION $kind" >"$TARGET/.stamp"
    fi
    lib=$TARGET/site/torch/lib
  fi
  # torch-sys links libtorch_cuda whenever it finds it; it is opened at run time instead.
  mkdir -p "$TARGET/link/lib"
  local file
  for file in "$lib"/*.so*; do
    case $(basename "$file") in
      libtorch_cuda*) ;;
      *) ln -sf "$(realpath "$file")" "$TARGET/link/lib/" ;;
    esac
  done
}

# A spelling checker for the lint stage; without it that check is skipped.
need_typos() {
  [ -x "$TOOLS/bin/typos" ] && return
  echo "setup: installing typos $TYPOS_VERSION"
  pip_install "$TOOLS" --no-deps "typos==$TYPOS_VERSION" || echo "setup: typos cannot be installed; spelling is not checked"
}

# A folder with the plugin alone: GStreamer scans folders to the bottom, and cargo's own are full of other libraries.
plugin_folder() {
  mkdir -p target/plugins
  ln -sfn ../release/libgstngc.so target/plugins/libgstngc.so
}

need_rust
need_packages
[ $play -eq 1 ] || need_torch
[ $play -eq 1 ] || need_typos
plugin_folder
