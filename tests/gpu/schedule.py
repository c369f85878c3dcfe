"""The schedule as this run trains it: files where the kit keeps them, other values, one stage alone. Prints the factor on its lengths.

schedule.py SCHEDULE TARGET RUNS SECONDS OVERHEAD STAGE [KEY=VALUE]...

SECONDS are left for all stages that RUNS does not show as finished, each of which takes OVERHEAD seconds beside its training. An empty
STAGE means all of them.
"""

import json
import os
import re
import sys

UNITS = {"s": 1, "m": 60, "h": 3600, "": 1}


def name(stage):
    return re.search(r'(?m)^name = "(.*)"', stage).group(1)


def length(stage):
    """In seconds."""
    budget = re.search(r'(?m)^time-budget = "([\d.]+)([smh]?)"', stage)
    if not budget:
        sys.exit(f"stage {name(stage)}: the kit divides time, so its length is a time-budget such as \"90s\"")
    return float(budget.group(1)) * UNITS[budget.group(2)]


def trained(runs, stage):
    """Seconds that a stage has been trained before, and whether it is finished."""
    try:
        with open(f"{runs}/{name(stage)}/train.jsonl") as file:
            last = json.loads(file.readlines()[-1])
    except (OSError, IndexError, ValueError):
        return 0, False
    return last["seconds"], last["fraction"] >= 1


def with_values(head, stages, sets):
    for entry in sets:
        key, value = entry.split("=", 1)
        if not re.fullmatch(r"-?[\d.e+-]+|true|false|\[.*\]", value):
            value = f'"{value}"'
        line = re.compile(rf"(?m)^{re.escape(key)} = .*\n")
        head = line.sub("", head).replace("[common]\n", f"[common]\n{key} = {value}\n")
        stages = [line.sub("", stage) for stage in stages]
    return head, stages


def main(source, target, runs, seconds, overhead, only, *sets):
    kit = os.path.dirname(source)
    with open(source) as file:
        head, *stages = re.split(r"(?m)^\[\[stage\]\]\n", file.read().replace("/tmp/ngc-kit", kit))
    for stage in list(stages):
        missing = [path for path in re.findall(r'(?m)^[\w.-]+ = "(/.*)"', stage) if not os.path.exists(path)]
        if missing:
            print(f"stage {name(stage)} is left out: {missing[0]} is missing", file=sys.stderr)
            stages.remove(stage)
    if only:
        stages = [stage for stage in stages if name(stage) == only]
    if not stages:
        sys.exit(f"no stage {only}" if only else "no stage is left")
    head, stages = with_values(head, stages, sets)
    with open(target, "w") as file:
        file.write(head + "".join("[[stage]]\n" + stage for stage in stages))
    before = {name(stage): trained(runs, stage) for stage in stages}
    ahead = [stage for stage in stages if not before[name(stage)][1]] or stages
    seconds = float(seconds) - float(overhead) * len(ahead) + sum(before[name(stage)][0] for stage in ahead)
    print(max(seconds, 1) / sum(map(length, ahead)))


main(*sys.argv[1:])
