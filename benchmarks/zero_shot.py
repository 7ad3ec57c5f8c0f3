"""Task 1 zero-shot with tiny-1k, from FASTA and BED to scores: ours, and a loop that does what the original's does.

    python benchmarks/zero_shot.py [--threads 2]

The loop opens the FASTA for each element (with pyfaidx; the index has as many contigs as the original's genome),
shuffles in Python, makes one-hot matrices and letters of them, takes transformers' tokenizer in Python, goes through
batches in file order, and sums log-probabilities under a mask made position by position.
"""

import tempfile
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from record import medians, parsed, parser, row, write
from regulatory_elements import ELEMENTS, build, pair, simulated
from stock_model import StockHyenaDNA
from transformers import PreTrainedTokenizer

from datasets_dart.regulatory_elements import strand_draws
from evaluation_dart.models.language_model import LanguageModel
from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM, HyenaDNATokenizer
from modeling_hyenadna.vocabulary import SEP, UNK, VOCABULARY

OTHER_CONTIGS = 194  # of GRCh38 without alternative contigs
LOOP_ELEMENTS, WHOLE_ELEMENTS, BATCH, REPEATS = 1_000, 256, 64, 3


class CharacterTokenizer(PreTrainedTokenizer):
    """Characters by transformers' tokenizer in Python, as the official port's remote code has it."""

    @property
    def vocab_size(self) -> int:
        """Tokens in all."""
        return len(VOCABULARY)

    def get_vocab(self) -> dict[str, int]:
        """Ids by token."""
        return dict(VOCABULARY)

    def _tokenize(self, text: str, **kwargs: Any) -> list[str]:
        return list(text)

    def _convert_token_to_id(self, token: str) -> int:
        return VOCABULARY.get(token, UNK)

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """[SEP] after the bases."""
        return [*token_ids_0, SEP]


def loop_ids(genome: Path, elements: list[tuple[int, str, int, int]], strands: Any) -> list[list[torch.Tensor]]:
    """Token ids of elements and of controls, batch by batch, as the original's loop makes them."""
    tokenizer: Any = CharacterTokenizer(  # type: ignore[no-untyped-call]
        unk_token="[UNK]", sep_token="[SEP]", pad_token="[PAD]"
    )
    batches = []
    for first in range(0, len(elements), BATCH):
        some = elements[first : first + BATCH]
        pairs = [pair(genome, chrom, start, end, strands[row]) for row, chrom, start, end in some]
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
    return np.asarray((gathered * mask).sum(dim=1))


def main() -> None:
    """Measure our data, our scores with both operators, and the loop's."""
    parsed(parser(__doc__))
    datasets.disable_progress_bars()
    models = {}
    for backend in ("torch", "auto"):
        torch.manual_seed(0)
        config = HyenaDNAConfig(
            d_model=128,
            n_layer=2,
            max_seq_len=1026,
            emb_dim=5,
            activation_freq=10,
            embed_dropout=0.0,
            long_conv_backend=backend,
        )
        model = HyenaDNAForCausalLM(config).eval()  # type: ignore[no-untyped-call]
        models[backend] = LanguageModel(model, HyenaDNATokenizer(), "causal", "tiny-1k", "random")
    stock = StockHyenaDNA(model)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        genome, elements = simulated(folder, OTHER_CONTIGS)

        whole = build(folder, genome, elements, "test")
        strands = strand_draws(ELEMENTS)
        columns = (whole[column] for column in ("id", "chrom", "element_start", "element_end"))
        places = list(zip(*columns, strict=True))

        def our_data() -> None:
            rows = build(folder, genome, elements, "test")
            for first in range(0, len(rows), BATCH):
                batch = rows[first : first + BATCH]
                models["auto"].encode([*batch["sequence"], *batch["control"]])

        def our_scores(backend: str) -> np.ndarray:
            rows = whole[:WHOLE_ELEMENTS]
            return models[backend].log_likelihood([*rows["sequence"], *rows["control"]], batch_size=BATCH)

        def their_scores() -> np.ndarray:
            batches = loop_ids(genome, places[:WHOLE_ELEMENTS], strands)
            scores = [[loop_scores(stock, ids) for ids in members] for members in batches]
            return np.concatenate([np.concatenate(member) for member in zip(*scores, strict=True)])

        for backend in models:
            assert np.abs(our_scores(backend) - their_scores()).max() < 1e-2
        data = medians(
            {"ours": our_data, "loop": lambda: loop_ids(genome, places[:LOOP_ELEMENTS], strands)},
            REPEATS,
        )
        taken = medians(
            {"plain": lambda: our_scores("torch"), "fast": lambda: our_scores("auto"), "loop": their_scores}, REPEATS
        )
    unit, each = "a second", data["ours"] / ELEMENTS  # ours builds a dataset once: each element's share of that
    what, peer = "pairs of 350 bp from FASTA and BED to", "the original's loop"
    rows = [row(f"{what} token ids", 1000 / each, peer, 1000 * LOOP_ELEMENTS / data["loop"], unit, higher=True)]
    for operator, name in (("operator in plain torch", "plain"), ("fast operator", "fast")):
        ours = 1000 * WHOLE_ELEMENTS / (taken[name] + WHOLE_ELEMENTS * each)
        theirs = 1000 * WHOLE_ELEMENTS / taken["loop"]
        rows.append(row(f"{what} scores, tiny-1k, {operator}", ours, f"{peer}, stock model", theirs, unit, higher=True))
    write("zero_shot", rows)


if __name__ == "__main__":
    main()
