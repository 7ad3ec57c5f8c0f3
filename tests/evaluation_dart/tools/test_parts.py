"""Parts of work by the processes of two machines, which are here two launchers on this one."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from datasets_dart.errors import InputError
from evaluation_dart.shards import all_shards, score_in_shards
from evaluation_dart.tools.regions import embed_regions

FIXTURES = Path(__file__).parents[2] / "fixtures"
MODEL, FASTA = FIXTURES / "model" / "small_d32_l2_s130", FIXTURES / "genome" / "genome.fa"
PROGRAM = """
import os, sys
from datasets_dart.errors import InputError
from evaluation_dart.tools.regions import embed_regions
from evaluation_dart.training.accelerators import gathered
bed, fasta, model, common, own = sys.argv[1:]
given = {"batch_size": 1, "part": 1, "device": "cpu"}
print("rows", embed_regions(bed, fasta, model, output=common, **given)["regions_embedded_now"])
try:
    embed_regions(bed, fasta, model, output=own, **given)
except InputError as error:
    print("not common:", error)
if os.environ["RANK"] == "1":
    os._exit(0)
try:
    gathered(1)
except InputError as error:
    print("lost:", error)
"""


def launched(rank, port, *arguments):
    """A launcher of one process of two, on one machine of two."""
    nodes = ["--nnodes", "2", "--nproc_per_node", "1", "--node_rank", str(rank)]
    meeting = ["--master_addr", "127.0.0.1", "--master_port", str(port)]
    command = [sys.executable, "-m", "torch.distributed.run", *nodes, *meeting, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_machines_share_the_parts_of_an_output_that_they_have_in_common(tmp_path):
    bed, program = tmp_path / "regions.bed", tmp_path / "program.py"
    bed.write_text("".join(f"chr5\t{start}\t{start + 60}\n" for start in range(5000, 5300, 60)))
    program.write_text(PROGRAM)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    folders = [tmp_path / f"machine{rank}" for rank in range(2)]
    common = tmp_path / "common.parquet"
    for folder in folders:
        folder.mkdir()
    given = [(program, bed, FASTA, MODEL, common, folder / "own.parquet") for folder in folders]
    machines = [launched(rank, port, *own) for rank, own in enumerate(given)]
    first, second = (machine.communicate(timeout=120) for machine in machines)
    assert [machine.returncode for machine in machines] == [0, 0], first[1] + second[1]
    for (out, _), folder in zip((first, second), folders, strict=True):
        assert "rows 5\n" in out
        assert f"not common: {folder}: process 2 of 2 does not see there what the first one writes; the output" in out
        assert not [*folder.iterdir()]
    assert "lost: another process of this run has ended, on this machine or another; the parts that" in first[0]
    one = embed_regions(bed, FASTA, MODEL, output=tmp_path / "one.parquet", batch_size=1, device="cpu")
    assert one["regions"] == 5
    two, alone = (pq.read_table(path) for path in (common, tmp_path / "one.parquet"))
    assert two.drop(["embedding"]).equals(alone.drop(["embedding"]))
    np.testing.assert_allclose(*(np.stack(table["embedding"].to_numpy()) for table in (two, alone)), rtol=1e-5)


def test_an_output_is_not_made_of_some_of_its_parts(tmp_path):
    def score(rows):
        return {"row": list(rows)}

    score_in_shards(lambda: score, 10, tmp_path, 3, "a run")
    assert [path.name[:10] for path in all_shards(tmp_path, 10, 3)] == [f"{row:010d}" for row in (0, 3, 6, 9)]
    next(tmp_path.glob("0000000003-*")).unlink()
    with pytest.raises(InputError, match="has 3 of 4 parts of the work; run it again"):
        all_shards(tmp_path, 10, 3)
