#!/usr/bin/env bash
# Builds with cargo what meson installs, and copies it into meson's build folder. Cargo knows what is up to date.
#
#   cargo-build.sh CARGO SOURCE_FOLDER OUTPUT_FOLDER TRIPLE NAME...     TRIPLE: the processor to build for, or `native`
#
# CARGO_TARGET_DIR is respected. Where the source folder holds `vendor/` (from cargo vendor), nothing is downloaded.
set -euo pipefail
cargo=$1 source=$2 output=$3 triple=$4
shift 4
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$source/target}
built=$CARGO_TARGET_DIR/release

options=(--release --locked --manifest-path "$source/Cargo.toml" --config "$source/.cargo/config.toml")
if [ -d "$source/vendor" ]; then
  options+=(--offline --config 'source.crates-io.replace-with="vendored"' --config "source.vendored.directory=\"$source/vendor\"")
fi
if [ "$triple" != native ]; then
  options+=(--target "$triple")
  built=$CARGO_TARGET_DIR/$triple/release
fi

plugin=()
trainer=()
for name in "$@"; do
  case $name in
    libgstngc.so) plugin+=(-p gst-plugin-ngc --lib) ;;
    ngc-trainer) trainer+=(-p ngc-trainer --bin "$name") ;;
    *) plugin+=(-p ngc-examples --bin "$name") ;;
  esac
done
"$cargo" build "${options[@]}" "${plugin[@]}"
# On its own, or the plugin would get libtorch with it.
[ ${#trainer[@]} -eq 0 ] || "$cargo" build "${options[@]}" "${trainer[@]}"
for name in "$@"; do
  cp "$built/$name" "$output/"
done
