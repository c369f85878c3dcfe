#!/usr/bin/env bash
# Makes a kit for training on a GPU machine that has PyTorch and nothing else of ours: no network, no cargo, no GStreamer. The kit is
# parts of at most 45 MiB, folders that can be sent one after another; each holds `run` (tests/gpu/run), which says how to use it.
#
#   tests/gpu.sh [OPTIONS]
#     --data DIR        shards of `ngc-trainer prepare`, or packs of `ngc-trainer data pack`; by default shards of the sample clip
#     --init FILE       checkpoint (`ngc-trainer init`, a stage's) or model file to start from (models/rt.safetensors)
#     --schedule FILE   stages (trainer/schedules/gpu.toml)
#     --extra FILE=NAME another file that the schedule names as /tmp/ngc-kit/NAME, such as weights of LPIPS; several times
#     --stage NAME      rehearse this stage alone
#     --minutes M       of training in the rehearsal (1)
#     --max-mib N       of training data (100)
#     --out DIR         of the parts (target/gpu-kit)
#     --rehearse        then run the kit here, with tiny batches on the CPU's libtorch, in an empty folder and environment
set -euo pipefail
cd "$(dirname "$0")/.."

PART_MIB=45
data='' init=models/rt.safetensors schedule=trainer/schedules/gpu.toml stage='' minutes=1 max_mib=100 out=target/gpu-kit rehearse=0 extra=()
build=${CARGO_TARGET_DIR:-target}/release/ngc-trainer

fail() {
  printf 'gpu.sh: %s\n' "$*" >&2
  exit 1
}

while [ $# -gt 0 ]; do
  case $1 in
    --data) data=$2; shift 2 ;;
    --init) init=$2; shift 2 ;;
    --schedule) schedule=$2; shift 2 ;;
    --extra) extra+=("$2"); shift 2 ;;
    --stage) stage=$2; shift 2 ;;
    --minutes) minutes=$2; shift 2 ;;
    --max-mib) max_mib=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    --rehearse) rehearse=1; shift ;;
    *) fail "unknown option $1" ;;
  esac
done
for file in "$init" "$schedule" ${extra[@]+"${extra[@]%=*}"}; do
  [ -e "$file" ] || fail "$file does not exist"
done

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

if [ -z "$data" ]; then
  cargo build --quiet --release -p ngc-trainer
  "$build" prepare --clips examples/media/flower.mp4 --out "$scratch/shards" --short-side 180 --max-frames 60 >/dev/null
  data=$scratch/shards
fi

# Without GStreamer, without symbols, squeezed.
cargo build --quiet --release -p ngc-trainer --no-default-features
cp "$build" "$scratch/trainer"
strip "$scratch/trainer"
! readelf -d "$scratch/trainer" | grep -E 'NEEDED.*(gst|glib|gobject)' || fail 'the trainer needs GStreamer'
xz -T2 "$scratch/trainer"

rm -rf "$out"
mkdir -p "$out/1"
if compgen -G "$data/*.pack" >/dev/null; then
  mkdir "$scratch/packs"
  cp "$data"/*.pack "$scratch/packs/"
else
  "$build" data pack --data "$data" --out "$scratch/packs" --max-mib "$max_mib" --part-mib $PART_MIB
fi
cp "$scratch/trainer.xz" "$out/1/trainer.xz"
cp "$init" "$out/1/start.safetensors"
cp "$schedule" "$out/1/schedule.toml"
# What is left goes into the first part that has room for it: extra files first, small packs before large ones.
put() {
  local part=1 size
  size=$(stat -c %s "$1")
  while mkdir -p "$out/$part" && [ $(($(du -sb "$out/$part" | cut -f1) + size)) -gt $(((PART_MIB << 20) + 65536)) ] &&
    [ -n "$(ls "$out/$part")" ]; do
    part=$((part + 1))
  done
  cp "$1" "$out/$part/$2"
}
for file in ${extra[@]+"${extra[@]}"}; do
  put "${file%=*}" "${file##*=}"
done
for pack in $(ls -Sr "$scratch/packs"); do
  put "$scratch/packs/$pack" "$pack"
done
for folder in "$out"/*/; do
  cp tests/gpu/run "$folder"
done
du -sh "$out"/*/

if [ $rehearse -eq 1 ]; then
  # Nothing of the checkout, of this shell or of a GPU.
  empty=$scratch/empty
  mkdir -p "$empty/sent" "$empty/out"
  lib=$(realpath "${NGC_TORCH_LIB:-target/libtorch/site/torch/lib}")
  alone=(env -i "PATH=/usr/bin:/bin" "NGC_KIT=$empty/kit" "OUT=$empty/out" "NGC_TORCH_LIB=$lib" NGC_DEVICE=cpu
    NGC_CHECK_SECONDS=300 'NGC_CHECK_OPTIONS=--batch 1 --crop 64 --steps 1' NGC_COLLECT_SECONDS=20 NGC_CHECKPOINT_SECONDS=10)
  small=(--set batch.clips=2 --set batch.crop=64 --set 'clip.unroll=2:1,3:1' --set clip.lead-in=0)
  for folder in "$out"/*/; do
    cp -r "$folder" "$empty/sent/"
  done
  cd "$empty"
  last=$(ls sent | tail -n1)
  for number in $(ls sent); do
    [ "$number" = "$last" ] || "${alone[@]}" "sent/$number/run" add
  done
  "${alone[@]}" "sent/$last/run" train --minutes "$minutes" ${stage:+--stage "$stage"} "${small[@]}"
  python3 - <<'P'
import json, os
files = sorted(os.listdir("out"))
assert len(files) <= 8 and all(os.path.getsize(f"out/{f}") <= 16 << 20 for f in files), files
for name in ("model.safetensors", "checkpoint.safetensors", "logs.tar.gz"):
    assert any(f.startswith(name) for f in files), (name, files)
results = json.load(open("out/results.json"))
assert results["check"] and all(abs(c["device_loss"] / c["cpu_loss"] - 1) < 0.01 for c in results["check"]), results["check"]
for name, stage in results["stages"].items():
    scores = [(stage[k] or {}).get("held_out/score") for k in ("held_out_before", "held_out_after")]
    print(f"{name}: {stage['steps']} steps, held-out score {scores[0]} before, {scores[1]} after")
print(f"rehearsed: {', '.join(files)}")
P
fi
