#!/usr/bin/env bash
# Tests real runs on clusters, in a few minutes: an array job of Slurm with two interrupted tasks, and the same
# list on a local Dask cluster with one killed worker. Both must give the results of a plain run.
# usage: scripts/test_cluster.sh [--start-slurm SCRIPT]
#
# The Slurm of sinfo is used. If there is none, SCRIPT may start one: it is called as "SCRIPT start FOLDER",
# prints shell commands that give access to it (export SLURM_CONF=…), and is called as "SCRIPT stop FOLDER" at
# the end.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/venv.sh"

root=$PWD pictures=200 tasks=4 patience=600
options=(--formula "0,100,102" --top 3 --batch 4) # 9 maps of each picture, so that tasks take a while

starter=''
case $# in
0) ;;
2) [[ $1 == --start-slurm ]] || stop "there is no option $1; usage: $script [--start-slurm SCRIPT]"
    starter=$2 ;;
*) stop "usage: $script [--start-slurm SCRIPT]" ;;
esac

folder=$(mktemp -d "${TMPDIR:-/tmp}/caffe-lrp-cluster.XXXXXX")
started_slurm='' job=''

clean_up() {
    [[ -z $job ]] || scancel "$job" 2>/dev/null || true
    [[ -z $started_slurm ]] || "$starter" stop "$folder/slurm" >/dev/null 2>&1 || true
    rm -rf "$folder"
}
trap clean_up EXIT

