#!/bin/bash
#SBATCH --job-name=dcr-latents
#SBATCH --array=0-3
#SBATCH --nodes=1
#SBATCH --cpus-per-task=8
#SBATCH --requeue
#SBATCH --signal=TERM@300
#SBATCH --open-mode=append
#SBATCH --output=%x-%A-%a.log
# Latents, each task of the array a share of the shards: sbatch --array=0-15 --gpus-per-node=1 deploy/slurm/latents.sh --env mine
exec deploy/slurm/step.sh latents "$@"
