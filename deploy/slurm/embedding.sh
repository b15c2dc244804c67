#!/bin/bash
#SBATCH --job-name=dcr-embedding
#SBATCH --array=0-3
#SBATCH --nodes=1
#SBATCH --cpus-per-task=8
#SBATCH --requeue
#SBATCH --signal=TERM@300
#SBATCH --open-mode=append
#SBATCH --output=%x-%A-%a.log
# Embeddings that evaluation then finds, each task a share: sbatch --gpus-per-node=1 deploy/slurm/embedding.sh --env mine
exec deploy/slurm/step.sh embedding "$@"
