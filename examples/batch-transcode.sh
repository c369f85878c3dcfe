#!/usr/bin/env bash
# Transcodes every video below a folder to NGC in Matroska, with its sound as Opus where it has any.
#
#   examples/batch-transcode.sh SOURCE_FOLDER TARGET_FOLDER [PROPERTIES OF ngcenc...]
#   examples/batch-transcode.sh clips out quality=40
#
# SOURCE/day/a.mp4 becomes TARGET/day/a.mp4.mkv. Files that are done are left alone, so the same command goes on where it was
# stopped; several runs at once share the work. What cannot be transcoded is listed at the end, and the exit status says whether
# there was any.
set -uo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
export GST_PLUGIN_PATH=${GST_PLUGIN_PATH:-$here/target/plugins}
[ $# -ge 2 ] || {
  sed -n '2,10s/^# \{0,1\}//p' "$0"
  exit 2
}
source=$1 target=$2
shift 2
[ "$source" = / ] || source=${source%"${source##*[!/]}"}
[ -d "$source" ] || {
  echo "batch-transcode: $source is not a folder" >&2
  exit 2
}
command -v gst-discoverer-1.0 >/dev/null || {
  echo "batch-transcode: gst-discoverer-1.0 is missing (Debian: apt-get install gstreamer1.0-plugins-base-apps)" >&2
  exit 2
}

# A property of gst-launch, whose value may hold anything.
property() {
  local value=${2//\\/\\\\}
  printf '%s="%s"' "$1" "${value//\"/\\\"}"
}

# Says what streams a file has, one a line, or why it cannot be read.
streams() {
  timeout 120 gst-discoverer-1.0 -t 60 "$1" 2>&1
}

transcode() {
  local in=$1 out=$2 found
  shift 2
  found=$(streams "$in")
  grep -q '^ *video' <<<"$found" || {
    printf 'batch-transcode: %s has no video that can be read: %s\n' "$in" "$(tail -n 1 <<<"$found")" >&2
    return 1
  }
  if grep -q '|decoder-video/' <<<"$found"; then
    printf 'batch-transcode: %s: no decoder for its video is installed: %s\n' "$in" "$(grep -m 1 '|decoder-video/' <<<"$found")" >&2
    return 1
  fi
  local video=(d. ! queue ! videoconvert ! ngcenc "$@" ! ngcparse ! matroskamux name=m ! filesink "$(property location "$out")")
  local audio=()
  if grep -q '|decoder-audio/' <<<"$found"; then
    printf 'batch-transcode: %s: without its sound, no decoder for that is installed\n' "$in" >&2
  elif grep -q '^ *audio' <<<"$found"; then
    audio=(d. ! queue ! audioconvert ! audioresample ! opusenc ! m.)
  fi
  gst-launch-1.0 -q -e filesrc "$(property location "$in")" ! decodebin name=d "${video[@]}" "${audio[@]}"
}

done_count=0 skipped=0 elsewhere=0 interrupted=0
failed=()
# The tool that is running ends its file on an interrupt; that file is not whole.
trap 'interrupted=1' INT TERM
while IFS= read -r -d '' relative; do
  in=$source/$relative out=$target/$relative.mkv
  if [ -e "$out" ]; then
    skipped=$((skipped + 1))
    continue
  fi
  mkdir -p "$(dirname "$out")"
  # Whoever holds the lock on the unfinished file works on it. It gets its name only when it is whole.
  exec 9>>"$out.part"
  if ! flock -n 9; then
    elsewhere=$((elsewhere + 1))
  elif [ -e "$out" ]; then
    skipped=$((skipped + 1))
    rm -f "$out.part"
  elif transcode "$in" "$out.part" "$@" </dev/null && [ -s "$out.part" ] && [ $interrupted -eq 0 ]; then
    mv "$out.part" "$out"
    done_count=$((done_count + 1))
    printf '%s\n' "$out"
  else
    rm -f "$out.part"
    failed+=("$in")
  fi
  exec 9>&-
  if [ $interrupted -ne 0 ]; then
    echo 'batch-transcode: stopped; the same command goes on' >&2
    exit 130
  fi
done < <(find "$source" -type f \( -iname '*.mp4' -o -iname '*.mkv' -o -iname '*.webm' -o -iname '*.mov' -o -iname '*.avi' -o -iname '*.ts' \) -printf '%P\0' | sort -z)

printf 'batch-transcode: %d done, %d done before, %d failed' "$done_count" "$skipped" "${#failed[@]}"
[ "$elsewhere" -eq 0 ] || printf ', %d in work elsewhere' "$elsewhere"
printf '\n'
[ ${#failed[@]} -eq 0 ] || printf 'failed: %s\n' "${failed[@]}"
[ ${#failed[@]} -eq 0 ]
