"""What all parts of ngc-batch share: messages, files that appear whole, locks, and the transcoder."""

import contextlib
import fcntl
import json
import os
import shutil
import sys
from pathlib import Path

# What a batch knows of itself, below the target folder.
STATE = "ngc-batch"


class Problem(Exception):
    """Something that ends the command, with its exit status."""

    def __init__(self, text, status=2):
        super().__init__(text)
        self.status = status


def say(text):
    print(f"ngc-batch: {text}", file=sys.stderr, flush=True)


def write_whole(path, text):
    """Writes a file that is there as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with open(part, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def read_json(path):
    """What a JSON file holds; None where there is none, or only a part of one."""
    try:
        return json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
    except (OSError, ValueError):
        return None


@contextlib.contextmanager
def lock(path, wait):
    """Holds a lock file while the block runs. Yields whether the lock was had; with `wait` it always is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The file stays: removing it would let two hold locks of the same name.
    with open(path, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def transcoder():
    """The command ngc-transcode: $NGC_TRANSCODE, on the path, or as built in this repository, with its plugin."""
    named = os.environ.get("NGC_TRANSCODE") or shutil.which("ngc-transcode")
    if named:
        return named
    target = Path(__file__).resolve().parents[3] / "target"
    built = target / "release" / "ngc-transcode"
    if not built.exists():
        raise Problem("ngc-transcode is missing: install it, or `cargo build --release`, or name it in NGC_TRANSCODE")
    os.environ.setdefault("GST_PLUGIN_PATH", str(target / "plugins"))
    return str(built)
