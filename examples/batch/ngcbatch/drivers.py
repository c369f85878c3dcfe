"""Who starts the units: GNU parallel on this machine, or Slurm on a cluster. Both run `ngc-batch unit`, and nothing else."""

import os
import shlex
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

from . import report
from .common import Problem, say

PROGRAM = Path(__file__).resolve().parents[1] / "ngc-batch"
# Slurm takes 1001 tasks in an array unless it is told otherwise; longer plans get several files a task.
LONGEST_ARRAY = 1000


def run(planned, driver, jobs, options):
    """Does all units of a plan, reports, and returns the exit status."""
    before = report.done(planned)
    environment = dict(os.environ, NGC_BATCH_RUN=uuid.uuid4().hex)
    status = 0
    if len(before) < len(planned.files):
        start = slurm if driver == "slurm" else parallel
        status = start(planned, jobs, options, environment)
    report.write(planned.target)
    if status in (130, 143) or status < 0:
        raise KeyboardInterrupt
    return summary(planned, before, environment["NGC_BATCH_RUN"], status)


def parallel(planned, jobs, _, environment):
    found = shutil.which("parallel")
    if not found or b"GNU" not in subprocess.run([found, "--version"], capture_output=True, check=False).stdout:
        raise Problem("GNU parallel is missing (Debian: apt-get install parallel)")
    cores = len(os.sched_getaffinity(0))
    jobs = jobs or cores
    environment.setdefault("NGC_BATCH_THREADS", str(max(1, cores // jobs)))
    # Results are named as they come; the file that fails does not stop the others.
    command = [found, "--jobs", str(jobs), "--line-buffer", "--quote", sys.executable, str(PROGRAM), "unit", str(planned.target), "{}"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, text=True)
    try:
        child.communicate("".join(f"{n}\n" for n in range(1, len(planned.units) + 1)))
    except KeyboardInterrupt:
        # Twice: to parallel that means, do not wait for what is running.
        for _ in range(2):
            child.terminate()
        child.wait()
        raise
    return child.returncode


def slurm(planned, jobs, options, environment):
    if not shutil.which("sbatch"):
        raise Problem("sbatch is missing: this is no machine of a Slurm cluster")
    count = len(planned.units)
    tasks = min(count, LONGEST_ARRAY)
    logs = planned.state / "slurm"
    logs.mkdir(exist_ok=True)
    array = f"1-{tasks}" + (f"%{jobs}" if jobs else "")
    unit = shlex.join([sys.executable, str(PROGRAM), "unit", str(planned.target)])
    command = ["sbatch", "--wait", "--job-name=ngc-batch", f"--array={array}", f"--output={logs}/%a.log", "--open-mode=append",
               "--requeue", "--export=ALL", *options, "--wrap", f"exec {unit} $SLURM_ARRAY_TASK_ID --stride {tasks}"]  # fmt: skip
    # No answer is lost where this is killed: the tasks go on, and the next run finds their records.
    return subprocess.run(command, stdin=subprocess.DEVNULL, env=environment, check=False).returncode


def summary(planned, before, run_id, status):
    """Says what became of the files, and returns the exit status."""
    now, failed, elsewhere = 0, [], 0
    for source, output in planned.files:
        record = planned.record(output)
        if output in before:
            continue
        if record and record["status"] == "done":
            mine = record["run"] == run_id
            now, elsewhere = now + mine, elsewhere + (not mine)
        elif record and record["run"] == run_id:
            failed.append(f"{source}: {record['reason']}")
        else:
            elsewhere += 1
    # A driver that fails without a failed file has not done its work: what it left is not in anybody's hands.
    broken = status != 0 and not failed
    text = f"ngc-batch: {now} done, {len(before)} done before, {len(failed)} failed"
    print(text + (f", {elsewhere} {'not done by this run' if broken else 'done or in work elsewhere'}" if elsewhere else ""))
    for line in failed:
        print(f"failed: {line}")
    print(f"report: {planned.state / 'index.html'}")
    if broken:
        say(f"the driver ended with status {status}")
        return 1
    return 1 if failed else 0
