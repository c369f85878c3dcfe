#!/usr/bin/env bash
# A Slurm cluster of one node, this machine, in a folder of its own: for tests.
#
#   tests/slurm.sh start FOLDER     prints what to put into the environment; `skipped: ...` where it cannot start
#   tests/slurm.sh stop FOLDER
#
# Needs root, and Debian's packages slurm-wlm and munge, which it installs where it can. Listens on 127.0.0.1 alone.
set -euo pipefail
action=$1 folder=$(realpath -m "$2")

skip() {
  printf 'skipped: Slurm (%s)\n' "$*"
  stop
  exit 0
}

# What it started, by its number, and only if that is still what it was.
stop() {
  local name file
  for name in slurmd slurmctld munged; do
    file=$folder/$name.pid
    if [ -s "$file" ] && [ "$(cat "/proc/$(cat "$file")/comm" 2>/dev/null)" = $name ]; then
      kill "$(cat "$file")" || true
    fi
  done
}

if [ "$action" = stop ]; then
  stop
  exit 0
fi

[ "$(id -u)" -eq 0 ] || skip "its daemons take root"
missing=()
for package in slurm-wlm munge; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  install() { DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null 2>&1; }
  install || { apt-get update -q >/dev/null 2>&1 && install; } || skip "apt-get cannot install ${missing[*]}"
fi

mkdir -p "$folder"/{state,spool}
chmod 755 "$folder"
port=$((20000 + $$ % 20000))
host=$(hostname -s)
head -c 1024 /dev/urandom >"$folder/munge.key"
chmod 600 "$folder/munge.key"
cat >"$folder/slurm.conf" <<END
ClusterName=ngctest
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
CommunicationParameters=NoAddrCache
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,batch_sched_delay=1
ReturnToService=2
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc)
PartitionName=test Nodes=$host Default=YES State=UP
END
export SLURM_CONF=$folder/slurm.conf
munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
  --log-file="$folder/munged.log" --seed-file="$folder/munge.seed" >"$folder/start.log" 2>&1 || skip "munged: $(tail -n 1 "$folder/start.log")"
slurmctld -f "$SLURM_CONF" >>"$folder/start.log" 2>&1 || skip "slurmctld: $(tail -n 1 "$folder/slurmctld.log" 2>/dev/null)"
slurmd -f "$SLURM_CONF" >>"$folder/start.log" 2>&1 || skip "slurmd: $(tail -n 1 "$folder/slurmd.log" 2>/dev/null)"
for _ in $(seq 40); do
  if sinfo -h -o %T 2>/dev/null | grep -q idle; then
    echo "SLURM_CONF=$SLURM_CONF"
    exit 0
  fi
  sleep 0.5
done
skip "the node does not become idle: $(tail -n 2 "$folder/slurmctld.log" 2>/dev/null | tr '\n' ' ')"
