"""What `accelerate launch` makes of trainer_scripts/configs, and that every block is sharded."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "trainer_scripts" / "configs"
GPUS = {"1gpu": (1, 1), "8gpu": (1, 8), "64gpu": (8, 64)}
SCRIPT = ["-m", "trainer_scripts.pretrain", "--steps", "1"]
FSDP = sorted(path.stem for path in CONFIGS.glob("fsdp2_*.yaml"))
DEEPSPEED = sorted(path.stem for path in CONFIGS.glob("deepspeed_*.yaml"))

SHARDED = """
from types import SimpleNamespace
import torch, torch.distributed as dist
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
    filter_fn.register_forward_hook(lambda module, _, kernel: seen.update(kernel=kernel.dtype, bias=module.bias.dtype))
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
