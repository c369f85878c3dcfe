"""The list of work: which file becomes which, and with what options."""

import contextlib
import glob
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .common import STATE, Problem, lock, read_json, transcoder, write_whole

EXTENSIONS = {".mp4", ".mkv", ".webm", ".mov", ".avi", ".ts", ".m4v", ".mpg", ".mpeg", ".flv", ".y4m", ".ogv", ".wmv", ".3gp", ".m2ts", ".mts"}


@dataclass
class Plan:
    """Units are an absolute input, an output below the target, and a part of the file or None; their numbers, from 1, never change."""

    target: Path
    options: list
    units: list

    @property
    def files(self):
        """Pairs of input and output, each once."""
        return list(dict.fromkeys((source, output) for source, output, _ in self.units))

    def parts(self, output):
        """The parts of a file: tuples of start and stop in seconds, the last without a stop. None where it is done in one."""
        return [part for _, name, part in self.units if name == output and part is not None]

    @property
    def state(self):
        return self.target / STATE

    def record_path(self, output):
        return self.state / "records" / f"{output}.json"

    def record(self, output):
        return read_json(self.record_path(output))


def load(target):
    """The plan of a target folder."""
    target = Path(target).absolute()
    found = read_json(target / STATE / "plan.json")
    if found is None:
        raise Problem(f"{target} has no plan; `ngc-batch plan` makes one")
    return Plan(target, found["options"], [tuple(u) for u in found["units"]])


def make(sources, target, container, options, segment=0):
    """Makes the plan of a target folder, or adds to it. Files longer than `segment` seconds are cut, unless that is 0."""
    if segment and "--target-size" in " ".join(options):
        raise Problem("--target-size is that of a whole file, and does not go with --segment")
    target = Path(target).absolute()
    found = []
    for source in sources:
        pairs = search(source, target)
        if not pairs:
            print(f"ngc-batch: {source}: no videos there", file=sys.stderr)
        found += pairs
    # A source without videos is done; a folder that does not exist is a mistake, and nothing is made for it.
    new = not target.exists()
    (target / STATE).mkdir(parents=True, exist_ok=True)
    try:
        check_options(target, container, options)
    except Problem:
        if new:
            # Only while they are empty: another run may have begun there.
            with contextlib.suppress(OSError):
                (target / STATE).rmdir()
                target.rmdir()
        raise
    with lock(target / STATE / "plan.lock", wait=True):
        before = read_json(target / STATE / "plan.json") or {"options": options, "units": []}
        if before["options"] != options:
            raise Problem(f"{target} was begun with {' '.join(before['options'])}; choose another folder for {' '.join(options)}")
        units = [tuple(u) for u in before["units"]]
        inputs = {output: source for source, output, _ in units}
        for source, relative in found:
            output = f"{relative}.{container}"
            if output not in inputs:
                inputs[output] = source
                units += [(source, output, part) for part in cut(source, segment)]
            elif inputs[output] != source:
                raise Problem(f"{inputs[output]} and {source} would both become {output}")
        write_whole(target / STATE / "plan.json", json.dumps({"options": options, "units": units}, indent=0))
    return Plan(target, options, units)


def search(source, target):
    """Pairs of an absolute path and a name below the target, for one source as it was given."""
    path = Path(source)
    if path.is_dir():
        return folder(path, target)
    if path.is_file():
        return [(os.path.abspath(source), path.name)]
    if source.startswith("@"):
        try:
            names = Path(source[1:]).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        except OSError as error:
            raise Problem(f"{source[1:]}: {error.strerror}") from error
        # A file that is missing fails like any other, with its reason; the rest goes on.
        return [(os.path.abspath(name), Path(name).name) for name in names if name]
    found = sorted(name for name in glob.glob(source, recursive=True) if Path(name).is_file())
    if not found:
        raise Problem(f"{source} is no folder, no file, and no pattern that fits a file")
    return [(os.path.abspath(name), Path(name).name) for name in found]


def folder(path, target):
    """All videos below a folder, but for results that lie in it."""
    pairs = []
    for place, folders, files in os.walk(os.path.abspath(path)):
        folders[:] = sorted(name for name in folders if Path(place, name) != target)
        for name in sorted(files):
            full = os.path.join(place, name)
            # What ngc-transcode is writing is hidden and ends in .part.
            if os.path.splitext(name)[1].lower() in EXTENSIONS and os.path.isfile(full):
                pairs.append((full, os.path.relpath(full, path)))
    return pairs


def cut(source, segment):
    """Parts of a file, or one None where it is too short, or where nobody knows how long it is."""
    if not segment:
        return [None]
    try:
        command = ["gst-discoverer-1.0", "-t", "60", source]
        text = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=120, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return [None]
    found = re.search(r"Duration: (\d+):(\d\d):(\d\d)\.", text)
    seconds = int(found[1]) * 3600 + int(found[2]) * 60 + int(found[3]) if found else 0
    # A rest that is shorter than half a segment goes to the one before.
    count = int(seconds / segment + 0.5)
    if count < 2:
        return [None]
    stops = [segment * n for n in range(1, count)] + [None]
    return [[start, stop] for start, stop in zip([0, *stops], stops)]


def check_options(target, container, options):
    """What is wrong with the options is wrong for every file, and is told before the first. One frame is transcoded with them."""
    state = target / STATE
    sample, result = (state / f"check-{os.getpid()}.{kind}" for kind in ("y4m", container))
    # A size that is meant for whole films fits no frame; then only the command line is checked, for a file that is not there.
    if "--target-size" not in " ".join(options):
        sample.write_bytes(b"YUV4MPEG2 W64 H48 F25:1 Ip A1:1 C420jpeg\nFRAME\n" + bytes(64 * 48 * 3 // 2))
    try:
        command = [transcoder(), "--json", "--quiet", *options, str(sample), str(result)]
        found = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False)
    finally:
        sample.unlink(missing_ok=True)
        result.unlink(missing_ok=True)
    # 3 and 4: there is no such input, or no plugin reads it. The options were looked at before.
    if found.returncode not in (0, 3, 4):
        text = found.stderr.strip() or f"exit status {found.returncode}"
        raise Problem(f"ngc-transcode does not work with {' '.join(options)}:\n{text}\ngst-inspect-1.0 ngcenc shows properties and ranges")
