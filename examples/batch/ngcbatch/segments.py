"""Parts of long files: each starts with a keyframe of its own, and ngc-transcode puts them together without coding them anew."""

import json
import shutil
import subprocess

from . import unit
from .common import lock, read_json, say, transcoder, write_whole

# Options of the encoder, which has nothing to do where parts are put together. All of them take a value.
RATE = ("--quality", "-q", "--bitrate", "-b", "--set")


def folder(planned, output):
    return planned.state / "segments" / output


def do(planned, source, output, part):
    """Makes a part unless it is there. Returns whether the whole file can be put together, or is done."""
    identity = unit.identify(source)
    if unit.is_done(planned, output, planned.record(output), identity):
        return True
    if identity is None:
        # Told like any other failure.
        return True
    parts = planned.parts(output)
    place = folder(planned, output)
    name = str(parts.index(part))
    with lock(planned.state / "locks" / f"{output}.{name}.lock", wait=False) as had:
        if not had:
            return False
        if made(place, name, identity) is None and not make(planned, source, output, part, name, identity):
            return False
    return all(made(place, str(index), identity) for index in range(len(parts)))


def made(place, name, identity):
    """What ngc-transcode said of a part; None where there is none of this state of the input."""
    found = read_json(place / f"{name}.json")
    if not found or not found.get("ok") or read_json(place / f"{name}.started") != identity:
        return None
    return found if any(place.glob(f"{name}.m??")) else None


def make(planned, source, output, part, name, identity):
    place = folder(planned, output)
    write_whole(place / f"{name}.started", json.dumps(identity))
    kinds = [option for option in ("--no-audio", "--no-subtitles") if option not in planned.options]
    command = [transcoder(), "--json", "--quiet", "--force", *planned.options, *kinds, *unit.threads(), "--start", str(part[0])]
    if part[1] is not None:
        command += ["--stop", str(part[1])]
    result = place / f"{name}.{output.rsplit('.', 1)[1]}"
    with open(place / f"{name}.json", "wb") as out:
        child = subprocess.run(command + ["--", source, str(result)], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE,
                               preexec_fn=unit.die_with_parent, check=False)  # fmt: skip
    if child.returncode in unit.STOPPED:
        raise KeyboardInterrupt
    if child.returncode == 0:
        return True
    answer = read_json(place / f"{name}.json") or {}
    reason = f"from {part[0]} s on: {answer.get('error') or child.stderr.decode(errors='replace').strip()}"
    unit.fail(planned, source, output, identity, reason)
    say(f"{source}: {reason}")
    return False


def arguments(planned, output):
    """Options that put a file together; none for files that are done in one."""
    found = []
    place = folder(planned, output)
    for index in range(len(planned.parts(output))):
        answer = read_json(place / f"{index}.json") or {}
        found += ["--part", f"{answer.get('first_frame_seconds', 0):.9f}={place / str(index)}.{output.rsplit('.', 1)[1]}"]
    return found


def elapsed(planned, output):
    """Seconds that the parts of a file took."""
    place = folder(planned, output)
    return sum((read_json(place / f"{n}.json") or {}).get("elapsed_seconds", 0) for n in range(len(planned.parts(output))))


def without_rate(options):
    kept, skip = [], False
    for option in options:
        if skip:
            skip = False
        elif option in RATE:
            skip = True
        elif not option.startswith(tuple(f"{name}=" for name in RATE)):
            kept.append(option)
    return kept


def remove(planned, output):
    shutil.rmtree(folder(planned, output), ignore_errors=True)
