#!/usr/bin/env bash
# Makes one web page with which people compare NGC with x265 at equal size, blind. docs/study.md says what to do with it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

usage() {
  cat <<'END'
usage: examples/blind-study.sh [OPTIONS] [FILE...]

Makes a web page for a blind comparison of NGC with x265 at equal size. FILEs are videos that GStreamer decodes;
without any, the clip in examples/media is used.

  --quality N       quality of NGC, 0 (best) to 63 (default 43); x265 gets the CRF whose stream is nearest in size
  --seconds S       seconds of each clip, from its beginning (default 2)
  --height H        clips that are higher are scaled to this height; even (default 270)
  --fps N           frames per second of the page, 1 to 120 (default 25)
  --x265-tune NAME  none (default), psnr, ssim, grain or animation
  --model FILE      model file of NGC in place of the built-in model
  --out FILE        the page (default study.html)
  --keep DIR        keeps streams, decoded clips and study.toml there
  --crops DIR       writes a picture of each clip there: original, NGC and x265; not for raters (needs python3-pil)
  --help            this text

NGC_TRAINER names the program ngc-trainer, and GST_PLUGIN_PATH the folder of the NGC plugin, if they are not in target.
END
}

fail() {
  echo "blind-study: $*" >&2
  exit 1
}

wrong() {
  echo "blind-study: $*; --help lists the options" >&2
  exit 2
}

quality=43 seconds=2 height=270 fps=25 tune=none model='' out=study.html keep='' crops=''
files=()
while [ $# -gt 0 ]; do
  case $1 in
    --help | -h)
      usage
      exit
      ;;
    --quality | --seconds | --height | --fps | --x265-tune | --model | --out | --keep | --crops)
      [ $# -gt 1 ] && [ -n "$2" ] || wrong "$1 needs a value"
      case $1 in
        --quality) quality=$2 ;;
        --seconds) seconds=$2 ;;
        --height) height=$2 ;;
        --fps) fps=$2 ;;
        --x265-tune) tune=$2 ;;
        --model) model=$2 ;;
        --out) out=$2 ;;
        --keep) keep=$2 ;;
        --crops) crops=$2 ;;
      esac
      shift
      ;;
    --)
      shift
      files+=("$@")
      break
      ;;
    -*) wrong "unknown option $1" ;;
    *) files+=("$1") ;;
  esac
  shift
done

whole() { # NAME VALUE LOWEST HIGHEST
  [[ $2 =~ ^(0|[1-9][0-9]{0,4})$ ]] && [ "$2" -ge "$3" ] && [ "$2" -le "$4" ] || wrong "$1 must be a whole number from $3 to $4, not $2"
}
whole --quality "$quality" 0 63
whole --height "$height" 32 8192
[ $((height % 2)) -eq 0 ] || wrong "--height must be even, not $height"
whole --fps "$fps" 1 120
[[ $seconds =~ ^[0-9]{1,4}(\.[0-9]+)?$ && $seconds =~ [1-9] ]] || wrong "--seconds must be a positive number, not $seconds"
# The element's numbers. Its own default is ssim, which turns off x265's psychovisual options; people compare with those on.
case $tune in
  none) tune=0 ;;
  psnr) tune=1 ;;
  ssim) tune=2 ;;
  grain) tune=3 ;;
  animation) tune=6 ;;
  *) wrong "--x265-tune must be none, psnr, ssim, grain or animation, not $tune" ;;
