#!/bin/bash
#SBATCH --job-name=dcr-training
#SBATCH --nodes=1
#SBATCH --cpus-per-task=8
#SBATCH --requeue
#SBATCH --signal=TERM@300
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
# Both stages: sbatch --nodes=2 --gpus-per-node=8 deploy/slurm/training.sh --env mine
# The recipe says the same: training.processes.num_hosts: 2, num_processes: 8.
exec deploy/slurm/step.sh training "$@"
