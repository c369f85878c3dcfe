#!/usr/bin/env bash
# Sets up and runs all tests. `--quick` leaves out the checks in the dev profile and the quickstart; `--full` adds other processors,
# aarch64 under qemu and a build for AVX-512, and the Debian package in a fresh root.
set -uo pipefail
cd "$(dirname "$0")/.."
# Distributed training is tested where its packages can be installed, or are there.
if [ "$(id -u)" -eq 0 ]; then export NGC_MPI=${NGC_MPI:-1}; fi
tests/setup.sh || exit 1

export CARGO_TERM_COLOR=never RUST_BACKTRACE=1 G_DEBUG=fatal_warnings
quick=0
full=0
for option in "$@"; do
  case $option in
    --quick) quick=1 ;;
    --full) full=1 ;;
    *)
      echo "usage: tests/run.sh [--quick] [--full]" >&2
      exit 2
      ;;
  esac
done
passed=0
failed=0

stage() {
  local name=$1 start=$SECONDS
  shift
  printf '\n=== %s\n' "$name"
  if "$@"; then
    passed=$((passed + 1))
    printf '=== ok: %s (%d s)\n' "$name" $((SECONDS - start))
  else
    failed=$((failed + 1))
    printf '=== FAILED: %s (%d s)\n' "$name" $((SECONDS - start))
  fi
}

# What training, the paper profile and GPUs add. Afterwards the plugin is again the one that users get.
with_torch() {
  cargo test --quiet --release -p codec-core --features torch &&
    cargo test --quiet --release -p ngc-trainer &&
    cargo test --quiet --release -p ngc-tests --features torch --test networks --test exactness &&
    cargo build --quiet --release -p gst-plugin-ngc --features torch && plugin_loads &&
    cargo build --quiet --release -p gst-plugin-ngc
}

# All of the code for one kind of processor, whether or not this one is of it: the vector paths are built, not run.
avx512_builds() {
  CARGO_TARGET_DIR=target/avx512 RUSTFLAGS='-C target-cpu=x86-64-v4 -C target-feature=+avx512vnni' \
    cargo build --quiet --release -p codec-core --no-default-features --lib --target x86_64-unknown-linux-gnu
}

plugin_loads() {
  local registry
  registry=$(mktemp)
  rm -f "$registry"
  local inspect=(env GST_REGISTRY="$registry" GST_PLUGIN_PATH=target/plugins gst-inspect-1.0)
  local element
  for element in ngcenc ngcdec ngcparse; do
    # Not --exists: that also compares the plugin's version with GStreamer's own.
    "${inspect[@]}" "$element" >/dev/null || {
      echo "$element does not exist"
      return 1
    }
  done
  if "${inspect[@]}" -b | grep -i ngc; then
    echo "the plugin is blacklisted"
    return 1
  fi
  rm -f "$registry"
}

quickstart() {
  examples/quickstart.sh | tee target/quickstart.log
  tail -n 1 target/quickstart.log | grep -q '^quickstart: ok frames='
}

lint() {
  cargo fmt --check && cargo clippy --quiet --release --workspace --all-targets -- -D warnings
}

# Tests whose names say so; each says if it was skipped.
gpu() {
  cargo test --quiet --release -p codec-core --features torch cuda -- --nocapture &&
    cargo test --quiet --release -p ngc-trainer cuda -- --nocapture &&
    cargo test --quiet --release -p ngc-tests --features torch --test exactness cuda -- --nocapture
}

gpu_kit() {
  tests/gpu.sh --rehearse --minutes 0.5 && cargo build --quiet --release -p ngc-trainer
}

stage 'release build' cargo build --quiet --release
stage 'tests, release profile' cargo test --quiet --release
stage 'the plugin loads with an empty registry' plugin_loads
stage 'meson install and uninstall' tests/install.sh
if cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1; then
  stage 'format and lints' lint
else
  echo 'skipped: format and lints (rustfmt or clippy is not installed)'
fi
if [ $quick -eq 0 ]; then
  stage 'exactness, dev profile' cargo test --quiet -p ngc-tests --test golden
  stage 'quickstart' quickstart
fi
stage 'training, paper profile and other tests with libtorch' with_torch
stage 'kit for a GPU machine, rehearsed' gpu_kit
if command -v mpirun mpicc >/dev/null; then
  stage 'distributed training' cargo test --quiet --release -p ngc-trainer --features mpi --test distributed
else
  echo 'skipped: distributed training (NGC_MPI=1 tests/setup.sh installs OpenMPI)'
fi
if command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; then
  stage 'GPU' gpu
else
  echo 'skipped: GPU tests (no GPU here)'
fi

if [ $full -eq 1 ]; then
  stage 'aarch64, emulated' tests/aarch64.sh
  if [ "$(uname -m)" = x86_64 ]; then
    stage 'AVX-512, built' avx512_builds
  fi
  stage 'Debian package in a fresh root' tests/package.sh
fi

printf '\n%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