esac
[ ${#files[@]} -gt 0 ] || files=("$here/examples/media/flower.mp4")
for file in "${files[@]}" ${model:+"$model"}; do
  [ -f "$file" ] && [ -r "$file" ] || fail "$file cannot be read"
done
[ ! -d "$out" ] || fail "$out is a folder"
[ -d "$(dirname -- "$out")" ] && [ -w "$(dirname -- "$out")" ] || fail "$out cannot be written"

# What is needed, before anything is encoded.

for program in gst-launch-1.0 gst-inspect-1.0; do
  command -v $program >/dev/null || fail "$program is missing (Debian: gstreamer1.0-tools)"
done
command -v python3 >/dev/null || fail "python3 is missing (Debian: python3)"
export GST_PLUGIN_PATH=${GST_PLUGIN_PATH:-$here/target/plugins}
need() { # PACKAGE ELEMENT...
  local package=$1 element
  shift
  for element in "$@"; do
    gst-inspect-1.0 "$element" >/dev/null 2>&1 || fail "the GStreamer element $element is missing ($package)"
  done
}
need 'Debian: gstreamer1.0-plugins-base' decodebin videoconvert videoscale rawvideoparse
need 'Debian: gstreamer1.0-plugins-good' matroskamux deinterlace videoflip vp8enc webmmux pngenc
need 'Debian: gstreamer1.0-plugins-bad' x265enc h265parse
need 'Debian: gstreamer1.0-libav' avdec_h265 avenc_ffv1
need 'build it with cargo build --release -p gst-plugin-ngc, or set GST_PLUGIN_PATH to its folder' ngcenc ngcdec ngcparse

trainer=${NGC_TRAINER:-$here/target/release/ngc-trainer}
if [ -z "${NGC_TRAINER:-}" ] && [ ! -x "$trainer" ]; then
  trainer=$(command -v ngc-trainer) ||
    fail "ngc-trainer is not built: run tests/setup.sh and cargo build --release -p ngc-trainer in $here, or set NGC_TRAINER to the program"
fi
said=$("$trainer" study --help 2>&1) || fail "$trainer does not run, or has no study: $(head -n 1 <<<"$said")"
if [ -n "$crops" ] && ! python3 -c 'import PIL' 2>/dev/null; then
  echo "blind-study: no pictures, since python3 has no PIL (Debian: python3-pil)" >&2
  crops=''
fi

# GStreamer sees plain names, whatever files and folders are called.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
work=$folder/study
if [ -n "$keep" ]; then
  mkdir -p -- "$keep"
  ln -s "$(realpath -- "$keep")" "$work"
else
  mkdir "$work"
fi
[ -z "$crops" ] || mkdir -p -- "$crops"
[ -z "$model" ] || ln -s "$(realpath -- "$model")" "$folder/model"
model=(${model:+"model-file=$folder/model"})

# launch WHAT PIPELINE...: runs it; an error says what could not be done, and why.
launch() {
  local what=$1
  shift
  LANGUAGE=en gst-launch-1.0 "$@" >"$folder/log" 2>&1 && return
  # What decodebin found, if anything, was no video. Which of the two messages comes first is a matter of timing.
  ! grep -qE 'Delayed linking failed|reason not-linked' "$folder/log" || fail "$what: it has no video"
  fail "$what: $(grep -m 1 '^ERROR' "$folder/log" | sed 's/^ERROR: from element [^ ]*: //' | grep . || tail -n 1 "$folder/log")"
}

# How a clip is cut and scaled. One with 1.5 times the frame rate of the page or more keeps every second (third, ...) frame, so that
# nothing judders. Then all are played at the rate of the page, frame by frame.
geometry() {
  python3 - "$1" "$height" "$fps" "$seconds" <<'END'
import re, sys
caps, height, fps, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
def field(name, default):
    found = re.search(name + r"=\([a-z]+\)(\d+)(?:/(\d+))?", caps)
    return int(found[1]) / int(found[2] or 1) if found else default
high = min(int(field("height", 0)) // 2 * 2, height)
wide = field("width", 0) * field("pixel-aspect-ratio", 1) * high / max(field("height", 0), 1)
rate = field("framerate", 0) or fps
print(max(round(wide / 2), 1) * 2, high, max(round(rate / fps), 1) if rate >= 1.5 * fps else 1, max(round(seconds * fps), 1))
END
}
names=() sizes=()
declare -A taken
upright=(decodebin ! videoconvert ! videoflip video-direction=auto)
for i in "${!files[@]}"; do
  file=${files[i]}
  ln -s "$(realpath -- "$file")" "$folder/input-$i"
  launch "$file cannot be decoded" -v filesrc "location=$folder/input-$i" ! "${upright[@]}" ! fakesink name=probe num-buffers=1
  caps=$(grep -m 1 'probe.GstPad:sink: caps = video/x-raw' "$folder/log") ||
    fail "$file cannot be decoded: it has no video"
  sizes+=("$(geometry "$caps")")
  name=$(basename -- "$file")
  name=${name%.*}
  name=$(printf %s "$name" | tr -c 'A-Za-z0-9_-' _)
  number=1 plain=$name
  while [ -n "${taken[$name]:-}" ]; do
    number=$((number + 1))
    name=$plain-$number
  done
  taken[$name]=1
  names+=("$name")
done

# The clip in hand: its name, size and raw file.
name='' width=0 high=0 raw=''
source_of() { # FILE
  source=(filesrc "location=$1" blocksize=1048576 ! rawvideoparse format=i420 "width=$width" "height=$high" "framerate=$fps/1" colorimetry=bt601)
}

# x265 TENTHS FILE: a stream at a CRF in tenths, with one keyframe and no B-frames.
x265() {
  source_of "$raw"
  launch "$name: x265" "${source[@]}" ! x265enc speed-preset=medium tune=$tune key-int-max=99999 \
    "option-string=crf=$(($1 / 10)).$(($1 % 10)):bframes=0:scenecut=0:open-gop=0:info=0" ! video/x-h265,stream-format=byte-stream ! filesink "location=$2"
}

# lossless RAW FILE
lossless() {
  source_of "$1"
  launch "$name: FFV1" "${source[@]}" ! avenc_ffv1 ! matroskamux ! filesink "location=$2"
}

# decoded STREAM PIPELINE...: decodes a stream into STREAM.mkv, and keeps $folder/STREAM.yuv.
decoded() {
  local stream=$1
  shift
  launch "$stream" filesrc "location=$work/$stream" ! "$@" ! videoconvert ! video/x-raw,format=I420 ! filesink "location=$folder/$stream.yuv"
  [ "$(stat -c %s "$folder/$stream.yuv")" -eq "$(stat -c %s "$raw")" ] || fail "$stream: not all frames came back"
  lossless "$folder/$stream.yuv" "$work/$stream.mkv"
}
h265=(h265parse ! avdec_h265)

# picture RAW PNG: the middle frame.
picture() {
  dd if="$1" of="$folder/frame" bs=$frame_bytes skip=$((frames / 2)) count=1 status=none
  source_of "$folder/frame"
  launch "$name: picture" "${source[@]}" ! videoconvert ! video/x-raw,format=RGB ! pngenc ! filesink "location=$2"
}

percent() { # NUMBER OF
  python3 -c 'import sys; a, b = map(int, sys.argv[1:]); print(f"{100 * (a - b) / b:+.1f} %")' "$1" "$2"
}

# contact_sheet FILE PNG LABEL PNG LABEL PNG LABEL
contact_sheet() {
  python3 - "$@" <<'END'
import sys
from PIL import Image, ImageDraw
pictures = [(Image.open(p).convert("RGB"), label) for p, label in zip(sys.argv[2::2], sys.argv[3::2])]
w, h = pictures[0][0].size
gap, strip = 6, 18
sheet = Image.new("RGB", (3 * w + 2 * gap, 2 * h + gap + strip), "white")
draw = ImageDraw.Draw(sheet)
for column, (picture, label) in enumerate(pictures):
    x = column * (w + gap)
    draw.text((x + 2, 3), label, fill="black")
    sheet.paste(picture, (x, strip))
    # The centre, so that nothing is chosen by hand.
    part = picture.crop((w // 4, h // 4, w // 4 + w // 2, h // 4 + h // 2))
    sheet.paste(part.resize((part.width * 2, part.height * 2), Image.NEAREST), (x, strip + h + gap))
sheet.save(sys.argv[1])
END
}

question() { # ID NAME-A FILE-A NAME-B FILE-B [GOLDEN]
  printf '\n[[question]]\nid = "%s"\noriginal = "%s"\na = { name = "%s", file = "%s" }\nb = { name = "%s", file = "%s" }\n' \
    "$1" "$name.original.mkv" "$2" "$3" "$4" "$5"
  [ -z "${6:-}" ] || printf 'golden = "%s"\n' "$6"
}

# Browsers keep answers under the study's name, so that another study needs another name.
printf 'name = "NGC against x265, quality %d, %s"\n' "$quality" "$(date '+%F %T')" >"$work/study.toml"

for i in "${!files[@]}"; do
  name=${names[i]}
  read -r width high step frames <<<"${sizes[i]}"
  raw=$folder/raw.yuv
  # Browsers take VP8 for BT.601.
  launch "${files[i]} cannot be decoded" filesrc "location=$folder/input-$i" ! "${upright[@]}" ! deinterlace fields=top \
    ! identity "eos-after=$((frames * step + 1))" ! videoscale method=lanczos add-borders=false ! videoconvert \
    ! "video/x-raw,format=I420,width=$width,height=$high,pixel-aspect-ratio=1/1,colorimetry=bt601" ! filesink "location=$raw"
  # GStreamer's lines are multiples of four bytes.
  frame_bytes=$(((width + 3) / 4 * 4 * high + 2 * ((width / 2 + 3) / 4 * 4) * (high / 2)))
  frames=$(
    python3 - "$raw" $frame_bytes "$step" "$frames" <<'END'
import sys
path, size, step, most = sys.argv[1], *map(int, sys.argv[2:])
kept = 0
with open(path, "r+b") as file:
    while kept < most:
        file.seek(kept * step * size)
        frame = file.read(size)
        if len(frame) < size:
            break
        file.seek(kept * size)
        file.write(frame)
        kept += 1
    file.truncate(kept * size)
print(kept)
END
  )
  [ "$frames" -gt 0 ] || fail "${files[i]} cannot be decoded: it has no frames"
  echo "$name: $frames frames of ${width}x$high"

  source_of "$raw"
  launch "$name: NGC" "${source[@]}" ! ngcenc "quality=$quality" "${model[@]}" ! filesink "location=$work/$name.ngc"
  size=$(stat -c %s "$work/$name.ngc")

  low=-1 high_crf=511 best=''
  while [ $((high_crf - low)) -gt 1 ]; do
    crf=$(((low + high_crf) / 2))
    x265 $crf "$folder/try"
    tried=$(stat -c %s "$folder/try")
    away=$((tried > size ? tried - size : size - tried))
    if [ -z "$best" ] || [ $away -lt "$best" ]; then
      best=$away best_size=$tried best_crf=$((crf / 10)).$((crf % 10))
      mv "$folder/try" "$work/$name.h265"
    fi
    if [ "$tried" -gt "$size" ]; then low=$crf; else high_crf=$crf; fi
  done
  difference=$(percent "$best_size" "$size")
  sum="$name: NGC $size bytes, x265 $best_size bytes at CRF $best_crf ($difference)"
  echo "$sum"
  [ $((best * 100)) -le $((size * 3)) ] ||
    echo "blind-study: $name: x265 comes no nearer to NGC's size than $difference, so the comparison is not fair; choose another --quality" >&2

  lossless "$raw" "$work/$name.original.mkv"
  decoded "$name.ngc" ngcparse ! ngcdec "${model[@]}"
  decoded "$name.h265" "${h265[@]}"
  {
    printf '\n# %s' "$sum"
    question "$name" ngc "$name.ngc.mkv" x265 "$name.h265.mkv"
  } >>"$work/study.toml"

  # A rater who does not see this difference is not looking.
  if [ $((i % 5)) -eq 0 ]; then
    for crf in 18 48; do
      x265 ${crf}0 "$work/$name.crf$crf.h265"
      decoded "$name.crf$crf.h265" "${h265[@]}"
    done
    question "golden $name" x265-crf-18 "$name.crf18.h265.mkv" x265-crf-48 "$name.crf48.h265.mkv" a >>"$work/study.toml"
  fi

  if [ -n "$crops" ]; then
    picture "$raw" "$folder/original.png"
    picture "$folder/$name.ngc.yuv" "$folder/ngc.png"
    picture "$folder/$name.h265.yuv" "$folder/x265.png"
    contact_sheet "$crops/$name.png" "$folder/original.png" original "$folder/ngc.png" "NGC, $size bytes, quality $quality" \
      "$folder/x265.png" "x265, $best_size bytes, CRF $best_crf"
    echo "$crops/$name.png"
  fi
  rm -f "$folder"/*.yuv
done

"$trainer" study "$work/study.toml" --seconds "$seconds" --fps "$fps" --out "$out" 2>"$folder/log" || fail "ngc-trainer study: $(tail -n 1 "$folder/log")"
