#!/usr/bin/env bash
# Builds NGC, encodes a clip with gst-launch-1.0, decodes it, and prints size, quality and speed.
#
#   examples/quickstart.sh [FILE] [QUALITY]     any video that GStreamer can decode; quality 0 (best) to 63, default 38
#
# Where there is a GPU (nvidia-smi finds one), or with NGC_CUDA=1, the elements can use it: libtorch is installed too, and building
# takes ten minutes longer. NGC_CUDA=0 leaves it out.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
input=$(realpath "${1:-$here/examples/media/flower.mp4}")
quality=${2:-38}
[ -r "$input" ] || {
  echo "quickstart: $input cannot be read" >&2
  exit 1
}
cd "$here"
if [ -z "${NGC_CUDA:-}" ] && command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; then
  NGC_CUDA=1
fi
if [ "${NGC_CUDA:-0}" = 1 ]; then
  NGC_CUDA=1 tests/setup.sh
  cargo build --quiet --release -p gst-plugin-ngc --features torch
else
  tests/setup.sh --play
  cargo build --quiet --release -p gst-plugin-ngc
fi
cargo build --quiet --release -p ngc-examples
export GST_PLUGIN_PATH=$here/target/plugins
out=$here/target/quickstart
mkdir -p "$out"

run() {
  printf '\n+ '
  printf '%q ' "$@"
  printf '\n'
  "$@"
}

echo "The elements are found through: export GST_PLUGIN_PATH=$GST_PLUGIN_PATH"
run gst-launch-1.0 -q filesrc "location=$input" ! decodebin ! videoconvert ! ngcenc "quality=$quality" ! filesink "location=$out/clip.ngc"
run gst-launch-1.0 -q filesrc "location=$out/clip.ngc" ! ngcparse ! ngcdec ! videoconvert ! jpegenc ! multifilesink "location=$out/frame-%03d.jpg" max-files=1
run gst-launch-1.0 -q filesrc "location=$out/clip.ngc" ! ngcparse ! mp4mux ! filesink "location=$out/clip.mp4"
printf '\nPlay it where there is a screen: GST_PLUGIN_PATH=%q gst-play-1.0 %q\n' "$GST_PLUGIN_PATH" "$out/clip.mp4"
target/release/measure "$input" "$out/clip.ngc" "$quality"
