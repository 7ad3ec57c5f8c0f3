"""Any DNA language model on the Hub as a scorer of sequences: causal or masked, of characters, k-mers or BPE.

What a model needs is read from its config, its tokenizer and its `forward`, not from a list of names: which head it
was saved with, which tokens the tokenizer adds around a sequence, whether an attention mask is taken.
"""

import copy
import functools
import inspect
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import numpy as np
import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from transformers import (
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from datasets_dart.alphabet import BASES, as_dna
from datasets_dart.errors import InputError
from datasets_dart.progress import is_open, passed
from evaluation_dart.models.checkpoints import (
    Kind,
    auto_class_of,
    check_size,
    commit_of,
    folder_digest,
    head_of,
    load_config,
    loading_of,
    model_id,
    register_models,
    remote_classes,
    usable_device,
    usable_dtype,
)
from evaluation_dart.models.families import family_of_config
from evaluation_dart.models.families.own_code import declared_class, load_own_code, runs_own_code
from evaluation_dart.models.kinds import INT8, RANDOM_WEIGHTS, check_batch_size
from evaluation_dart.recipes import AS_IT_IS, CARBON_TEXT, NOT_ADDED, NOT_SCORED, TRAITGYM_TEXT
from evaluation_dart.scoring.alike import Pass, by_length, first_rows, passes, reads_alike
from evaluation_dart.scoring.embeddings import POOLINGS, pooled_states
from evaluation_dart.scoring.likelihoods import (
    NO_MASKED_SCORE,
    causal_log_likelihood,
    causal_sums,
    masked_allele_log_likelihoods,
    masked_log_likelihood,
)

# A tokenizer without a limit of its own reports one of this size or more.
NO_LIMIT = 1_000_000_000
# Carbon's evaluation: what the name of a model has in it -> what goes before a sequence; and its k-mers
TAGS, CARBON_KMER = {"carbon": "<dna>", "generator": "<s>"}, 6
UNKNOWN_KMER = "N"
SPELT = "ACGTTGCATTAGGACCATCAGCTTGACGATACCGTGAACTGGCAATTCGCTAGATGCACT"  # by which k-mers are told from BPE
# Parts of BERT and ESM that a language model's logits do not depend on: without them, a checkpoint is still whole.
BESIDE_THE_HEAD = ("pooler.", "contact_head.")

# Fields of configurations that say how many positions a model knows
POSITIONS = ("max_position_embeddings", "n_positions")

HYENADNA = "hyenadna"  # its model_type
BatchSize = int | str  # rows, or "auto"
Result = TypeVar("Result")
# Where batch size "auto" begins: rows of a batch, and its tokens in all on a CPU, whose memory does not run out at once
LARGEST, LARGEST_ON_CPU, CPU_TOKENS = 1024, 64, 1 << 17


class OutOfMemory(InputError):
    """A batch that does not fit into the device's memory."""


def largest_batch(device: torch.device, tokens: int) -> int:
    """Rows of `tokens` tokens that batch size "auto" tries first."""
    if device.type == "cpu":
        return max(1, min(LARGEST_ON_CPU, CPU_TOKENS // max(tokens, 1)))
    return LARGEST


def longest(sequences: Sequence[str]) -> int:
    """Bases of the longest sequence; 0 of none."""
    return max(map(len, sequences), default=0)


class Encoder:
    """A model with its tokenizer, as a scorer of DNA strings: embeddings. The model and tokenizer are left as they are.

    Attributes:
        name: Hub id or folder; revision: commit, or digest of a local folder's files.
        kind: "causal", "masked" or, without a language-model head, "encoder".
        max_tokens: longest input, or None where neither model nor tokenizer has a limit.
        before, after: how many special tokens the tokenizer adds at either end of a sequence.

    Raises:
        InputError: for a masked model without a mask token.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        kind: Kind,
        name: str,
        revision: str,
    ):
        self.model, self.kind, self.name, self.revision = model, kind, name, revision
        self.random_seed: int | None = None  # of weights that were drawn anew
        self.whole_parameters: int | None = None  # of a network some of whose layers are in int8
        if tokenizer.pad_token is None:
            tokenizer = copy.deepcopy(tokenizer)
            tokenizer.pad_token = tokenizer.eos_token
        self.tokenizer = tokenizer
        if kind == "masked" and tokenizer.mask_token_id is None:
            raise InputError(f"{name}: a masked language model whose tokenizer has no mask token cannot be scored")
        # Caduceus has no mask to take; a tokenizer that makes none says that the model was trained without.
        self.takes_mask = (
            "attention_mask" in inspect.signature(model.forward).parameters
            and "attention_mask" in tokenizer.model_input_names
        )
        self.before, self.after = added_tokens(tokenizer)
        fields = () if family_of_config(name, model.config).relative_positions else POSITIONS
        limits = [getattr(model.config, field, None) for field in fields]
        if tokenizer.model_max_length < NO_LIMIT:
            limits.append(tokenizer.model_max_length)
        self.fitting: dict[int, int] = {}  # length -> batch size that fits, of batch size "auto"
        self.max_tokens: int | None = min((limit for limit in limits if limit), default=None)

    def describe(self) -> dict[str, Any]:
        """What a record says of the model."""
        own, drawn = model_id(self.name), self.random_seed is not None
        described: dict[str, Any] = {"id": own + (RANDOM_WEIGHTS if drawn else ""), "revision": self.revision}
        described |= {"parameters": self.num_parameters} | ({"seed": self.random_seed} if drawn else {})
        return described | {"dtype": self.dtype_name}

    @property
    def dtype_name(self) -> str:
        """What the network computes in: "float32", ..., or "int8" after [`to_int8`]."""
        return str(self.model.dtype).removeprefix("torch.") if self.whole_parameters is None else INT8

    @property
    def num_parameters(self) -> int:
        """Parameters of the network."""
        return self.model.num_parameters() if self.whole_parameters is None else self.whole_parameters

    def to_int8(self) -> None:
        """Compute the network's linear layers in int8 from now on: weights once, activations as they come.

        Raises:
            InputError: for another device than a CPU, or if this torch cannot.
        """
        if self.device.type != "cpu":
            raise InputError(f"dtype {INT8!r}: on a CPU only, and the model is on {self.device}")
        try:
            from torch.ao.quantization import quantize_dynamic
        except ImportError as error:
            raise InputError(f"dtype {INT8!r}: torch {torch.__version__} has no torch.ao.quantization") from error
        parameters = self.num_parameters
        with warnings.catch_warnings(action="ignore"):  # torch's: it will be removed in favour of torchao
            quantised = quantize_dynamic(self.model, {torch.nn.Linear}, dtype=torch.qint8)
        self.model, self.whole_parameters = quantised, parameters

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.model.device

    @property
    def device_name(self) -> str:
        """The GPU's name, or "cpu"."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else str(self.device)

    def encode(
        self, sequences: Sequence[str], special_tokens: str = NOT_SCORED, text: str = AS_IT_IS
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Model inputs of a batch, and which tokens are of the sequences themselves: (B, T) bool. U is read as T.

        Args:
            special_tokens: those that the tokenizer adds are "not scored", that is not of the sequence; "scored"; or
                "not added". Padding is never of it.
            text: what the tokenizer is given: see [`written`].

        Raises:
            ValueError: if a sequence has more tokens than the model can read.
        """
        # Right padding never reaches a causal model's real tokens, whether or not it takes a mask.
        encoded = self.tokenizer(
            self.written(sequences, text),
            add_special_tokens=special_tokens != NOT_ADDED,
            padding=True,
            padding_side="right",
            return_tensors="pt",
            return_attention_mask=True,
        )
        mask = encoded["attention_mask"]
        tokens = mask.shape[1]
        if self.max_tokens is not None and tokens > self.max_tokens:
            longest = max(map(len, sequences))
            raise InputError(
                f"{self.name} reads at most {self.max_tokens} tokens, but {longest} bases are {tokens} tokens: "
                "take a shorter window"
            )
        # Not the tokenizer's special_tokens_mask: ESM's, of the Nucleotide Transformer, counts an [EOS] it never adds.
        before, after = (self.before, self.after) if special_tokens == NOT_SCORED else (0, 0)
        position = torch.arange(tokens)
        own = (position >= before) & (position < mask.sum(dim=1, keepdim=True) - after)
        inputs = {"input_ids": encoded["input_ids"].to(self.device)}
        if self.takes_mask and not mask.all():  # without padding a mask changes nothing but the time
            inputs["attention_mask"] = mask.to(self.device)
        return inputs, own.to(self.device)

    def written(self, sequences: Sequence[str], text: str) -> list[str]:
        """What the tokenizer is given of sequences, by a recipe's `text`: as they are, with T for U, or

        as Carbon's evaluation writes them: after the [`tag`] of Carbon's and GENERator's models, cut on the right to
        whole 6-mers; of models without a tag as they are;
        as TraitGym's does for masked models of k-mers: whole k-mers, of which those not all A, C, G, T are one N each.
        """
        letters = [*map(as_dna, sequences)]
        if text == CARBON_TEXT and self.tag:
            if (shortest := min(map(len, letters), default=CARBON_KMER)) < CARBON_KMER:
                raise InputError(
                    f"{self.name}: reads {CARBON_KMER}-mers, and {shortest} bases are fewer: take a longer window"
                )
            return [self.tag + own[: len(own) - len(own) % CARBON_KMER] for own in letters]
        if text == TRAITGYM_TEXT and self.kind == "masked" and (k := self.bases_per_token or 1) > 1:
            cut = [[own[start : start + k] for start in range(0, len(own) - k + 1, k)] for own in letters]
            return ["".join(kmer if set(kmer) <= set(BASES) else UNKNOWN_KMER for kmer in own) for own in cut]
        return letters

    def token_counts(self, sequences: Sequence[str]) -> np.ndarray:
        """(n,) int64 numbers of a sequence's own tokens."""
        rows = self.tokenizer([*map(as_dna, sequences)])["input_ids"]
        return np.array([len(own) - self.before - self.after for own in rows], dtype=np.int64)

    @functools.cached_property
    def tag(self) -> str:
        """What Carbon's evaluation puts before a sequence for a model of this name, or nothing.

        That evaluation tells models by their names; here, the tokenizer must have the tag as well.
        """
        name, known = str(self.name).lower(), self.tokenizer.get_vocab()
        return next((tag for part, tag in TAGS.items() if part in name and tag in known), "")

    @functools.cached_property
    def bases_per_token(self) -> int | None:
        """1, or of k-mers k; None where tokens are of several lengths, as those of BPE are."""
        try:
            (tokens,) = self.base_tokens([SPELT])
        except InputError:  # tokens that do not spell a sequence one after another
            return None
        counts = np.unique(tokens, return_counts=True)[1]
        return int(counts[0]) if (counts == counts[0]).all() else None

    @torch.inference_mode()
    def embed(
        self,
        sequences: Sequence[str],
        layer: int = -1,
        pooling: str = "mean",
        attention_mask: bool = True,
        batch_size: BatchSize = 64,
        record: Sequence[Any] | np.ndarray | None = None,
    ) -> np.ndarray:
        """One vector a sequence: hidden states of a layer, pooled over tokens. (n, C) float32.

        Args:
            layer: index into the model's hidden states; -1, the default, is the last.
            pooling: "mean" over the sequence's own tokens; "mean_with_next", those and the one that follows; or
                "mean_all", over all tokens of the batch, special ones and padding among them. The last two are
                how the original pools.
            attention_mask: False lets the model read padding as if it were sequence, as the original does.
            record: (n,) names of groups of sequences that begin alike, which models that can read from where they
                differ; None where there are none.

        Raises:
            ValueError: as [`encode`], for an unknown pooling, or if the model gives no hidden states.
        """
        if pooling not in POOLINGS:
            raise InputError(f"pooling {pooling!r}: there are {', '.join(POOLINGS)}")

        def pooled(output: Any, own: torch.Tensor) -> np.ndarray:
            return pooled_states(output, layer, own, pooling, self.name).cpu().numpy()

        if len(sequences) == 0:
            return np.empty((0, 0), np.float32)

        def run(texts: list[str], size: int) -> np.ndarray:
            inputs, own = self.encode(texts)
            if not attention_mask:
                inputs.pop("attention_mask", None)
            with self.passing(size, own.shape[1]):
                return pooled(self.model(**inputs, output_hidden_states=True), own)

        pads_matter = pooling == "mean_all" or not attention_mask
        if record is not None and reads_alike(self) and not pads_matter:
            encoded = self.encode(sequences)
            return self.read_alike(
                *encoded, record, batch_size, lambda part: pooled(part.output, part.own), output_hidden_states=True
            )
        return self.each(sequences, batch_size, run, in_order=pads_matter)

    def base_tokens(self, sequences: Sequence[str]) -> list[np.ndarray]:
        """For each sequence, the index of the token that covers each of its bases: (L,) int64, -1 for none.

        From the tokenizer's offset mapping; of one without (in Python), from the letters of its tokens.

        Raises:
            ValueError: if the tokens of a tokenizer without offsets do not spell the sequence.
        """
        if self.tokenizer.is_fast:
            offsets = self.tokenizer([*map(as_dna, sequences)], return_offsets_mapping=True)["offset_mapping"]
            spans = [
                [(number, *span) for number, span in enumerate(own) if span[1] > span[0]]
                for own in (_between(row, self.before, self.after) for row in offsets)
            ]
        else:
            spans = [self._spelt(sequence) for sequence in sequences]
        covered = []
        for sequence, tokens in zip(sequences, spans, strict=True):
            token_of = np.full(len(sequence), -1)
            for number, start, end in tokens:
                token_of[start:end] = number + self.before
            covered.append(token_of)
        return covered

    def _spelt(self, sequence: str) -> list[tuple[int, int, int]]:
        """(number, start, end) of each of a sequence's own tokens, from their letters."""
        ids = list(_between(self.tokenizer(as_dna(sequence))["input_ids"], self.before, self.after))
        lengths = [len(token) for token in self.tokenizer.convert_ids_to_tokens(ids)]
        if len(ids) == len(sequence):
            lengths = [1] * len(ids)
        if sum(lengths) != len(sequence):
            raise InputError(f"{self.name}: {len(ids)} tokens do not spell {sequence[:50]}, of {len(sequence)} bases")
        ends = np.cumsum(lengths).tolist()
        return [(number, end - length, end) for number, (end, length) in enumerate(zip(ends, lengths, strict=True))]

    def in_batches(
        self, rows: int, tokens: int, batch_size: BatchSize, run: Callable[[slice, int], Result]
    ) -> list[Result]:
        """run(rows, batch size) of consecutive batches of `rows` rows of up to `tokens` tokens or bases.

        Batch size "auto" starts at `LARGEST` rows, halves where memory runs out, and stays there for sequences of this
        length.

        Raises:
            InputError: for any other batch size than a whole number from 1, or "auto".
            OutOfMemory: if the batch does not fit, with "auto" if not even one row does.
        """
        check_batch_size(batch_size)
        auto = batch_size == "auto"
        size = self.fitting.get(tokens, largest_batch(self.device, tokens)) if auto else int(batch_size)
        results: list[Result] = []
        start = 0
        while start < rows:
            try:
                results.append(run(slice(start, start + size), size))
                start += size
            except OutOfMemory:
                if not auto or size == 1:
                    raise
                size //= 2
                clear_device_cache(garbage_collection=True)
        if auto:
            self.fitting[tokens] = size
        return results

    def each(
        self,
        sequences: Sequence[str],
        batch_size: BatchSize,
        run: Callable[[list[str], int], np.ndarray],
        in_order: bool = False,
    ) -> np.ndarray:
        """run(sequences, batch size) of batches, (n, ...) in the order of all sequences.

        Sequences of about one length are together, unless they must stay in order.
        """
        order = np.arange(len(sequences)) if in_order else by_length(sequences)

        def of_rows(rows: slice, size: int) -> np.ndarray:
            return run([sequences[row] for row in order[rows]], size)

        found = self.in_batches(len(order), longest(sequences), batch_size, of_rows)
        return np.concatenate(found)[np.argsort(order)] if found else np.empty(0)

    def read_alike(
        self,
        inputs: dict[str, torch.Tensor],
        own: torch.Tensor,
        record: Sequence[Any] | np.ndarray,
        batch_size: BatchSize,
        values_of: Callable[[Pass], np.ndarray],
        **options: Any,
    ) -> np.ndarray:
        """values_of(pass), (b, ...), of all sequences, (n, ...), each read from where it differs in its record.

        Args:
            inputs, own: of [`encode`]. record: (n,). batch_size: as of [`in_batches`]. options: of the model.
        """
        first = first_rows(record)

        def read(_: slice, size: int) -> np.ndarray:
            parts = [(part.rows, values_of(part)) for part in passes(self, inputs, own, first, size, **options)]
            found = np.empty((len(own), *parts[0][1].shape[1:]), parts[0][1].dtype)
            for rows, values in parts:
                found[rows] = values
            return found

        (found,) = self.in_batches(1, own.shape[1], batch_size, read)  # all of them, again where memory runs out
        return found

    @contextmanager
    def passing(self, rows: int, tokens: int) -> Iterator[None]:
        """Around forward passes of `rows` rows of `tokens` tokens: the model evaluates, and is then as it was.

        Raises:
            OutOfMemory: naming the batch, if it does not fit into the device's memory.
        """
        trained = [module for module in self.model.modules() if module.training]
        self.model.eval()
        counting = self.model.register_forward_hook(count_rows, with_kwargs=True) if is_open() else None
        try:
            yield
        except RuntimeError as error:
            if not (isinstance(error, torch.OutOfMemoryError) or should_reduce_batch_size(error)):
                raise
            raise OutOfMemory(
                f"{self.name}: {rows} rows of {tokens} tokens do not fit into memory on {self.device}: "
                "take a smaller batch size"
            ) from error
        finally:
            if counting is not None:
                counting.remove()
            for module in trained:
                module.training = True


def count_rows(model: torch.nn.Module, given: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
    """A hook of forward passes: their rows move the progress bar."""
    tensors = (own for own in (*given, *named.values()) if isinstance(own, torch.Tensor))
    together = named.get("lockstep")  # rows that begin alike are one
    passed(len(next(tensors)) if together is None else together.rows)


class LanguageModel(Encoder):
    """A causal or masked language model: an [`Encoder`] that gives likelihoods as well."""

    def log_likelihood(
        self,
        sequences: Sequence[str],
        reduction: str = "sum",
        special_tokens: str = NOT_SCORED,
        text: str = AS_IT_IS,
        batch_size: BatchSize = 64,
        record: Sequence[Any] | np.ndarray | None = None,
    ) -> np.ndarray:
        """Log-likelihood (causal) or pseudo-log-likelihood (masked) of each sequence in nats, (n,) float64.

        Special tokens are not scored, unless asked for, nor is the first token of a causal model without a start token
        (DART-Eval spec section 1.4). reduction "mean" divides by the number of scored tokens.
        special_tokens, text: see [`encode`]; `batch_size` rows go through the model at once; record: see [`embed`].
        As Carbon writes sequences, a model that scores bases itself (`score_sequence`) does so: a mean over bases.

        Raises:
            ValueError: as [`encode`], if `batch_size` rows do not fit into the device's memory,
        """

        def reduced(total: torch.Tensor, count: torch.Tensor) -> np.ndarray:
            return (total / count.clamp(min=1) if reduction == "mean" else total).cpu().numpy()

        def run(texts: list[str], size: int) -> np.ndarray:
            if text == CARBON_TEXT and self.scores_bases:
                with self.passing(size, longest(texts)):
                    return self._base_means(texts)
            inputs, own = self.encode(texts, special_tokens, text)
            with self.passing(size, own.shape[1]):
                if self.kind == "causal":
                    return reduced(*causal_log_likelihood(self.model, inputs, own))
                return reduced(*masked_log_likelihood(self.model, inputs, own, self.tokenizer.mask_token_id, size))

        if record is None or len(sequences) == 0 or not reads_alike(self):
            return self.each(sequences, batch_size, run)
        encoded = self.encode(sequences, special_tokens, text)
        return self.read_alike(
            *encoded, record, batch_size, lambda part: reduced(*causal_sums(part.output.logits, part.ids, part.own))
        )

    @property
    def scores_bases(self) -> bool:
        """Whether the model's own code is to give the probability of each base, as that of Carbon's models does.

        HyenaDNA's gives those of its tokens, which are read here more cheaply where alleles share what is before them.
        """
        own_code = callable(getattr(self.model, "score_sequence", None))
        return own_code and getattr(self.model.config, "model_type", "") != HYENADNA

    @torch.inference_mode()
    def _base_means(self, sequences: Sequence[str]) -> np.ndarray:
        """Mean log p of a base by the model's own code, (n,) float64."""
        letters, score = [*map(as_dna, sequences)], cast(Callable[..., Any], self.model.score_sequence)
        # Of one sequence alone it gives the probabilities without a list around them
        found = [score(letters[0])[1]] if len(letters) == 1 else score(letters)[1]
        return np.array([own.log().mean().item() for own in found])

    def allele_log_likelihoods(
        self,
        sequences1: Sequence[str],
        sequences2: Sequence[str],
        reduction: str = "sum",
        special_tokens: str = NOT_SCORED,
        text: str = AS_IT_IS,
        batch_size: BatchSize = 64,
    ) -> tuple[np.ndarray, np.ndarray]:
        """log p of two alleles of each variant, from one pass with the tokens masked in which they differ.

        Returns:
            (n,), (n,) float64; see [`masked_allele_log_likelihoods`].

        Raises:
            ValueError: as [`log_likelihood`], or for a variant of which that says why it has no score.
        """

        def run(rows: slice, size: int) -> np.ndarray:
            one, two, status = masked_allele_log_likelihoods(
                self, sequences1[rows], sequences2[rows], reduction, special_tokens, text, size
            )
            if why := next(filter(None, status), ""):
                raise InputError(f"{self.name}: {NO_MASKED_SCORE[why]}: take a recipe of whole alleles (whole-alleles)")
            return np.stack([one, two])

        scores = self.in_batches(len(sequences1), longest(sequences1), batch_size, run)
        both_alleles = np.concatenate(scores, axis=1) if scores else np.empty((2, 0))
        return both_alleles[0], both_alleles[1]

    def forward_passes(self, sequences: Sequence[str], special_tokens: str = NOT_SCORED) -> int:
        """Rows that go through the model to score these: one a sequence (causal), or one a token (masked).

        Raises:
            ValueError: as [`encode`], before anything is scored.
        """
        _, own = self.encode(sequences, special_tokens)
        return int(own.sum()) if self.kind == "masked" else len(sequences)


def _between(tokens: Sequence[Any], before: int, after: int) -> Sequence[Any]:
    return tokens[before : len(tokens) - after]


def added_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[int, int]:
    """How many special tokens a tokenizer puts before and after a sequence.

    Raises:
        ValueError: if what it puts between them is not the tokens of the bare sequence.
    """
    sequence = "ACGTTGCAACGTTGCA"
    bare = tokenizer(sequence, add_special_tokens=False)["input_ids"]
    whole = tokenizer(sequence)["input_ids"]
    for before in range(len(whole) - len(bare) + 1):
        if whole[before : before + len(bare)] == bare:
            return before, len(whole) - len(bare) - before
    raise InputError(f"{tokenizer.name_or_path}: special tokens other than before and after a sequence: {whole}")


def load_language_model(
    name: str | os.PathLike[str],
    revision: str | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    trust_remote_code: bool = False,
    head: bool = True,
    random_weights: bool = False,
    seed: int = 0,
) -> LanguageModel:
    """Load a language model from the Hub or a folder through the Auto classes; without a head, an [`Encoder`].

    Args:
        device: where to; by default CUDA where there is one.
        dtype: "float32" (default), "bfloat16", ..., or "int8", on a CPU.
        trust_remote_code: execute the repository's own code. Never needed for models of this package.
        head: False where only embeddings are asked for: a checkpoint without a language-model head will do.
        random_weights: the architecture with weights drawn by `seed`, as an untrained twin of the model.

    Raises:
        ValueError: if the checkpoint has no language-model head though one is needed, its files are damaged or its
            weights incomplete, its own code cannot run here, or there is no such device or dtype.
        OSError: if there is no such model.
    """
    name = os.fspath(name)
    register_models()
    int8 = str(dtype) == INT8
    device, dtype = usable_device(device), usable_dtype(None if int8 else dtype)
    remote = {"trust_remote_code": trust_remote_code}
    with loading_of(name, revision) as folder:
        config, family = load_config(name, revision, trust_remote_code)
        commit = folder_digest(folder) if folder else commit_of(name, revision)
        # Weights and tokenizer of the very commit that the record will name, even if a branch moves meanwhile
        pinned: dict[str, Any] = {"revision": None if folder else commit, **remote}
        kind = head_of(config, name, head)
        auto_class = auto_class_of(config, kind, name, family, trust_remote_code)
        check_size(config, auto_class, folder, **remote)
        own = declared_class(config, auto_class.__name__, family)
        if random_weights:
            from transformers import set_seed  # with peft, where that is installed

            set_seed(seed)
        if own is not None and runs_own_code(config, own, trust_remote_code):
            model, read = load_own_code(
                name, own, config, family, pinned["revision"], usable_dtype(dtype), random_weights
            )
            loading: dict[str, Any] = {"missing_keys": read.missing, "mismatched_keys": read.mismatched}
        elif random_weights:
            model = auto_class.from_config(config, dtype=dtype, **remote).eval()
            loading = {"missing_keys": (), "mismatched_keys": ()}
        else:
            model, loading = auto_class.from_pretrained(
                name,
                config=config,
                dtype=dtype,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **pinned,
            )
        tokenizer = AutoTokenizer.from_pretrained(name, **pinned)
        scorer = (Encoder if kind == "encoder" else LanguageModel)(model, tokenizer, kind, name, commit)
    code = "; its repository has code of its own, which runs only where it is trusted (trust_remote_code)"
    hint = code if remote_classes(config) and not trust_remote_code else ""
    if missing := sorted(key for key in loading["missing_keys"] if not any(part in key for part in BESIDE_THE_HEAD)):
        raise InputError(f"{name}: the checkpoint lacks {', '.join(missing[:5])}{hint}")
    if loading["mismatched_keys"]:
        weight, found, expected = min(loading["mismatched_keys"], key=lambda mismatch: mismatch[0])
        shapes = f"{tuple(found)} in the checkpoint, {tuple(expected)} by the config"
        raise InputError(f"{name}: weights of another shape than config.json says: {weight}, {shapes}{hint}")
    scorer.model = model.to(device)
    scorer.random_seed = seed if random_weights else None
    if int8:
        scorer.to_int8()
    return cast(LanguageModel, scorer)
