#!/bin/bash
#SBATCH --job-name=dcr-evaluation
#SBATCH --nodes=1
#SBATCH --cpus-per-task=8
#SBATCH --requeue
#SBATCH --signal=TERM@300
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
# Scores, the encoder's folder and the pages: sbatch --gpus-per-node=1 deploy/slurm/evaluation.sh --env mine
exec deploy/slurm/step.sh evaluation,export,reporting "$@"