fail() {
    echo "FAILED: $1" >&2
    tail -n 5 "$folder"/*.log >&2 2>/dev/null || true
    exit 1
}

explain_how_to_get_slurm() {
    cat >&2 <<'END'
scripts/test_cluster.sh: no Slurm answers here (sinfo). On Debian or Ubuntu one machine is enough for one, as root:
  apt install slurmctld slurmd slurm-client munge
  1. start munged; it wants /etc/munge/munge.key, 1024 random bytes that only the user munge may read
  2. write a slurm.conf with ClusterName, SlurmctldHost, SlurmUser=root, SlurmdUser=root, StateSaveLocation,
     SlurmdSpoolDir, ProctrackType=proctrack/linuxproc, TaskPlugin=task/none, a NodeName with CPUs=2 or more
     and a PartitionName with Default=YES, and export SLURM_CONF with its path
  3. start slurmctld and slurmd, and wait until sinfo calls the node idle
or put that into a script for --start-slurm, see the head of this file.
END
    exit 1
}

find_slurm() {
    command -v sinfo >/dev/null && timeout 20 sinfo -h >/dev/null 2>&1 && return
    [[ -n $starter ]] || explain_how_to_get_slurm
    local commands
    mkdir "$folder/slurm"
    started_slurm=1
    commands=$("$starter" start "$folder/slurm") || fail "$starter could not start Slurm"
    eval "$commands"
    sinfo -h >/dev/null || fail "sinfo does not answer after $starter"
}

draw_pictures() {
    mkdir "$folder/demo"
    "$bin/python" - "$folder" "$pictures" <<'END'
import sys
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, "scripts/demo")
from demo_pictures import draw_picture

folder, generator, lines = Path(sys.argv[1]), np.random.default_rng(0), []
for number in range(int(sys.argv[2])):
    picture = draw_picture(generator)
    Image.fromarray(picture.pixels).save(folder / f"demo/{number:03}.png")
    lines.append(f"demo/{number:03}.png {picture.classes[0]}\n")
(folder / "list.txt").write_text("".join(lines))
END
}

# wait_until WHAT COMMAND…: until the command succeeds.
wait_until() {
    local what=$1 end=$((SECONDS + patience))
    shift
    until "$@"; do
        ((SECONDS < end)) || fail "waited $patience s in vain: $what"
        sleep 0.1
    done
}

# records GLOB [STATUS]: how many lines about maps the journals have.
# shellcheck disable=SC2086 # it is a glob
records() { cat $1 2>/dev/null | grep -c "\"status\": \"${2:-done}\"" || true; }
has_records() { (($(records "$1") >= $2)); }
has_line() { grep -q "$2" "$1" 2>/dev/null; }
is_gone() { [[ -z $(squeue -h -r -j "$job" 2>/dev/null) ]]; }
is_pending() { [[ $(squeue -h -r -j "$1" -o %t 2>/dev/null) == PD ]]; }

# check_equal OUTDIR: complete, and equal to the plain run; counts maps made twice.
check_equal() {
    diff -rq -x '*.jsonl' -x 'summary*.json' -x '.*.tmp' "$folder/plain" "$1" ||
        fail "$1 differs from the plain run"
    "$bin/python" - "$1" "$maps" <<'END' || fail "the journals of $1 are not as they should be"
import collections, json, sys
from pathlib import Path

counts = collections.Counter(
    record["job"]
    for path in Path(sys.argv[1]).rglob("*.jsonl")
    for record in map(json.loads, path.read_text().splitlines()[1:])
    if record["status"] == "done"
)
twice = sum(count > 1 for count in counts.values())
print(f"   {len(counts)} of {sys.argv[2]} maps done, {twice} of them more than once")
sys.exit(sorted(counts) != list(range(int(sys.argv[2]))) or twice > 0)
END
}

run_array() {
    # Two tasks at a time on one processor each, however large the machine.
    job=$(cd "$folder" && sbatch --parsable --array="0-$((tasks - 1))%2" --cpus-per-task=1 --mem=900 --time=30 \
        "$root/scripts/slurm/caffe-lrp.sbatch" "$root/configs/demo.txt" list.txt array "${options[@]}")
    job=${job%%;*}
    local journals="$folder/array/heatmaps/caffe-lrp-*"
    wait_until "task 0 works" has_records "$journals-0of$tasks.jsonl" 20
    wait_until "task 1 works" has_records "$journals-1of$tasks.jsonl" 20
    local before
    # As a preemption does: everything of the task gets TERM, and Slurm puts it back.
    scontrol requeue "${job}_1"
    # As the end of the time does: the script alone gets USR1.
    scancel --batch --signal=USR1 "${job}_0" 2>/dev/null || true
    wait_until "task 1 is back in the queue" is_pending "${job}_1"
    wait_until "task 0 is back in the queue" is_pending "${job}_0"
    before="$(records "$journals-0of$tasks.jsonl") and $(records "$journals-1of$tasks.jsonl")"
    echo "   tasks 0 and 1 were interrupted, with $before of $((maps / tasks)) maps done; Slurm lets them wait for two minutes"
    wait_until "all tasks end" is_gone
    for task in 0 1; do
        has_line "$folder/caffe-lrp-${job}_$task.log" "interrupted: .* left" || fail "task $task was not interrupted"
    done
    has_line "$folder/caffe-lrp-${job}_0.log" "goes on later" || fail "task 0 did not come back by itself"
    "$bin/caffe-lrp" status "$folder/array" | sed 's/^/   /' || fail "caffe-lrp status finds something missing"
    job=''
}

run_dask() {
    local client worker workers
    (cd "$folder" && exec "$bin/caffe-lrp" -c "$root/configs/demo.txt" -f list.txt -p dask "${options[@]}" \
        --threads 2 --dask local >dask.log 2>&1) &
    client=$!
    wait_until "the workers work" has_records "$folder/dask/heatmaps/*.jsonl" 200
    mapfile -t workers < <(pgrep -P "$client" -f multiprocessing.spawn)
    ((${#workers[@]} == 2)) || fail "there are ${#workers[@]} worker processes, not 2"
    worker=${workers[0]}
    kill -KILL "$worker"
    echo "   one of ${#workers[@]} workers killed, with $(records "$folder/dask/heatmaps/*.jsonl") of $maps maps done"
    wait "$client" || fail "caffe-lrp --dask local ended with code $?"
    tail -n 2 "$folder/dask.log" | sed -n "1s|^|   |p"
}

install cluster ".[dask]"
export PATH=$bin:$PATH
find_slurm
maps=$((pictures * 9))
echo "== drawing $pictures pictures"
draw_pictures
echo "== $maps maps by a plain run"
(cd "$folder" && caffe-lrp -c "$root/configs/demo.txt" -f list.txt -p plain "${options[@]}") | sed -n "1s|^|   |p"
echo "== the same by an array of $tasks tasks on Slurm ($(sinfo --version))"
run_array
check_equal "$folder/array"
echo "== the same by two worker processes of Dask"
run_dask
check_equal "$folder/dask"
echo "== all is well: both are complete and equal to the plain run, byte for byte"
