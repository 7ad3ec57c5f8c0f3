"""Task 1 zero-shot with tiny-1k, from FASTA and BED to scores: ours, and a loop that does what the original's does.

    python benchmarks/zero_shot.py [--threads 2]

The loop opens the FASTA for each element (with pyfaidx; the index has as many contigs as the original's genome),
shuffles in Python, makes one-hot matrices and letters of them, takes transformers' tokenizer in Python, goes through
batches in file order, and sums log-probabilities under a mask made position by position.
"""

import argparse
import json
import random
import tempfile
import time
from pathlib import Path
from statistics import median

import datasets
import numpy as np
import pysam
import torch
from record import Row, write
from regulatory_elements import pair
from stock_model import StockHyenaDNA
from table import table
from transformers import PreTrainedTokenizer

import modeling_hyenadna  # noqa: F401
from datasets_dart import load_dart
from datasets_dart.regulatory_elements import strand_draws
from evaluation_dart.models.language_model import LanguageModel
from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM, HyenaDNATokenizer
from modeling_hyenadna.tokenization_hyenadna import SEP, UNK, VOCABULARY

CONTIG, LENGTH, ELEMENTS = "chr20", 60_000_000, 40_000  # an element in 1,500 bp; of cCREs one in 1,300
OTHER_CONTIGS = 194  # of GRCh38 without alternative contigs
LOOP_ELEMENTS, WHOLE_ELEMENTS, BATCH, REPEATS = 1_000, 256, 64, 3


def simulated(folder: Path) -> tuple[Path, Path]:
    """An indexed FASTA of one random contig, and a BED of elements of 150-350 bp."""
    bases = np.random.default_rng(0).choice(np.frombuffer(b"ACGT", dtype=np.uint8), size=LENGTH)
    genome = folder / "genome.fa"
    genome.write_bytes(f">{CONTIG}\n".encode() + b"\n".join(line.tobytes() for line in bases.reshape(-1, 60)) + b"\n")
    with genome.open("ab") as file:
        for number in range(OTHER_CONTIGS):
            file.write(f">chrUn_{number}\n{'ACGT' * 15}\n".encode())
    pysam.faidx(str(genome))
    rng = random.Random(0)
    starts = sorted(rng.randrange(1000, LENGTH - 1000) for _ in range(ELEMENTS))
    elements = folder / "elements.bed"
    elements.write_text("".join(f"{CONTIG}\t{start}\t{start + rng.randint(150, 350)}\n" for start in starts))
    return genome, elements


class CharacterTokenizer(PreTrainedTokenizer):
    """Characters by transformers' tokenizer in Python, as the official port's remote code has it."""

    def __init__(self, **kwargs) -> None:
        super().__init__(unk_token="[UNK]", sep_token="[SEP]", pad_token="[PAD]", **kwargs)

    @property
    def vocab_size(self) -> int:
        return len(VOCABULARY)

    def get_vocab(self) -> dict[str, int]:
        return dict(VOCABULARY)

    def _tokenize(self, text: str) -> list[str]:
        return list(text)

    def _convert_token_to_id(self, token: str) -> int:
        return VOCABULARY.get(token, UNK)

    def _convert_id_to_token(self, index: int) -> str:
        return next(token for token, number in VOCABULARY.items() if number == index)

    def build_inputs_with_special_tokens(self, token_ids_0: list[int], token_ids_1: None = None) -> list[int]:
        return [*token_ids_0, SEP]


def loop_ids(genome: Path, elements: list[tuple[int, str, int, int]], strands: np.ndarray) -> list[list[torch.Tensor]]:
    """Token ids of elements and of controls, batch by batch, as the original's loop makes them."""
    batches, tokenizer = [], CharacterTokenizer()
    for first in range(0, len(elements), BATCH):
        pairs = [pair(genome, *place, strands[row]) for row, *place in elements[first : first + BATCH]]
        batches.append([tokenizer(list(m), return_tensors="pt")["input_ids"] for m in zip(*pairs, strict=True)])
    return batches


