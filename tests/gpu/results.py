"""All that a run has found as one JSON object.

results.py KIT DEVICE SECONDS [FILE LEFT OUT]...
"""

import json
import os
import sys


def lines(path):
    found = []
    try:
        with open(path) as file:
            for line in file:
                try:
                    found.append(json.loads(line))
                except ValueError:
                    pass  # The end of a line that is being written.
    except OSError:
        pass
    return found


def stage(records):
    held_out = [record for record in records if "held_out/score" in record]
    last = records[-1]
    return {
        "steps": last["step"],
        "seconds": last["seconds"],
        "steps_per_second": last["step"] / max(last["seconds"], 1),
        "held_out_before": held_out[0] if held_out else None,
        "held_out_after": held_out[-1] if len(held_out) > 1 else None,
        "last": last,
    }


def main(kit, device, seconds, *left_out):
    runs = f"{kit}/runs"
    names = sorted(os.listdir(runs)) if os.path.isdir(runs) else []
    records = {name: lines(f"{runs}/{name}/train.jsonl") for name in names}
    out = {
        "device": device,
        "seconds": int(seconds),
        "check": lines(f"{kit}/check.jsonl"),
        "coding": lines(f"{kit}/coding.jsonl"),
        "speed": lines(f"{kit}/speed.jsonl"),
        "score": {when: next(iter(lines(f"{kit}/score-{when}.json")), None) for when in ("before", "after")},
        "stages": {name: stage(found) for name, found in records.items() if found},
        "not_in_the_checkpoint": "the optimiser's state: a stage can start from it, none can be continued with it",
        "left_out": list(left_out),
    }
    json.dump(out, sys.stdout, indent=1)
    print()


main(*sys.argv[1:])
