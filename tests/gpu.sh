#!/usr/bin/env bash
# Makes a kit for training on a GPU machine that has PyTorch and nothing else of ours: no network, no cargo, no GStreamer. The kit is
# parts of at most 45 MiB, folders that can be sent one after another; each holds `run` (tests/gpu/run), which says how to use it.
#
#   tests/gpu.sh [OPTIONS]
#     --data DIR        shards of `ngc-trainer prepare`, or packs of `ngc-trainer data pack`; by default shards of the sample clip,
#                       whose last third is held out
#     --init FILE       checkpoint (`ngc-trainer init`, a stage's) or model file to start from (models/rt.safetensors)
#     --schedule FILE   stages (trainer/schedules/continue.toml; trainer/schedules/gpu.toml for fresh networks)
#     --extra FILE=NAME another file that the schedule names as /tmp/ngc-kit/NAME, such as weights of LPIPS; several times
#     --stage NAME      rehearse this stage alone
#     --minutes M       of the whole rehearsal (4)
#     --max-mib N       of training data (100)
#     --out DIR         of the parts (target/gpu-kit)
#     --rehearse        then run the kit here, with tiny batches on the CPU's libtorch, in an empty folder and environment. Without
#                       --init it goes on from a young checkpoint of small networks, which cannot but learn: a held-out score that does
#                       not improve fails it
set -euo pipefail
cd "$(dirname "$0")/.."

PART_MIB=45
data='' init='' schedule=trainer/schedules/continue.toml stage='' minutes=4 max_mib=100 out=target/gpu-kit rehearse=0 extra=()
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
start=${init:-models/rt.safetensors}
for file in "$start" "$schedule" ${extra[@]+"${extra[@]%=*}"}; do
  [ -e "$file" ] || fail "$file does not exist"
done

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

if [ -z "$data" ]; then
  cargo build --quiet --release -p ngc-trainer
  data=$scratch/shards
  for name in trained held-out; do
    cp examples/media/flower.mp4 "$scratch/$name.mp4"
  done
  printf '[[source]]\nfiles = ["%s"]\nkind = "clip"\nlicence = "%s"\ncut = [%d, %d]\nheld-out = %s\n' \
    trained.mp4 'see examples/media' 0 60 false held-out.mp4 'see examples/media' 64 94 true >"$scratch/manifest.toml"
  "$build" prepare --manifest "$scratch/manifest.toml" --out "$data" --short-side 180 >/dev/null
fi

# Without GStreamer, without symbols, without this machine's paths, squeezed.
NGC_NO_RPATH=1 cargo build --quiet --release -p ngc-trainer --no-default-features
cp "$build" "$scratch/trainer"
strip "$scratch/trainer"
! readelf -d "$scratch/trainer" | grep -E 'NEEDED.*(gst|glib|gobject)' || fail 'the trainer needs GStreamer'
! readelf -d "$scratch/trainer" | grep -E 'RPATH|RUNPATH' || fail 'the trainer looks for libraries where they lie on this machine'
lib=$(realpath "${NGC_TORCH_LIB:-target/libtorch/site/torch/lib}")
trainer() { LD_LIBRARY_PATH=$lib OMP_NUM_THREADS=1 "$scratch/trainer" "$@"; }
xz -k -T2 "$scratch/trainer"
trainer schedule "$schedule" --init "$start" --data "$data" --out "$scratch/runs" --check

rm -rf "$out"
mkdir -p "$out/1"
if compgen -G "$data/*.pack" >/dev/null; then
  mkdir "$scratch/packs"
  cp "$data"/*.pack "$scratch/packs/"
else
  trainer data pack --data "$data" --out "$scratch/packs" --max-mib "$max_mib" --part-mib $PART_MIB
fi
cp "$scratch/trainer.xz" "$out/1/trainer.xz"
cp "$start" "$out/1/start.safetensors"
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
  cp tests/gpu/* "$folder"
done
du -sh "$out"/*/

if [ $rehearse -eq 1 ]; then
  # Nothing of the checkout, of this shell or of a GPU.
  empty=$scratch/empty
  mkdir -p "$empty/sent" "$empty/out"
  alone=(env -i "PATH=/usr/bin:/bin" "NGC_KIT=$empty/kit" "OUT=$empty/out" "NGC_TORCH_LIB=$lib" NGC_DEVICE=cpu
    'NGC_CHECK_OPTIONS=--batch 1 --crop 64 --steps 1' NGC_SPEED_SIZES=360p 'NGC_SPEED_OPTIONS=--frames 1'
    'NGC_CODING_OPTIONS=--size 96x64 --frames 4 --memory-frames 24' 'NGC_SCORE_OPTIONS=--clips 1 --frames 4 --qualities 40' NGC_SCORE_SECONDS=8
    NGC_COLLECT_SECONDS=20 NGC_CHECKPOINT_SECONDS=10 NGC_EXPORT_SECONDS=35)
  small=(--set batch.clips=2 --set batch.crop=64 --set 'clip.unroll=2:1,3:1' --set clip.lead-in=0)
  for folder in "$out"/*/; do
    cp -r "$folder" "$empty/sent/"
  done
  if [ -z "$init" ]; then
    # The parts keep the start that they are sent with.
    printf 'kind = "intra"\nbatch = { clips = 2, crop = 64 }\n' >"$scratch/young.toml"
    trainer init --profile rt --width 32 --out "$scratch/fresh.safetensors"
    trainer train "$scratch/young.toml" --init "$scratch/fresh.safetensors" --data "$data" --out "$scratch/young" --steps 10 --device cpu \
      --workers 1
    cp "$scratch/young/checkpoint.safetensors" "$empty/sent/1/start.safetensors"
    small+=(--set optimiser.learning-rate=1e-3)
  fi
  cd "$empty"
  last=$(ls sent | tail -n1)
  for number in $(ls sent); do
    [ "$number" = "$last" ] || "${alone[@]}" "sent/$number/run" add
  done
  "${alone[@]}" "sent/$last/run" train --minutes "$minutes" ${stage:+--stage "$stage"} "${small[@]}"
  python3 - "${init:+given}" <<'P'
import json, os, sys
files = sorted(os.listdir("out"))
assert len(files) <= 8 and all(os.path.getsize(f"out/{f}") <= 16 << 20 for f in files), files
for name in ("model.safetensors", "checkpoint.safetensors", "logs.tar.gz"):
    assert any(f.startswith(name) for f in files), (name, files)
results = json.load(open("out/results.json"))
assert results["check"] and all(abs(c["device_loss"] / c["cpu_loss"] - 1) < 0.01 for c in results["check"]), results["check"]
assert results["device"] and [s["size"] for s in results["speed"]] == ["640x360"], (results["device"], results["speed"])
coding, memory = results["coding"]
assert coding["same_bytes"] and coding["same_symbols"] and coding["same_pictures"], coding
assert memory["of"] == "process" and memory["late_mib"] <= memory["early_mib"] + 16, memory
for when in ("before", "after"):
    (point,) = results["score"][when]["points"]
    print(f"score {when}: {point['bpp']:.4f} bpp, {point['psnr_y']:.2f} dB")
assert results["stages"], "nothing was trained"
for name, stage in results["stages"].items():
    before, after = (stage[k]["held_out/score"] for k in ("held_out_before", "held_out_after"))
    print(f"{name}: {stage['steps']} steps in {stage['seconds']:.0f} s, held-out score {before:.3f} before, {after:.3f} after")
    # Lower is better. What was given may know all that a minute could teach it.
    assert after < before or sys.argv[1], name
print(f"rehearsed in {results['seconds']} s: {', '.join(files)}")
P
fi
