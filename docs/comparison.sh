#!/usr/bin/env bash
# Makes docs/comparison.png: the same part of the same frame, original, x265 and NGC at equal size.
#
# Nothing is chosen by hand: the clip is the one in the repository, the frame is its middle one, the part is the centre, and the
# qualities are the default and a low one. x265 (preset medium, no B-frames, one keyframe) gets the smallest stream that is not
# smaller than NGC's, in steps of 0.1 CRF. Needs the plugin, x265enc and libav (tests/setup.sh installs them).
set -euo pipefail
cd "$(dirname "$0")/.."
clip=examples/media/flower.mp4
frame=46
qualities=(38 52)
width=300 height=200
export GST_PLUGIN_PATH=${GST_PLUGIN_PATH:-$PWD/target/plugins}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

launch() { timeout 600 gst-launch-1.0 -q "$@"; }
raw=(filesrc location=$clip ! decodebin ! videoconvert ! video/x-raw,format=I420)

# crop NAME SOURCE...: the part of the frame, as a picture.
crop() {
  local name=$1
  shift
  launch "$@" ! videoconvert ! aspectratiocrop aspect-ratio=3/2 ! videocrop \
    left=$(((540 - width) / 2)) right=$(((540 - width) / 2)) top=$(((360 - height) / 2)) bottom=$(((360 - height) / 2)) \
    ! pngenc ! multifilesink location="$work/$name-%03d.png"
  mv "$work/$name-$(printf %03d $frame).png" "$work/$name.png"
  rm "$work/$name"-*.png
}

# x265 at a CRF given in tenths; prints the size.
x265() {
  launch "${raw[@]}" ! x265enc speed-preset=medium \
    option-string="crf=$(($1 / 10)).$(($1 % 10)):bframes=0:keyint=1000:scenecut=0:info=0:log-level=none" ! h265parse ! filesink location="$2" >/dev/null
  stat -c %s "$2"
}

bottom=$((height + 22))
mix=() row=0
for quality in "${qualities[@]}"; do
  launch "${raw[@]}" ! ngcenc quality="$quality" ! filesink location="$work/$quality.ngc"
  size=$(stat -c %s "$work/$quality.ngc")
  low=150 high=510 # tenths of CRF; `low` is never too small
  while [ $((high - low)) -gt 1 ]; do
    middle=$(((low + high) / 2))
    if [ "$(x265 $middle "$work/try.h265")" -ge "$size" ]; then low=$middle; else high=$middle; fi
  done
  other=$(x265 $low "$work/$quality.h265")
  echo "quality $quality: NGC $size bytes, x265 $other bytes at CRF $((low / 10)).$((low % 10))"
  crop "original$quality" "${raw[@]}"
  crop "x265$quality" filesrc location="$work/$quality.h265" ! h265parse ! avdec_h265
  crop "ngc$quality" filesrc location="$work/$quality.ngc" ! ngcparse ! ngcdec
  for column in 0 1 2; do
    kind=(original x265 ngc)
    label=(original "x265, $other bytes" "NGC, $size bytes, quality $quality")
    pad=$((row * 3 + column))
    mix+=(filesrc location="$work/${kind[column]}$quality.png" ! pngdec ! videoconvert ! videobox bottom=-22 fill=white
      ! textoverlay "text=${label[column]}" valignment=bottom halignment=center ypad=1 "font-desc=Sans 17" color=0xff000000 outline-color=0 draw-shadow=false
      ! "m.sink_$pad")
  done
  row=$((row + 1))
done
layout=()
for pad in 0 1 2 3 4 5; do
  layout+=("sink_$pad::xpos=$((pad % 3 * (width + 6)))" "sink_$pad::ypos=$((pad / 3 * (bottom + 6)))")
done
launch compositor name=m background=white "${layout[@]}" ! videoconvert ! pngenc snapshot=true ! filesink location=docs/comparison.png "${mix[@]}"
