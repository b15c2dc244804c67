#!/bin/bash
#SBATCH --job-name=dcr-validation
#SBATCH --nodes=1
#SBATCH --cpus-per-task=8
#SBATCH --requeue
#SBATCH --signal=TERM@300
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
# Validation, a worker a core: sbatch --nodes=4 deploy/slurm/validation.sh --env mine
# On several nodes they are a Dask cluster, or Ray's where the recipe says validation.backend: ray. Dask's scheduler and Ray's
# head take commands from whoever reaches their ports: only on a network that is yours. One node needs neither.
exec deploy/slurm/step.sh validation "$@"
