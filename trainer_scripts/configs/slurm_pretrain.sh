#!/bin/bash
# Pretraining on 8 nodes of 8 GPUs; what follows the script's name goes to trainer_scripts.pretrain:
#
#   sbatch slurm_pretrain.sh --genome hg38.fa --output run --max_steps 20000
#
# CONFIG=deepspeed_64gpu takes another file of this folder, sbatch --nodes 4 fewer nodes. The environment to run in is
# the one that sbatch is called from; genome and output_dir must be on a file system that all nodes see. A job that
# was stopped goes on from its last checkpoint when it is requeued, or submitted again.
#SBATCH --job-name=hyenadna-pretrain
#SBATCH --nodes=8
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=48:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
set -euo pipefail

configs=$(python -c 'from importlib.resources import files; print(files("trainer_scripts") / "configs")')
mapfile -t hosts < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
gpus=${SLURM_GPUS_ON_NODE:-8}

export SETTINGS="--config_file $configs/${CONFIG:-fsdp2_64gpu}.yaml --num_machines $SLURM_NNODES \
    --num_processes $((SLURM_NNODES * gpus)) --main_process_ip ${hosts[0]} \
    --main_process_port $((20000 + SLURM_JOB_ID % 40000))"
# One launcher a node, which starts a process for each of its GPUs. SLURM_NODEID is known in the step alone.
# shellcheck disable=SC2016
srun --kill-on-bad-exit=1 bash -c \
    'exec accelerate launch $SETTINGS --machine_rank "$SLURM_NODEID" -m trainer_scripts.pretrain "$@"' launch "$@"
