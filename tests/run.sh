#!/usr/bin/env bash
# Sets up and runs all tests. `--quick` leaves out the checks in the dev profile and the quickstart; `--full` adds other processors,
# aarch64 under qemu and a build for AVX-512, and the Debian package in a fresh root. `--lint` does nothing but the lint stage.
set -uo pipefail
cd "$(dirname "$0")/.."
# Distributed training is tested where its packages can be installed, or are there.
if [ "$(id -u)" -eq 0 ]; then export NGC_MPI=${NGC_MPI:-1}; fi
tests/setup.sh || exit 1

export CARGO_TERM_COLOR=never RUST_BACKTRACE=1 G_DEBUG=fatal_warnings
# Tools that tests/setup.sh installs.
PATH=$PWD/${NGC_TARGET:-target}/tools/bin:$PATH
quick=0
full=0
only_lint=0
for option in "$@"; do
  case $option in
    --quick) quick=1 ;;
    --full) full=1 ;;
    --lint) only_lint=1 ;;
    *)
      echo "usage: tests/run.sh [--quick] [--full] [--lint]" >&2
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

# Runs a tool of the lint stage, or says why not.
tool() {
  local name=$1
  shift
  if "$@" --version >/dev/null 2>&1; then return 0; fi
  echo "skipped: $name (not installed; CONTRIBUTING.md says how)"
  return 1
}

# Format, clippy, documentation, spelling, and licences and known holes of dependencies.
lint() {
  local bad=0
  if tool rustfmt cargo fmt; then cargo fmt --check || bad=1; fi
  if tool clippy cargo clippy; then cargo clippy --quiet --release --workspace --all-targets -- -D warnings || bad=1; fi
  RUSTDOCFLAGS='-D warnings' cargo doc --quiet --release --workspace --no-deps || bad=1
  if tool typos typos; then typos || bad=1; fi
  if tool cargo-deny cargo deny; then
    # Its list of known holes comes from the network.
    cargo deny --log-level error check bans licenses sources || bad=1
    if ! cargo deny --log-level error fetch db >/dev/null 2>&1; then
      echo 'skipped: advisories (their list cannot be fetched)'
    else
      cargo deny --log-level error check advisories || bad=1
    fi
  fi
  if tool cargo-semver-checks cargo semver-checks; then
    # Compares with the last release's tag, once there is one.
    local tag
    if tag=$(git describe --tags --match 'v*' --abbrev=0 2>/dev/null); then
      cargo semver-checks --package codec-core --baseline-rev "$tag" || bad=1
    else
      echo 'skipped: cargo-semver-checks (no release yet to compare with)'
    fi
  fi
  return $bad
}

# What codec-core offers without the feature `training`: all of it documented, and little enough to be learnt.
interface() {
  local pages=${CARGO_TARGET_DIR:-target}/doc/codec_core items methods
  RUSTDOCFLAGS='-D warnings' cargo doc --quiet --release -p codec-core --no-deps || return 1
  items=$(grep -oE 'href="[^"#]*\.html"' "$pages/all.html" | cut -d'"' -f2 | grep -E '(struct|enum|trait|fn|constant|static|type|macro)\.' | sort -u)
  # Methods of the types themselves, not those of traits.
  methods=$(cd "$pages" && cat $(grep -E '(struct|enum|trait)\.' <<<"$items") | grep -oE 'id="method\.[a-z0-9_]+" class="method"' | wc -l)
  echo "codec-core: $(wc -l <<<"$items") public items with $methods methods"
  [ $(($(wc -l <<<"$items") + methods)) -lt 130 ]
}

packages() {
  cargo package --quiet --workspace --no-verify --allow-dirty --offline
}

# Tests whose names say so. With NGC_NEED_CUDA a GPU that does not work fails them, and so does a name that selects none.
gpu() {
  local log
  log=$(mktemp)
  (
    set -eo pipefail
    export NGC_NEED_CUDA=1
    for selection in '-p codec-core --features torch --lib' '-p ngc-trainer' '-p ngc-tests --features torch --test exactness'; do
      # shellcheck disable=SC2086
      cargo test --release $selection cuda -- --nocapture 2>&1 | tee "$log"
      grep -q '^running [1-9]' "$log" || {
        echo "no test of a GPU in: $selection"
        exit 1
      }
    done
  )
  local result=$?
  rm -f "$log"
  return $result
}

gpu_kit() {
  tests/gpu.sh --rehearse --minutes 2 && cargo build --quiet --release -p ngc-trainer
}

if [ $only_lint -eq 1 ]; then
  stage 'format, lints, documentation, spelling, dependencies' lint
  [ "$failed" -eq 0 ]
  exit
fi

stage 'release build' cargo build --quiet --release
stage 'tests, release profile' cargo test --quiet --release
stage 'the plugin loads with an empty registry' plugin_loads
stage 'format, lints, documentation, spelling, dependencies' lint
stage 'interface of codec-core' interface
stage 'packages' packages
stage 'meson install and uninstall' tests/install.sh
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
