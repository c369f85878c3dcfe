#!/usr/bin/env bash
# Builds codec-core's tests that need no libtorch for aarch64 and runs them under qemu: NEON against the plain code and the
# specification's second implementations. Then the plugin, against Debian's GStreamer for aarch64: it encodes a clip, and what it makes
# has to be, byte for byte, what this machine's makes. Installs what that takes where it can; safe to run again. Where something is missing and
# cannot be installed it says `skipped: ...` and succeeds.
set -uo pipefail
cd "$(dirname "$0")/.."

TARGET=aarch64-unknown-linux-gnu
PACKAGES="qemu-user-static gcc-aarch64-linux-gnu libc6-dev-arm64-cross"

skip() {
  printf 'skipped: tests on aarch64 (%s)\n' "$*"
  exit 0
}

case $(uname -m) in
  # No emulation is needed.
  aarch64) exec cargo test --quiet --release -p codec-core --no-default-features ;;
esac

missing=()
for package in $PACKAGES; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  command -v apt-get >/dev/null || skip "${missing[*]} not installed, and there is no apt-get"
  [ "$(id -u)" -eq 0 ] || skip "not installed: sudo apt-get install --no-install-recommends ${missing[*]}"
  echo "aarch64: installing ${missing[*]}"
  install() { DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null 2>&1; }
  install || { apt-get update -q >/dev/null 2>&1 && install; } || skip "apt-get cannot install ${missing[*]}"
fi
if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$TARGET/lib" ]; then
  command -v rustup >/dev/null || skip "Rust's standard library for $TARGET is missing, and there is no rustup"
  rustup target add "$TARGET" || skip "rustup cannot add $TARGET"
fi

export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -L /usr/aarch64-linux-gnu"
target=${CARGO_TARGET_DIR:-target/notorch}
here=${CARGO_TARGET_DIR:-target}/release/libgstngc.so

skip_plugin() {
  printf 'skipped: the plugin on aarch64 (%s)\n' "$*"
  exit 0
}

# Against Debian's libraries, which lie in a folder of their own and need no installing.
plugin() {
  command -v mmdebstrap >/dev/null || skip_plugin "not installed: apt-get install mmdebstrap"
  command -v gst-launch-1.0 >/dev/null || skip_plugin "no GStreamer on this machine to compare with"
  [ -e "$here" ] || skip_plugin "not built for this machine: cargo build --release"
  local root libraries
  root=$(realpath -m "${NGC_ARM64_ROOT:-target/arm64-root}")
  if [ ! -e "$root/usr/bin/gst-launch-1.0" ]; then
    rm -rf "$root" "$root.new"
    mmdebstrap --quiet --arch=arm64 --variant=extract --include=libgstreamer-plugins-base1.0-dev,gstreamer1.0-tools,gstreamer1.0-plugins-base \
      bookworm "$root.new" >/dev/null 2>&1 || skip_plugin "mmdebstrap cannot fetch GStreamer for arm64"
    mv "$root.new" "$root"
  fi
  libraries=$root/usr/lib/aarch64-linux-gnu:$root/lib/aarch64-linux-gnu
  PKG_CONFIG_ALLOW_CROSS=1 PKG_CONFIG_SYSROOT_DIR=$root PKG_CONFIG_LIBDIR=$root/usr/lib/aarch64-linux-gnu/pkgconfig:$root/usr/share/pkgconfig \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C link-arg=--sysroot=$root -C link-arg=-Wl,-rpath-link,$root/usr/lib/aarch64-linux-gnu" \
    CARGO_TARGET_DIR=$target cargo build --quiet --release -p gst-plugin-ngc --lib --target $TARGET || return 1

  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  local clip=(-q videotestsrc num-buffers=10 horizontal-speed=2 ! video/x-raw,format=I420,width=96,height=64 ! ngcenc !)
  mkdir "$work/arm" "$work/here"
  cp "$target/$TARGET/release/libgstngc.so" "$work/arm/"
  cp "$here" "$work/here/"
  arm() {
    timeout 300 qemu-aarch64-static -L "$root" -E LD_LIBRARY_PATH="$libraries" -E GST_REGISTRY="$work/arm/registry" -E GST_REGISTRY_FORK=no \
      -E GST_PLUGIN_SYSTEM_PATH="$root/usr/lib/aarch64-linux-gnu/gstreamer-1.0" -E GST_PLUGIN_PATH="$work/arm" "$root/usr/bin/$1" "${@:2}"
  }
  export GST_REGISTRY=$work/here/registry GST_PLUGIN_PATH=$work/here
  arm gst-inspect-1.0 ngcenc >/dev/null || return 1
  arm gst-launch-1.0 "${clip[@]}" filesink location="$work/arm.ngc" && gst-launch-1.0 "${clip[@]}" filesink location="$work/here.ngc" || return 1
  cmp "$work/arm.ngc" "$work/here.ngc" || return 1
  # And what it shows of it.
  local show=(-q filesrc location="$work/here.ngc" ! ngcparse ! ngcdec !)
  arm gst-launch-1.0 "${show[@]}" filesink location="$work/arm.yuv" && gst-launch-1.0 "${show[@]}" filesink location="$work/here.yuv" || return 1
  cmp "$work/arm.yuv" "$work/here.yuv" && echo "aarch64: the plugin makes and shows the same bytes as here"
}

# A folder of its own, as for the other build without libtorch. Emulated, some tests take a minute.
[ "${1:-}" = --plugin ] || CARGO_TARGET_DIR=$target cargo test --quiet --release -p codec-core --no-default-features --target $TARGET || exit 1
plugin