@torch.inference_mode()
def loop_scores(logits_of: torch.nn.Module, ids: torch.Tensor) -> np.ndarray:
    """Scores as the original takes them: all log-probabilities, cut by a mask made one position at a time."""
    log_p = torch.nn.functional.log_softmax(logits_of(ids), dim=-1)
    gathered = log_p[:, :-1].gather(-1, ids[:, 1:, None])[..., 0]
    gathered = torch.cat([torch.zeros(len(ids), 1), gathered], dim=1)
    mask = torch.zeros_like(gathered)
    start, end = torch.zeros(len(ids)), torch.full((len(ids),), ids.shape[1] - 1)
    for position in range(ids.shape[1]):
        mask[:, position] = (start <= position) & (position < end)
    return (gathered * mask).sum(dim=1).numpy()


def seconds(*works) -> list[float]:
    """Median seconds of each, taken in turns, after one round to warm up; each gets the number of the round."""
    times: list[list[float]] = [[] for _ in works]
    for run in range(REPEATS + 1):
        for work, taken in zip(works, times, strict=True):
            start = time.perf_counter()
            work(run)
            taken.append(time.perf_counter() - start)
    return [median(taken[1:]) for taken in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    torch.set_num_threads(parser.parse_args().threads)
    datasets.disable_progress_bars()
    config = HyenaDNAConfig(d_model=128, n_layer=2, max_seq_len=1026, emb_dim=5, activation_freq=10, embed_dropout=0.0)
    models = {}
    for backend in ("torch", "auto"):
        torch.manual_seed(0)
        config.long_conv_backend = backend
        model = HyenaDNAForCausalLM(HyenaDNAConfig.from_dict(config.to_dict())).eval()
        models[backend] = LanguageModel(model, HyenaDNATokenizer(), "causal", "tiny-1k", "random")
    stock = StockHyenaDNA(config)
    stock.load_weights(models["auto"].model.state_dict())
    stock.eval()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        genome, elements = simulated(folder)

        def build(run: str, rows: int | None = None) -> datasets.Dataset:
            bed = elements
            if rows is not None:
                bed = folder / "some.bed"
                bed.write_text("".join(elements.read_text().splitlines(keepends=True)[:rows]))
            return load_dart(
                "regulatory_elements", "paper", "test", genome=genome, elements=bed, cache_dir=folder / run
            )

        whole = build("reference")
        strands = strand_draws(ELEMENTS)
        columns = [whole[column][:] for column in ("id", "chrom", "element_start", "element_end")]
        places = list(zip(*columns, strict=True))

        def our_data(run: int) -> None:
            rows = build(f"data-{run}")
            for first in range(0, len(rows), BATCH):
                batch = rows[first : first + BATCH]
                models["auto"].encode([*batch["sequence"], *batch["control"]])

        def our_scores(backend: str, run: int) -> np.ndarray:
            rows = whole[:WHOLE_ELEMENTS]
            return models[backend].log_likelihood([*rows["sequence"], *rows["control"]], batch_size=BATCH)

        def their_scores(run: int) -> np.ndarray:
            batches = loop_ids(genome, places[:WHOLE_ELEMENTS], strands)
            scores = [[loop_scores(stock, ids) for ids in members] for members in batches]
            return np.concatenate([np.concatenate(member) for member in zip(*scores, strict=True)])

        for backend in models:
            assert np.abs(our_scores(backend, -1) - their_scores(-1)).max() < 1e-2
        ours, theirs = seconds(our_data, lambda run: loop_ids(genome, places[:LOOP_ELEMENTS], strands))
        data = Row(
            what="pairs of 350 bp from FASTA and BED to token ids",
            value=ELEMENTS / ours,
            against="the original's loop",
            against_value=LOOP_ELEMENTS / theirs,
            unit="a second",
            higher_is_better=True,
        )
        plain, fast, loop = seconds(
            lambda run: our_scores("torch", run), lambda run: our_scores("auto", run), their_scores
        )
        # Ours builds a dataset once: each element's share of that, as measured above
        plain, fast = (scoring + WHOLE_ELEMENTS / data["value"] for scoring in (plain, fast))
    rows = [data] + [
        Row(
            what=f"pairs of 350 bp from FASTA and BED to scores, tiny-1k, {operator}",
            value=WHOLE_ELEMENTS / taken,
            against="the original's loop, stock model",
            against_value=WHOLE_ELEMENTS / loop,
            unit="a second",
            higher_is_better=True,
        )
        for operator, taken in (("operator in plain torch", plain), ("fast operator", fast))
    ]
    path = write("zero_shot", rows)
    print(table([json.loads(path.read_text(encoding="utf-8"))]))
    print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
