#!/usr/bin/env bash
# Says whether the plugin in a folder loads, and whether a frame comes back from it.
#
#   check-plugin.sh FOLDER
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export GST_REGISTRY=$folder/registry GST_PLUGIN_PATH=$1
for element in ngcenc ngcdec ngcparse; do
  timeout 60 gst-inspect-1.0 "$element" >/dev/null || {
    echo "check-plugin: $1 has no $element" >&2
    exit 1
  }
done
timeout 60 gst-launch-1.0 -q videotestsrc num-buffers=3 ! video/x-raw,width=64,height=48 ! ngcenc ! ngcparse ! ngcdec ! fakesink
