"""Small pictures of source and result, of the same frame."""

import os
import subprocess
from pathlib import Path

WIDTH = 240
# A frame far into a long film would cost decoding up to it.
FURTHEST = 250
# Set where no pictures are wanted.
NONE = "NGC_BATCH_NO_THUMBNAILS"


def quoted(path):
    """A path as the value of a property in gst-launch."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def make(planned, record):
    """Names of two pictures below the state folder, source and result; None for one that cannot be made."""
    if os.environ.get(NONE):
        return [None, None]
    frame = min((record.get("frames") or 1) // 2, FURTHEST)
    names = []
    for kind, path in (("source", record["input"]), ("result", planned.target / record["output"])):
        name = Path("thumbnails") / f"{record['output']}.{kind}.jpg"
        names.append(str(name) if picture(path, planned.state / name, frame) else None)
    return names


def picture(path, target, frame):
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    # multifilesink would take a % for the number of a frame.
    location = str(part).replace("%", "%%")
    command = ["gst-launch-1.0", "-q", "filesrc", f"location={quoted(path)}", "!", "decodebin", "!", "video/x-raw", "!", "queue", "!",
               "identity", f"eos-after={frame + 1}", "!", "videoflip", "video-direction=auto", "!", "videoconvertscale", "!",
               f"video/x-raw,width={WIDTH},pixel-aspect-ratio=1/1", "!", "jpegenc", "!",
               "multifilesink", "max-files=1", f"location={quoted(location)}"]  # fmt: skip
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=300, check=False)
        if done.returncode != 0 or not part.exists():
            return False
        part.replace(target)
        return True
    except (OSError, subprocess.TimeoutExpired):
        return False
    finally:
        part.unlink(missing_ok=True)
