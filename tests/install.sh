#!/usr/bin/env bash
# `meson install` into an empty folder: what lies where, that the plugin loads from there, and that uninstalling leaves nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in meson ninja; do
  command -v $tool >/dev/null || {
    echo "skipped: meson install ($tool is not installed)"
    exit 0
  }
done
fail() {
  printf 'install: %s\n' "$*" >&2
  exit 1
}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export DESTDIR=$work/root
meson setup "$work/build" . --prefix=/usr --libdir=lib >"$work/log" 2>&1 && meson install -C "$work/build" >>"$work/log" 2>&1 || {
  tail -n 20 "$work/log"
  fail "meson install failed"
}

wanted="bin/ngc-transcode
bin/ngc-player
lib/gstreamer-1.0/libgstngc.so
lib/pkgconfig/gstngc.pc
share/bash-completion/completions/ngc-transcode
share/doc/ngc/README.md
share/doc/ngc/docs/install.md
share/doc/ngc/examples/batch/ngc-batch
share/gstreamer-1.0/presets/GstNgcEnc.prs
share/man/man1/ngc-transcode.1
share/man/man1/ngc-player.1
share/ngc/models/rt.safetensors"
for file in $wanted; do
  [ -s "$DESTDIR/usr/$file" ] || fail "there is no $file"
done
[ -x "$DESTDIR/usr/bin/ngc-transcode" ] || fail "ngc-transcode cannot be executed"
plugins=$(PKG_CONFIG_SYSROOT_DIR= pkg-config --variable=pluginsdir "$DESTDIR/usr/lib/pkgconfig/gstngc.pc")
[ "$plugins" = /usr/lib/gstreamer-1.0 ] || fail "gstngc.pc says the plugin is in $plugins"

packaging/check-plugin.sh "$DESTDIR$plugins"
# Every preset can be chosen by its name. Here the folder is not where GStreamer looks.
export GST_PRESET_PATH=$DESTDIR/usr/share/gstreamer-1.0/presets GST_PLUGIN_PATH=$DESTDIR$plugins GST_REGISTRY=$work/registry
presets=$(sed -n 's/^\[\(Profile .*\)\]$/\1/p' "$GST_PRESET_PATH/GstNgcEnc.prs")
while read -r preset; do
  timeout 60 gst-launch-1.0 -q videotestsrc num-buffers=2 ! video/x-raw,width=64,height=48 ! ngcenc @preset="$preset" ! fakesink ||
    fail "the preset $preset does not work"
done <<<"$presets"
# The completion knows the options.
found=$(bash -c ". $DESTDIR/usr/share/bash-completion/completions/ngc-transcode
  COMP_WORDS=(ngc-transcode --qual) COMP_CWORD=1; _ngc__transcode ngc-transcode --qual ngc-transcode; echo \${COMPREPLY[*]}")
[ "$found" = --quality ] || fail "the completion of --qual is '$found'"

ninja -C "$work/build" uninstall >>"$work/log"
[ -z "$(find "$work/root" -not -path "$work/root" 2>/dev/null)" ] || fail "uninstalling leaves $(find "$work/root" -type f)"
echo "install: ok ($(wc -w <<<"$wanted") files looked at, $(wc -l <<<"$presets") presets)"
