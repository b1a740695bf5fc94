#!/usr/bin/env bash
# A Slurm array that works on one study. The ledger is a Postgres server that all nodes reach (DATABASE_URL), the study's
# folder lies on a file system that all nodes share.
#
#   export DATABASE_URL=postgres://user:password@host/bitlaw
#   sbatch --array=0-15 deploy/slurm.sh studies/first.yaml /shared/studies/first
#
# Task 0 begins the study and works too; the others join. Ended or killed tasks lose at most the work since their runs'
# last checkpoints: submit the array again and it goes on.
#SBATCH --job-name=bitlaw
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=16
#SBATCH --time=12:00:00
# Two minutes before the end every run saves its state and gives its job back.
#SBATCH --signal=B:TERM@120
#SBATCH --output=bitlaw-%A_%a.log
set -euo pipefail

spec=${1:?the specification, e.g. studies/first.yaml}
folder=${2:?the study\'s folder on the shared file system}
: "${DATABASE_URL:?the address of the Postgres server}"
threads=${SLURM_CPUS_PER_TASK:-$(nproc)}

if [[ ${SLURM_ARRAY_TASK_ID:-0} == 0 ]]; then
  command=(bitlaw study run "$spec" --out "$folder" --threads "$threads")
else
  command=(bitlaw worker "$folder" --threads "$threads" --wait 10m)
fi
"${command[@]}" &
trap 'kill -TERM $!' TERM
wait $! || wait $!
