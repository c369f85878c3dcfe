"""One unit of work: one file, from whatever state it is in to a verified result and its record."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time

from . import plan, segments, thumbnails
from .common import Problem, lock, read_json, say, transcoder, write_whole

# Exit status of ngc-transcode where the output exists, or another process is writing it.
EXISTS = 6
INTERRUPTED = 130
STOPPED = (INTERRUPTED, -signal.SIGTERM, -signal.SIGINT)


def do(target, numbers, stride=0):
    """Does units by their numbers. Returns the exit status: 1 if one of them failed."""
    planned = plan.load(target)
    if stride > 0:
        numbers = [n for first in numbers for n in range(first, len(planned.units) + 1, stride)]
    worst = 0
    for number in numbers:
        if not 1 <= number <= len(planned.units):
            raise Problem(f"there is no unit {number}: the plan has {len(planned.units)}")
        source, output, part = planned.units[number - 1]
        ready = part is None or segments.do(planned, source, output, part)
        # Who finishes the last part puts all of them together, and waits for whoever else does so.
        if ready and one(planned, source, output, wait=part is not None)["status"] == "failed":
            worst = 1
        elif not ready and (planned.record(output) or {}).get("status") == "failed":
            worst = 1
    return worst


def one(planned, source, output, wait=False):
    """Does a unit, unless it is done or in work elsewhere. Returns its record."""
    with lock(planned.state / "locks" / f"{output}.lock", wait=wait) as had:
        if not had:
            return {"status": "elsewhere"}
        record = planned.record(output)
        identity = identify(source)
        if is_done(planned, output, record, identity):
            return record
        # A result of another state of the input is ours to replace.
        stale = record is not None and record["status"] == "done"
        record = empty(source, output, identity)
        if identity is None:
            record["reason"] = "the input is missing"
        else:
            transcode(planned, record, stale)
        if record["status"] in ("done", "failed"):
            write_whole(planned.record_path(output), json.dumps(record, indent=1))
            for suffix in (".started", ".printed"):
                planned.record_path(output).with_suffix(suffix).unlink(missing_ok=True)
        if record["status"] == "done":
            print(planned.target / output, flush=True)
        elif record["status"] == "failed":
            say(f"{source}: {record['reason']}")
        return record


def empty(source, output, identity):
    return {"input": source, "output": output, "status": "failed", "identity": identity, "run": os.environ.get("NGC_BATCH_RUN", "")}


def fail(planned, source, output, identity, reason):
    """Records a failure."""
    write_whole(planned.record_path(output), json.dumps({**empty(source, output, identity), "reason": reason}, indent=1))


def identify(source):
    """What tells whether a file is still the same."""
    try:
        found = os.stat(source)
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]


def is_done(planned, output, record, identity):
    return record is not None and record["status"] == "done" and record["identity"] == identity and (planned.target / output).is_file()


def transcode(planned, record, stale):
    """Runs ngc-transcode, which gives the result its name only once it is whole and has been compared with the input."""
    source, output = record["input"], record["output"]
    result = planned.target / output
    started = planned.record_path(output).with_suffix(".started")
    printed = planned.record_path(output).with_suffix(".printed")
    command = [transcoder(), "--json", "--quiet", "--verify"]
    parts = segments.arguments(planned, output)
    command += segments.without_rate(planned.options) + parts if parts else planned.options + threads()
    if result.exists():
        mark = read_json(started)
        if mark is None and not stale:
            record["reason"] = f"{output} exists, and is not of this batch"
            return
        if mark == record["identity"]:
            # The run that made it was killed before it could write its record.
            adopt(planned, record, read_json(printed))
            return
        command.append("--force")
    result.parent.mkdir(parents=True, exist_ok=True)
    printed.parent.mkdir(parents=True, exist_ok=True)
    printed.unlink(missing_ok=True)
    write_whole(started, json.dumps(record["identity"]))
    begin = time.monotonic()
    # Its one line of JSON outlives this process.
    with open(printed, "wb") as out:
        child = subprocess.Popen(
            command + ["--", source, str(result)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.PIPE,
            preexec_fn=die_with_parent,
        )
        messages = child.communicate()[1].decode(errors="replace").strip()
    record["elapsed"] = round(time.monotonic() - begin + segments.elapsed(planned, output), 3)
    answer = read_json(printed) or {}
    if child.returncode == 0:
        adopt(planned, record, answer)
    elif child.returncode == EXISTS and not result.exists():
        # Someone without our locks is at it, such as a transcoder whose driver was killed.
        record["status"] = "elsewhere"
    elif child.returncode in STOPPED:
        raise KeyboardInterrupt
    else:
        last = messages.splitlines()[-1] if messages else f"ngc-transcode ended with status {child.returncode}"
        # Wherever a reason is shown, the name of the input stands before it already.
        record["reason"] = (answer.get("error") or last).removeprefix(source).lstrip(": ")
        record["code"] = child.returncode


def adopt(planned, record, answer):
    """Fills the record of a result that has its name, and so has been verified."""
    result = planned.target / record["output"]
    record["status"] = "done"
    segments.remove(planned, record["output"])
    record["input_bytes"], record["bytes"] = record["identity"][0], result.stat().st_size
    for name in ("frames", "keyframes", "seconds", "frames_per_second", "audio_tracks", "subtitle_tracks", "chapters", "warnings"):
        record[name] = (answer or {}).get(name)
    record["verify"] = (answer or {}).get("verify")
    record["thumbnails"] = thumbnails.make(planned, record)


def threads():
    """Threads of one transcoder: its share of the machine."""
    share = os.environ.get("NGC_BATCH_THREADS") or os.environ.get("SLURM_CPUS_PER_TASK")
    return ["--set", f"threads={int(share)}"] if share else []


def die_with_parent():
    """A transcoder whose driver is gone has nobody who records its result: it stops, and its part of a file goes."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
