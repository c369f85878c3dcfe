#!/usr/bin/env bash
# Transcodes every video below a folder to NGC in Matroska, with its sound as Opus where it has any.
#
#   examples/batch-transcode.sh SOURCE_FOLDER TARGET_FOLDER [PROPERTIES OF ngcenc...]
#   examples/batch-transcode.sh clips out quality=40
#
# Files that are done are left alone, so the same command goes on where it was stopped. What cannot be transcoded is listed at
# the end, and the exit status says whether there was any.
set -uo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
export GST_PLUGIN_PATH=${GST_PLUGIN_PATH:-$here/target/plugins}
[ $# -ge 2 ] || {
  sed -n '2,9s/^# \{0,1\}//p' "$0"
  exit 2
}
source=$1 target=$2
shift 2
[ -d "$source" ] || {
  echo "batch-transcode: $source is not a folder" >&2
  exit 2
}

has_audio() {
  gst-launch-1.0 -q filesrc location="$1" ! decodebin name=d d. ! audioconvert ! fakesink num-buffers=1 >/dev/null 2>&1
}

transcode() {
  local in=$1 out=$2
  shift 2
  local video=(d. ! queue ! videoconvert ! ngcenc "$@" ! ngcparse ! matroskamux name=m ! filesink "location=$out")
  local audio=()
  if has_audio "$in"; then
    audio=(d. ! queue ! audioconvert ! audioresample ! opusenc ! m.)
  fi
  gst-launch-1.0 -q -e filesrc "location=$in" ! decodebin name=d "${video[@]}" "${audio[@]}"
}

done_count=0 skipped=0
failed=()
while IFS= read -r -d '' in; do
  relative=${in#"$source"/}
  out=$target/${relative%.*}.mkv
  if [ -e "$out" ]; then
    skipped=$((skipped + 1))
    continue
  fi
  mkdir -p "$(dirname "$out")"
  # A file gets its name only when it is whole.
  if transcode "$in" "$out.part" "$@" && [ -s "$out.part" ]; then
    mv "$out.part" "$out"
    done_count=$((done_count + 1))
    printf '%s\n' "$out"
  else
    rm -f "$out.part"
    failed+=("$in")
  fi
done < <(find "$source" -type f \( -iname '*.mp4' -o -iname '*.mkv' -o -iname '*.webm' -o -iname '*.mov' -o -iname '*.avi' -o -iname '*.ts' \) -print0 | sort -z)

printf 'batch-transcode: %d done, %d done before, %d failed\n' "$done_count" "$skipped" "${#failed[@]}"
[ ${#failed[@]} -eq 0 ] || printf 'failed: %s\n' "${failed[@]}"
[ ${#failed[@]} -eq 0 ]
