#!/usr/bin/env bash
# Builds the Debian package, installs it into a fresh Debian, makes and plays an MP4 there, and removes it again. Needs root, the
# network and several minutes. Where something is missing it says `skipped: ...` and succeeds.
set -euo pipefail
cd "$(dirname "$0")/.."

PACKAGES="debhelper meson pkg-config libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev gstreamer1.0-tools mmdebstrap"
work=$(realpath -m "${NGC_TARGET:-target}/package")
root=$work/root

skip() {
  printf 'skipped: the Debian package (%s)\n' "$*"
  exit 0
}
fail() {
  printf 'package: %s\n' "$*" >&2
  exit 1
}

[ "$(id -u)" -eq 0 ] || skip "a fresh root takes root"
command -v apt-get >/dev/null || skip "there is no apt-get"
missing=()
for package in $PACKAGES; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "package: installing ${missing[*]}"
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"; } \
    >/dev/null 2>&1 || skip "apt-get cannot install ${missing[*]}"
fi

# A copy, since the packages land beside the source's folder.
mkdir -p "$work"
rm -rf "$work/ngc-0.1.0" "$work"/*.deb "$root"
mkdir "$work/ngc-0.1.0"
git ls-files -z --cached --others --exclude-standard | xargs -0 tar -c --ignore-failed-read 2>/dev/null | tar -x -C "$work/ngc-0.1.0"
echo "package: building"
(
  cd "$work/ngc-0.1.0"
  # With no flags of its own, what another build has compiled is used again.
  export CARGO_TARGET_DIR=$work/cargo RUSTFLAGS=
  dpkg-buildpackage -b -us -uc
) >"$work/build.log" 2>&1 || {
  tail -n 30 "$work/build.log"
  fail "dpkg-buildpackage failed: $work/build.log"
}
if command -v lintian >/dev/null; then
  # Packages of a distribution have bugs and manual pages that these have not.
  lintian --fail-on error "$work"/ngc_*.changes || fail "lintian finds errors"
fi

echo "package: making a fresh root"
if [ ! -s "$work/root.tar" ]; then
  mmdebstrap --quiet --variant=apt bookworm "$work/root.tar.new" >"$work/root.log" 2>&1 || skip "mmdebstrap: $(tail -n 1 "$work/root.log")"
  mv "$work/root.tar.new" "$work/root.tar"
fi
mkdir "$root"
tar -xf "$work/root.tar" -C "$root"
mkdir "$root/ngc"
cp "$work"/gstreamer1.0-ngc_*.deb "$work"/ngc-tools_*.deb "$work"/ngc-models_*.deb examples/media/flower.mp4 "$root/ngc/"
within() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 timeout 600 chroot "$root" "$@"; }
apt() { within env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends "$@" >>"$work/apt.log" 2>&1; }
names() { (cd "$root" && find . -xdev \( -path ./proc -o -path ./var/lib/dpkg -o -path ./var/lib/apt -o -path ./var/cache -o -path ./var/log -o -path ./root \) -prune -o -print | sort); }
: >"$work/apt.log"
# What the package needs is installed first, to see later what the package itself leaves behind.
apt update || skip "the fresh root cannot reach the archive"
apt install gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-libav libgstreamer-plugins-base1.0-0 ||
  fail "apt-get: $(tail -n 3 "$work/apt.log")"
before=$(names)

start=$SECONDS
mapfile -t debs < <(cd "$root" && printf "/%s\n" ngc/*.deb)
apt install "${debs[@]}" || fail "apt-get: $(tail -n 3 "$work/apt.log")"
within ngc-transcode --quiet --verify /ngc/flower.mp4 /ngc/flower-ngc.mp4 || fail "ngc-transcode fails"
printf 'package: from the package to an MP4 in %d s\n' $((SECONDS - start))
for element in ngcenc ngcdec ngcparse; do
  within gst-inspect-1.0 "$element" >/dev/null || fail "gst-inspect-1.0 finds no $element"
done
within gst-launch-1.0 -q playbin3 uri=file:///ngc/flower-ngc.mp4 video-sink=fakesink audio-sink=fakesink || fail "the MP4 does not play"
within gst-launch-1.0 -q videotestsrc num-buffers=3 ! ngcenc @preset='Profile Low Bandwidth' ! fakesink || fail "the preset is not found"
within test -s /usr/share/ngc/models/rt.safetensors || fail "no model file"
within test -s /usr/share/man/man1/ngc-transcode.1.gz || fail "no manual page"

apt purge gstreamer1.0-ngc ngc-tools ngc-models || fail "apt-get: $(tail -n 3 "$work/apt.log")"
left=$(names | comm -13 <(echo "$before") - | grep -v '^./ngc/' || true)
[ -z "$left" ] || fail "left behind: $left"
rm -rf "$root"
echo "package: ok: $(cd "$work" && ls -s --block-size=KiB ngc*.deb gstreamer*.deb | tr '\n' ' ')"
