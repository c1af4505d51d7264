#!/usr/bin/env bash
# The plug-in inside GIMP itself: GIMP 3 from Debian trixie in a folder (about 1 GB, made once; needs root and
# debootstrap), edits through a live server, one line a check. Not part of CI.
#   plugins/gimp/check.sh FOLDER [OUT]     # OUT: where the last picture is put, as XCF and PNG
set -euo pipefail
root=$(realpath -m "$1") out=${2:-}
here=$(realpath "$(dirname "$0")")
if [ ! -x "$root/usr/bin/gimp-console-3.0" ]; then
  debootstrap --variant=minbase trixie "$root"
  chroot "$root" apt-get install -y -q --no-install-recommends \
    gimp gir1.2-gimp-3.0 gir1.2-gtk-3.0 gir1.2-gegl-0.4 python3-gi python3-gi-cairo
fi
mkdir -p "$root/check/plug-ins" "$root/check/out"
rm -rf "$root/check/plug-ins/restore"
cp -r "$here/restore" "$root/check/plug-ins/restore"
cp "$here/check.py" "$root/check/"
photos=$(python -c 'from skimage import data; print(data.__path__[0])')
cp "$photos/rocket.jpg" "$root/check/rocket.jpg"
python -c "from tests.conftest import make_scene; from PIL import Image; Image.fromarray(make_scene()).save('$root/check/photo.png')"
port=${PORT:-8765}
python -m restore serve --port "$port" --device cpu & server=$!
trap 'kill $server' EXIT
for _ in $(seq 60); do curl -sf "http://127.0.0.1:$port/ready" > /dev/null && break; sleep 1; done
mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"
chroot "$root" env HOME=/check GIMP3_DIRECTORY=/check RESTORE_URL="http://127.0.0.1:$port" RESTORE_OUT=/check/out \
  RESTORE_PHOTO=/check/photo.png RESTORE_ROCKET=/check/rocket.jpg \
  gimp-console-3.0 -i --batch-interpreter python-fu-eval \
  -b 'exec(compile(open("/check/check.py").read(), "check.py", "exec"))' --quit | tee "$root/check/log"
umount "$root/proc"
if [ -n "$out" ]; then cp "$root"/check/out/* "$out"; fi
! grep -q 'CHECK FAILED' "$root/check/log" && grep -q 'CHECK ok: words' "$root/check/log"
