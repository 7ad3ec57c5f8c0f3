"""Data-parallel and sharded training: two processes on half a batch each compute what one computes on the whole.

`accelerate launch` starts them. Accelerate itself shards models on accelerators only, so torch does it here (FSDP2).
"""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import copy, os, torch, torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from accelerate import Accelerator
from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM

accelerator = Accelerator()
rank, size = accelerator.process_index, accelerator.num_processes
assert size == 2 and dist.get_backend() == "gloo"
torch.manual_seed(0)
config = HyenaDNAConfig(d_model=16, n_layer=2, max_seq_len=70, emb_dim=5, embed_dropout=0.0)
whole = HyenaDNAForCausalLM(config)
ids = torch.randint(7, 11, (4, 70))
mine = ids[2 * rank : 2 * rank + 2]

distributed = DistributedDataParallel(copy.deepcopy(whole))
mesh = init_device_mesh("cpu", (size,))

def shard(model, modules):
    for module in modules:
        fully_shard(module, mesh=mesh)
    return fully_shard(model, mesh=mesh)

sharded, checkpointed, finely = (copy.deepcopy(whole) for _ in range(3))
checkpointed.activation_checkpointing_enable()
for model in (sharded, checkpointed):
    shard(model, model.hyena.backbone.layers)
mixers = [block.mixer for block in finely.hyena.backbone.layers]
shard(finely, [part for mixer in mixers for part in (mixer.short_filter, mixer.filter_fn, mixer)])

whole(ids, labels=ids).loss.backward()
expected = {name: parameter.grad for name, parameter in whole.named_parameters()}
for model, prefix in ((distributed, "module."), (sharded, ""), (checkpointed, ""), (finely, "")):
    model.train()(mine, labels=mine).loss.backward()
    gradients = {name.removeprefix(prefix): parameter.grad for name, parameter in model.named_parameters()}
    assert gradients.keys() == expected.keys()
    for name, gradient in gradients.items():
        gradient = gradient.full_tensor() if hasattr(gradient, "full_tensor") else gradient
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-6, msg=name)

with torch.no_grad():
    logits = sharded.eval()(ids).logits
    torch.testing.assert_close(logits, whole.eval()(ids).logits)
    assert torch.equal(sharded(ids).logits, logits)  # with the kernels kept from the first time
dist.destroy_process_group()
os._exit(0)  # gloo's threads may still drop work of a backward, and abort where the interpreter has gone
"""


def test_gradients_of_ddp_and_fsdp(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2"]
    command += ["--main_process_port=0"]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1", "PYTHONPATH": str(root)}
    run = subprocess.run([*command, str(script)], capture_output=True, text=True, env=environment, timeout=300)
    assert run.returncode == 0, run.stderr[-3000:]
