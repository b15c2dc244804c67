#!/bin/bash
#SBATCH --job-name=dcr
#SBATCH --requeue
#SBATCH --signal=TERM@300
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
# One step of a recipe on all nodes of a job, submitted in the project's folder:
#
#     sbatch [options of sbatch] deploy/slurm/step.sh STEP [--env RECIPE] [--params ...]
#
# Partition, account, time and GPUs are the site's: give them to sbatch (or by SBATCH_PARTITION and the like).
# Five minutes before the job's end, and when it is preempted, SIGTERM has training save. A step that was ended so exits
# with 143, and the job goes back into the queue, to go on where it was, DCR_MAX_RESTARTS times (50).
set -uo pipefail
# Of this job alone, also where several share a node.
export DCR_PORT=$((20000 + SLURM_JOB_ID % 1000 * 10))
srun --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 \
    ${SLURM_CPUS_PER_TASK:+--cpus-per-task="$SLURM_CPUS_PER_TASK"} \
    "${DCR_PYTHON:-.venv/bin/python}" deploy/run.py "$@"
code=$?
if [ "$code" -eq 143 ]; then
    # A time limit in which no checkpoint comes would be met again and again.
    if [ "${SLURM_RESTART_COUNT:-0}" -ge "${DCR_MAX_RESTARTS:-50}" ]; then
        echo "step.sh: ended by SIGTERM after ${SLURM_RESTART_COUNT:-0} restarts (DCR_MAX_RESTARTS), so the job is not" \
            "queued again: see that its time limit holds start and checkpoints, then submit it as before to go on" >&2
    else
        # The number of one task of an array may be that of the whole array.
        scontrol requeue "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"
    fi
fi
exit "$code"
