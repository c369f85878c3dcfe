#!/usr/bin/env bash
# Builds codec-core's tests that need no libtorch for aarch64 and runs them under qemu: NEON against the plain code and the
# specification's second implementations. Installs what that takes where it can; safe to run again. Where something is missing and
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
# A folder of its own, as for the other build without libtorch. Emulated, some tests take a minute.
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target/notorch} exec cargo test --quiet --release -p codec-core --no-default-features --target $TARGET
