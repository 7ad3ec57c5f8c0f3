"""What `accelerate launch` makes of trainer_scripts/configs, and that every block is sharded."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env
from torch.distributed.fsdp import MixedPrecisionPolicy

from evaluation_dart.training import accelerators
from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM
from studies.pages import END, START
from studies.pretraining_memory import (
    MEASURED,
    PAGE,
    operator_tensors,
    released_configs,
    tables,
)
from trainer_scripts.training_memory import OPERATOR, mlp_bytes, training_footprint

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "trainer_scripts" / "configs"
GPUS = {"1gpu": (1, 1), "8gpu": (1, 8), "64gpu": (8, 64)}
SCRIPT = ["-m", "trainer_scripts.pretrain", "--max_steps", "1"]
FSDP = sorted(path.stem for path in CONFIGS.glob("fsdp2_*.yaml"))
DEEPSPEED = sorted(path.stem for path in CONFIGS.glob("deepspeed_*.yaml"))

SHARDED = """
from types import SimpleNamespace
import os, torch, torch.distributed as dist
from accelerate.utils.fsdp_utils import fsdp2_prepare_model
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy
from torch.distributed.tensor import DTensor
from accelerate.utils import FullyShardedDataParallelPlugin
from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM

dist.init_process_group("gloo")
assert dist.get_world_size() == 2
mesh = init_device_mesh("cpu", (2,), mesh_dim_names=("dp_shard",))
plugin = FullyShardedDataParallelPlugin(mixed_precision_policy=MixedPrecisionPolicy())  # all else as launched
accelerator = SimpleNamespace(
    state=SimpleNamespace(fsdp_plugin=plugin),
    torch_device_mesh=mesh,
    parallelism_config=SimpleNamespace(fsdp_dim_names=["dp_shard"]),
    mixed_precision="bf16",
    is_main_process=dist.get_rank() == 0,
    device=torch.device("cpu"),
)
for tied in (True, False):
    torch.manual_seed(0)
    config = HyenaDNAConfig(
        d_model=16, n_layer=3, max_seq_len=70, emb_dim=5, embed_dropout=0.0, tie_word_embeddings=tied
    )
    model = fsdp2_prepare_model(accelerator, HyenaDNAForCausalLM(config))
    blocks = model.hyena.backbone.layers
    assert len(blocks) == 3
    for block in blocks:
        assert isinstance(block, FSDPModule)
        gathered = block._get_fsdp_state()._fsdp_param_group.fsdp_params  # together, and apart from other blocks'
        assert len(gathered) == len(list(block.parameters()))
    for name, parameter in model.named_parameters():
        assert isinstance(parameter, DTensor), name
        assert parameter.placements[0].is_shard(), name
        halves = [-(-parameter.shape[0] // 2), parameter.shape[0] // 2]
        assert parameter.to_local().shape[0] == halves[dist.get_rank()], name
    seen = {}
    filter_fn = blocks[0].mixer.filter_fn
    filter_fn.register_forward_hook(lambda _, inputs, pair: seen.update(kernel=pair[0].dtype, bias=pair[1].dtype))
    blocks[0].register_forward_hook(lambda module, _, y: seen.update(residual=y.dtype))
    blocks[0].mixer.in_proj.register_forward_hook(lambda module, _, y: seen.update(projected=y.dtype))
    ids = torch.randint(7, 11, (2, 70))
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(ids, labels=ids).loss
    loss.backward()
    float32 = torch.float32
    assert seen == {"kernel": float32, "bias": float32, "residual": float32, "projected": torch.bfloat16}, seen
    assert all(isinstance(parameter.grad, DTensor) for parameter in model.parameters())
dist.destroy_process_group()
os._exit(0)  # gloo's threads may still drop work of a backward, and abort where the interpreter has gone
"""


def launched(name: str) -> argparse.Namespace:
    """The arguments of `accelerate launch --config_file NAME.yaml ...` as it understands them, on the last node."""
    place = ["--main_process_port", "0"]  # any free one
    if name.endswith("_64gpu"):
        place = ["--main_process_port", "29500", "--main_process_ip", "10.0.0.1", "--machine_rank", "7"]
    arguments = launch_command_parser().parse_args(["--config_file", str(CONFIGS / f"{name}.yaml"), *place, *SCRIPT])
    arguments, defaults, _ = _validate_launch_command(arguments)
    arguments.deepspeed_fields_from_accelerate_config = ",".join(defaults.deepspeed_config)  # as launch_command does
    return arguments


def settings(environment: dict[str, str]) -> dict[str, str]:
    """Those of Accelerate among the variables that a launch hands to its processes."""
    return {key: value for key, value in environment.items() if key.startswith(("ACCELERATE_", "FSDP_"))}


def assert_started_on_nodes(arguments: argparse.Namespace, name: str) -> None:
    machines, processes = GPUS[name.split("_")[1]]
    assert int(arguments.nproc_per_node) == processes // machines
    if machines > 1:
        started = (arguments.nnodes, arguments.node_rank, arguments.rdzv_endpoint, arguments.rdzv_backend)
        assert started == ("8", 7, "10.0.0.1:29500", "static")


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_takes_every_file(path):
    kind, gpus = path.stem.split("_")
    machines, processes = GPUS[gpus]
    config = load_config_from_file(str(path))
    types = {"bf16": "NO", "ddp": "MULTI_GPU", "fsdp2": "FSDP", "deepspeed": "DEEPSPEED"}
    assert config.distributed_type == DistributedType(types[kind])
    assert (config.num_machines, config.num_processes, config.mixed_precision) == (machines, processes, "bf16")

    arguments = launched(path.stem)
    assert (arguments.num_machines, arguments.num_processes) == (machines, processes)
    chosen = (arguments.multi_gpu, arguments.use_fsdp, arguments.use_deepspeed)
    assert chosen == (kind == "ddp", kind == "fsdp2", kind == "deepspeed")
    assert arguments.module
    assert arguments.training_script == "trainer_scripts.pretrain"
    # Accelerate copies whatever it finds: a key that it does not know would be lost without a word.
    section = yaml.safe_load(path.read_text()).get("fsdp_config" if kind == "fsdp2" else f"{kind}_config", {})
    assert section.keys() <= {action.dest for action in launch_command_parser()._actions}


def test_there_is_one_for_each_number_of_gpus():
    assert {f"{kind}_{gpus}" for kind in ("fsdp2", "deepspeed") for gpus in GPUS} == {*FSDP, *DEEPSPEED}


def test_fsdp_shards_every_block(tmp_path):
    found = []
    for name in FSDP:
        arguments = launched(name)
        found.append(settings(prepare_multi_gpu_env(arguments)))
        assert_started_on_nodes(arguments, name)
    assert found[0]["ACCELERATE_USE_FSDP"] == "true"
    assert found[0]["FSDP_VERSION"] == "2"
    assert all(found[0] == other for other in found)  # so that one run speaks for all three
    script = tmp_path / "sharded.py"
    script.write_text(SHARDED, encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)]
    environment = {**os.environ, **found[0], "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert run.returncode == 0, run.stderr[-3000:]


@pytest.mark.parametrize("name", DEEPSPEED)
def test_deepspeed_shards_gradients_and_states(name):
    arguments = launched(name)
    _, environment = prepare_deepspeed_cmd_env(arguments)
    found = settings(environment)
    assert found["ACCELERATE_USE_DEEPSPEED"] == "true"
    assert found["ACCELERATE_DEEPSPEED_ZERO_STAGE"] == "2"
    assert found["ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE"] == "none"
    assert found["ACCELERATE_DEEPSPEED_ZERO3_INIT"] == "false"
    assert_started_on_nodes(arguments, name)


def test_bfloat16_is_autocast_alone(monkeypatch):
    monkeypatch.setattr(accelerators, "Accelerator", lambda **given: given)
    for name, value in settings(prepare_multi_gpu_env(launched("fsdp2_8gpu"))).items():
        monkeypatch.setenv(name, value)
    given = accelerators.training_accelerator(None, 4, 8, 1.0)
    given["fsdp_plugin"].set_mixed_precision("bf16")  # as Accelerate does
    assert given["fsdp_plugin"].mixed_precision_policy == MixedPrecisionPolicy()
    assert (given["mixed_precision"], given["deepspeed_plugin"]) == ("bf16", None)

    monkeypatch.delenv("ACCELERATE_USE_FSDP")
    for name, value in settings(prepare_deepspeed_cmd_env(launched("deepspeed_8gpu"))[1]).items():
        monkeypatch.setenv(name, value)
    given = accelerators.training_accelerator(None, 4, 8, 0.5)
    plugin = given["deepspeed_plugin"]
    plugin.set_mixed_precision("bf16")
    assert plugin.deepspeed_config["bf16"] == {"enabled": False}
    assert plugin.deepspeed_config["torch_autocast"] == {"enabled": True, "dtype": "bfloat16"}
    assert plugin.deepspeed_config["zero_optimization"]["stage"] == 2
    numbers = ("gradient_accumulation_steps", "gradient_clipping", "train_micro_batch_size_per_gpu")
    assert [plugin.deepspeed_config[name] for name in numbers] == [4, 0.5, 8]

    with pytest.raises(ValueError, match="fp16"):
        accelerators.training_accelerator("fp16", 1, 1, 1.0)


STUBS = {
    "scontrol": 'printf "%s\\n" node0 node1 node2 node3',
    "srun": 'shift; SLURM_NODEID=3 exec "$@"',
    "accelerate": 'printf "%s\\n" "$@"',
}


def test_slurm_script_starts_a_launcher_on_each_node(tmp_path):
    for name, body in STUBS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "python").symlink_to(sys.executable)
    slurm = {"SLURM_JOB_NODELIST": "node[0-3]", "SLURM_NNODES": "4", "SLURM_JOB_ID": "41234"}
    variables = {**os.environ, **slurm, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    command = ["bash", str(CONFIGS / "slurm_pretrain.sh"), "--genome", "my genome.fa", "--steps", "9"]
    run = subprocess.run(command, capture_output=True, text=True, env=variables, check=True)
    launch, *given = run.stdout.splitlines()
    assert launch == "launch"
    arguments = launch_command_parser().parse_args(given)
    arguments, _, _ = _validate_launch_command(arguments)
    assert arguments.use_fsdp
    assert (arguments.num_machines, arguments.num_processes, arguments.machine_rank) == (4, 32, 3)
    assert (arguments.main_process_ip, arguments.main_process_port) == ("node0", 21234)
    assert arguments.training_script == "trainer_scripts.pretrain"
    assert arguments.training_script_args == ["--genome", "my genome.fa", "--steps", "9"]


def kept_by_autograd(config: HyenaDNAConfig, shape: tuple[int, int], bf16: bool, checkpointing: bool) -> int:
    """Bytes that torch holds between forward and backward, parameters apart."""
    model = HyenaDNAForCausalLM(config).train()
    if checkpointing:
        model.activation_checkpointing_enable()
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    ids = torch.randint(7, 11, shape)
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=bf16),
    ):
        model(ids, labels=ids)
    return sum(storage.nbytes() for storage in kept.values())


def test_what_is_counted_is_what_torch_keeps():
    shape = batch, length = 2, 1500
    config = HyenaDNAConfig(d_model=32, n_layer=3, max_seq_len=1600, emb_dim=5, filter_order=24, embed_dropout=0.0)

    for bf16 in (False, True):
        counted = training_footprint(config, length, 5.77, batch, bf16=bf16)
        whole = counted.activations + mlp_bytes(config, batch * length, 2 if bf16 else 4) + counted.head
        copies = 3 * 4 * 32 + (3 * 2 * 12 * 32**2 if bf16 else 0)  # of the skip weights, and autocast's of all weights
        assert kept_by_autograd(config, shape, bf16, False) == pytest.approx(whole + copies, abs=2048 if bf16 else 8)
    spared = 3 * batch * length * 32 * 4 + training_footprint(config, length, 5.77, batch, bf16=False).head
    assert kept_by_autograd(config, shape, False, True) == pytest.approx(spared, rel=0.01)


def test_states_are_shared_out_and_activations_are_not():
    config = released_configs()["large-1m"]
    alone = training_footprint(config, 1_000_002, operator_tensors(MEASURED))
    states = alone.parameters + alone.gradients + alone.optimizer
    assert states == 16 * 6_554_624
    rest = alone.activations + alone.working + alone.head
    assert alone.on_each_of(1) == states + rest
    assert alone.on_each_of(64) == states // 64 + alone.parameters + rest
    spared = training_footprint(config, 1_000_002, operator_tensors(MEASURED), checkpointing=True)
    assert spared.activations < alone.activations / 6
    with pytest.raises(ValueError, match="1000003"):
        training_footprint(config, 1_000_003, 5.77)


def test_page_is_what_the_command_writes():
    text = (ROOT / "docs" / PAGE).read_text()
    assert text.split(START)[1].split(END)[0].strip() == tables().strip()
    assert f"{operator_tensors(MEASURED):.2f} input tensors" in text
    assert round(operator_tensors(MEASURED), 3) == OPERATOR
