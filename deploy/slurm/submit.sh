#!/bin/bash
# A recipe's steps, each queued to start when the one before it has ended well, in the project's folder:
#
#     deploy/slurm/submit.sh [--env RECIPE] [--params ...]
#
# DCR_SBATCH has options of sbatch for all of them, DCR_SBATCH_<STEP> for one, as in
#
#     export DCR_SBATCH="--account=vision --partition=gpu --gpus-per-node=8"
#     export DCR_SBATCH_VALIDATION="--partition=cpu --gpus-per-node=0 --nodes=4"
#     export DCR_SBATCH_TRAINING="--nodes=2"
#
# With `likeness` in the recipe's pipelines, validation takes a second look, by the GPU if its nodes have one.
set -euo pipefail
before=""
submit() {
    local name=$1
    shift
    local own="DCR_SBATCH_${name^^}"
    # Options are split into words on purpose.
    # shellcheck disable=SC2086
    before=$(sbatch --parsable ${before:+--dependency=afterok:$before} --kill-on-invalid-dep=yes \
        ${DCR_SBATCH:-} ${!own:-} "$@")
    echo "$name: job $before"
}
submit validation deploy/slurm/validation.sh "$@"
submit latents deploy/slurm/latents.sh "$@"
submit training deploy/slurm/training.sh "$@"
submit alignment --job-name=dcr-alignment deploy/slurm/step.sh alignment "$@"
submit embedding deploy/slurm/embedding.sh "$@"
submit evaluation deploy/slurm/evaluation.sh "$@"
