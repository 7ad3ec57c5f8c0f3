"""DNA from a causal language model, and how it compares with real sequence."""

import gzip
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from scipy.spatial.distance import jensenshannon
from transformers import LogitsProcessorList, StoppingCriteriaList

from datasets_dart.alphabet import checked_bases
from datasets_dart.errors import InputError
from datasets_dart.files import replacing
from datasets_dart.formats.fasta import Genome, open_genome
from datasets_dart.formats.text import one_line
from datasets_dart.outputs import check_output, made
from evaluation_dart.inputs import described_inputs
from evaluation_dart.models.kmers import gc_content, kmer_frequencies
from evaluation_dart.models.language_model import BatchSize, LanguageModel
from evaluation_dart.records import digest, package_versions
from evaluation_dart.scoring.finite import check_finite
from evaluation_dart.statistics.blocks import Blocks
from evaluation_dart.statistics.estimates import LOGIT, PLAIN, Scale, estimated, metric
from evaluation_dart.tools.loading import Model, load, paths_of
from evaluation_dart.training.accelerators import progress_bar
from evaluation_dart.workload import announce

SUFFIXES = (".fa", ".fasta", ".fa.gz", ".fasta.gz")
LINE = 80
LONGEST_KMER = 6
DRAWS = 1000  # of a reference window, before one without N is given up


class Prompt(NamedTuple):
    """What a sequence begins with; of no prompt, one base drawn by the seed, which counts as generated."""

    name: str
    sequence: str
    given: bool = True


class Sampling(NamedTuple):
    """How the next base is drawn."""

    temperature: float
    top_k: int
    top_p: float


def generate(
    model: Model,
    *,
    output: str | Path | None = None,
    prompts: str | Path | Mapping[str, str] | None = None,
    number: int = 10,
    length: int = 512,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    with_prompt: bool = False,
    reference: str | Path | None = None,
    seed: int = 0,
    batch_size: BatchSize = 32,
    revision: str | None = None,
    device: Any = None,
    dtype: str = "float32",
    trust_remote_code: bool = False,
    overwrite: bool = False,
) -> pa.Table | dict[str, Any]:
    """Sample sequences of A, C, G and T; nothing else is ever generated.

    Args:
        model: a Hub id or folder of a causal language model, or a scorer of one in memory.
        output: FASTA to write: .fa, .fasta or either with .gz.
        prompts: what to continue: FASTA, or sequences by name; None for no prompt.
        number: sequences for each prompt.
        length: bases to generate.
        temperature: 1, as the model says; 0, always the likeliest.
        top_k: sample among so many of the likeliest tokens; 0 for all.
        top_p: sample among the likeliest tokens that together have this share of the probability.
        with_prompt: give prompt and continuation together.
        reference: FASTA to compare with: a genome, of which windows are drawn, or sequences.
        seed: the same call makes the same sequences on the same device.
        batch_size: sequences at once; with another, other sequences are drawn.
        revision: branch, tag or commit of a model on the Hub.
        device: "cpu", "cuda:0", ...; None for a GPU if there is one.
        dtype: of the model's weights: "float32", "bfloat16" or "float16"; or "int8" (docs/quantisation.md).
        trust_remote_code: run the code that a model's repository brings.
        overwrite: sample anew, and replace what is there.

    Returns:
        A table with columns name, prompt_length and sequence; with `output`, what OUTPUT.json says: GC, the perplexity
        of what was generated under the model itself, and with `reference` how far its k-mers are from those of real
        sequence.

    Raises:
        InputError: naming the file and record that cannot be used; or if the model reads fewer tokens than are wanted.
        OSError: if there is no such file or model.
    """
    if not (0 <= temperature < np.inf and 0 <= top_p <= 1):
        raise InputError(f"temperature {temperature}, top_p {top_p}: not from 0 on, and from 0 to 1")
    target = None if output is None else Path(output)
    if target is not None and not target.name.endswith(SUFFIXES):
        raise InputError(f"{target}: sequences are written as .fa, .fasta, .fa.gz or .fasta.gz")
    if output is not None:
        check_output(output, paths_of(model, reference, None if isinstance(prompts, Mapping) else prompts))
    rng = np.random.default_rng(seed)
    begins = [Prompt("sequence", "", given=False)] if prompts is None else read_prompts(prompts)
    real = None if reference is None else reference_windows(open_genome(reference), number * len(begins), length, rng)
    scorer = load(model, revision=revision, device=device, dtype=dtype, trust_remote_code=trust_remote_code)
    if getattr(scorer, "kind", None) != "causal":
        raise InputError(f"{scorer.name}: only a causal language model has a next base to sample")
    sampling = Sampling(temperature, top_k, top_p)
    wanted = [
        (begin if begin.given else begin._replace(sequence=str(rng.choice(list("ACGT")))), copy)
        for begin in begins
        for copy in range(1, number + 1)
    ]
    contexts = [begin.sequence if begin.given else "" for begin, _ in wanted]
    names = [f"{begin.name}_{copy}" for begin, copy in wanted]

    def sampled() -> tuple[list[str], list[str]]:
        torch.manual_seed(seed)
        bases = sample(scorer, [begin for begin, _ in wanted], length, sampling, batch_size)
        whole = [context + own for context, own in zip(contexts, bases, strict=True)]
        return bases, whole if with_prompt else bases

    if target is None:
        return pa.table({"name": names, "prompt_length": list(map(len, contexts)), "sequence": sampled()[1]})

    def write(path: Path) -> dict[str, Any]:
        started = time.perf_counter()
        bases, written = sampled()
        seconds = time.perf_counter() - started
        write_fasta(path, names, [f"prompt_length={len(context)}" for context in contexts], written)
        return {
            "distinct": len(set(bases)),
            "bases_per_second": round(len(bases) * length / seconds, 1),
            "device": scorer.device_name,
            **compared(scorer, bases, contexts, real, rng, batch_size),
            "versions": package_versions(),
        }

    files = {"prompts": None if isinstance(prompts, Mapping) else prompts, "reference": reference}
    about = {
        "model": scorer.describe(),
        "sampling": sampling._asdict() | {"seed": seed, "batch_size": batch_size, "dtype": dtype},
        "prompts": digest([begin._asdict() for begin in begins]),
        "with_prompt": with_prompt,
        "inputs": described_inputs(**{name: path for name, path in files.items() if path is not None}),
        "sequences": len(wanted),
        "length": length,
    }
    return made(target, about, write, overwrite=overwrite)


def read_prompts(prompts: str | Path | Mapping[str, str]) -> list[Prompt]:
    """Sequences by name, or all records of a FASTA file, in upper case, T for U and N for what is no base.

    Raises:
        InputError: for what is mostly no nucleotides.
    """
    if isinstance(prompts, Mapping):
        source, named = "prompts", dict(prompts)
    else:
        source, fasta = str(prompts), open_genome(prompts)
        named = {name: fasta.fetch(name, 0, length) for name, length in fasta.contigs.items()}
    return [*map(Prompt, named, checked_bases(source, named.values()))]


def token_lengths(model: LanguageModel) -> torch.Tensor:
    """Bases of each token of the output vocabulary that is only A, C, G and T; 0 of all others: (vocabulary,) int64.

    Raises:
        ValueError: if there is no such token.
    """
    head = model.model.get_output_embeddings()
    size = head.weight.shape[0] if head is not None else model.model.config.vocab_size
    lengths = torch.zeros(size, dtype=torch.int64)
    for token, number in model.tokenizer.get_vocab().items():
        if number < size and token and set(token) <= set("ACGT"):
            lengths[number] = len(token)
    if not lengths.any():
        raise InputError(f"{model.name}: has no token of only A, C, G and T")
    return lengths


def sample(
    model: LanguageModel,
    prompts: Sequence[Prompt],
    length: int,
    sampling: Sampling,
    batch_size: BatchSize,
) -> list[str]:
    """`length` bases after each prompt; of no prompt, the base it was given is the first of them.

    Prompts with the same number of tokens go through the model together, so that none is ever padded.

    Raises:
        ValueError: if prompt and bases are more than the model can read.
    """
    lengths = token_lengths(model)
    ids = [prompt_ids(model, prompt.sequence) for prompt in prompts]
    wanted = [length if prompt.given else length - len(prompt.sequence) for prompt in prompts]
    longest = max(len(own) for own in ids)
    room = None if model.max_tokens is None else model.max_tokens - longest
    if room is not None and room * int(lengths.max()) < length:
        raise InputError(
            f"{model.name} reads at most {model.max_tokens} tokens: a prompt of {longest} leaves room for "
            f"{max(room, 0) * int(lengths.max())} bases, fewer than the {length} wanted"
        )
    sampled = [""] * len(prompts)
    groups: dict[tuple[int, int], list[int]] = {}
    for row, own in enumerate(ids):
        groups.setdefault((len(own), wanted[row]), []).append(row)
    what = f"{len(prompts):,} sequences of {length:,} bases"
    announce(what, model, passes=sum(wanted), tokens=longest + length, batch_size=batch_size)
    with progress_bar("generation", len(prompts), "bases", passes=sum(wanted)) as bar:
        for (given, need), rows in groups.items():

            def run(batch: slice, size: int, rows: list[int] = rows, need: int = need) -> None:
                wanted = rows[batch]
                with bar.step(len(wanted)), model.passing(size, len(ids[wanted[0]]) + need):
                    names = [prompts[row].name for row in wanted]
                    continued = continuations(model, [ids[row] for row in wanted], need, lengths, sampling, names)
                for row, bases in zip(wanted, continued, strict=True):
                    sampled[row] = bases if prompts[row].given else prompts[row].sequence + bases

            model.in_batches(len(rows), given + need, batch_size, run)
    return sampled


def prompt_ids(model: LanguageModel, sequence: str) -> list[int]:
    """Tokens of a prompt, with what the tokenizer puts before it and without what it puts after."""
    ids: list[int] = model.tokenizer(sequence)["input_ids"]
    return ids[: len(ids) - model.after]


def continuations(
    model: LanguageModel,
    ids: Sequence[list[int]],
    need: int,
    lengths: torch.Tensor,
    sampling: Sampling,
    names: Sequence[str],
) -> list[str]:
    """`need` bases after each of some prompts of as many tokens.

    Raises:
        NotFinite: naming the model and a prompt, for a next base whose probability is not finite.
    """
    if need == 0:
        return [""] * len(ids)
    prompt = torch.tensor(ids, device=model.device)
    room = need if model.max_tokens is None else min(need, model.max_tokens - prompt.shape[1])
    lengths = lengths.to(model.device)
    drawn = {"do_sample": False} if sampling.temperature == 0 else {"do_sample": True, **sampling._asdict()}

    def enough(found: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        return (lengths[found[:, prompt.shape[1] :]].sum(dim=1) >= need).all().expand(len(found))

    def finite(_: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        suppressed = scores.masked_fill(torch.isneginf(scores), 0)
        check_finite(suppressed.float().cpu().numpy(), model.name, lambda row: f"what follows prompt {names[row]!r}")
        return scores

    generated: Any = model.model.generate(  # type: ignore[operator]
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=room,
        suppress_tokens=(lengths == 0).nonzero().flatten().tolist(),
        pad_token_id=model.tokenizer.pad_token_id,
        **drawn,
        logits_processor=LogitsProcessorList([finite]),
        stopping_criteria=StoppingCriteriaList([enough]) if int(lengths.max()) > 1 else None,
    )
    rows = generated[:, prompt.shape[1] :].tolist()
    bases = ["".join(model.tokenizer.convert_ids_to_tokens(row))[:need] for row in rows]
    if short := [len(own) for own in bases if len(own) < need]:
        raise InputError(f"{model.name}: its {model.max_tokens} tokens at most gave {min(short)} bases of {need}")
    return bases


def reference_windows(genome: Genome, count: int, length: int, rng: np.random.Generator) -> list[str]:
    """`count` windows of `length` bases without N, drawn uniformly from a FASTA, or its sequences if none is as long.

    Raises:
        ValueError: if hardly any window is without N.
    """
    starts = np.maximum(np.array([*genome.contigs.values()]) - length + 1, 0)
    names = [*genome.contigs]
    if not starts.sum():
        return [genome.fetch(name, 0, genome.length(name)) for name in names]
    windows: list[str] = []
    for _ in range(DRAWS * count):
        chrom = int(rng.choice(len(names), p=starts / starts.sum()))
        start = int(rng.integers(starts[chrom]))
        window = genome.fetch(names[chrom], start, start + length)
        if set(window) <= set("ACGT"):
            windows.append(window)
        if len(windows) == count:
            return windows
    raise InputError(f"{genome.path}: hardly any window of {length} bases is without N")


def compared(
    model: LanguageModel,
    bases: Sequence[str],
    contexts: Sequence[str],
    real: Sequence[str] | None,
    rng: np.random.Generator,
    batch_size: BatchSize,
) -> dict[str, Any]:
    """GC and perplexity of generated and of real sequences, with intervals, and the divergence of their k-mers."""
    found: dict[str, Any] = {"gc": {}, "perplexity": {}}
    groups = {"generated": (bases, contexts), "reference": (real or [], [""] * len(real or []))}
    for name, (sequences, before) in groups.items():
        if sequences:
            found["gc"][name] = interval(gc_content(sequences)[:, 0], np.ones(len(sequences)), LOGIT)
            continued = [context + own for context, own in zip(before, sequences, strict=True)]
            likelihood = model.log_likelihood(continued, batch_size=batch_size)
            check_finite(likelihood, model.name, lambda row, name=name: f"{name} sequence {row + 1}")  # type: ignore[misc]
            prompted = [row for row, context in enumerate(before) if context]
            likelihood[prompted] -= model.log_likelihood([before[row] for row in prompted], batch_size=batch_size)
            # Without a prompt the first base has nothing before it, and is not scored.
            scored = np.array([len(own) - (not context) for own, context in zip(sequences, before, strict=True)])
            found["perplexity"][name] = perplexity_interval(likelihood[scored > 0], scored[scored > 0])
    return found if real is None else found | {"kmer_divergence": [*divergences(bases, real, rng)]}


def divergences(one: Sequence[str], two: Sequence[str], rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Jensen-Shannon divergence in bits (0 to 1) of k-mer spectra, both strands together, for each k up to 6.

    A spectrum of few sequences differs from itself: beside it is that of two halves of the reference. None, and a
    reason, where one of two spectra has no k-mer.
    """
    halves = np.array_split(rng.permutation(len(two)), 2)
    for k in range(1, LONGEST_KMER + 1):
        generated, reference = kmer_frequencies(one, k), kmer_frequencies(two, k)
        pairs = {"generated_and_reference": (generated.mean(0), reference.mean(0))}
        if len(two) > 1:
            pairs["halves_of_the_reference"] = reference[halves[0]].mean(0), reference[halves[1]].mean(0)
        found: dict[str, Any] = {"k": k}
        for name, spectra in pairs.items():
            there = all(spectrum.any() for spectrum in spectra)
            found[name] = float(jensenshannon(*spectra, base=2) ** 2) if there else None
        yield found if None not in found.values() else found | {"reason": f"no {k} known bases are side by side"}


def interval(total: np.ndarray, count: np.ndarray, scale: Scale = PLAIN) -> dict[str, Any]:
    """Sum of totals over sum of counts, with the interval of leaving out one sequence at a time."""

    def without(blocks: Blocks) -> np.ndarray:
        return np.asarray((total.sum() - blocks.sums(total)) / (count.sum() - blocks.sums(count)))

    sequences = Blocks(np.arange(len(total)), "sequences")
    found = metric(estimated(float(total.sum() / count.sum()), sequences, without, scale))
    return {name: found[name] for name in ("value", "low", "high", "n", "method")}


def perplexity_interval(likelihood: np.ndarray, bases: np.ndarray) -> dict[str, Any]:
    """exp of the mean nats per base; without a base, None and the reason."""
    if not len(bases):
        why = "the first base of a sequence has nothing before it, and there is no other"
        return {"value": None, "low": None, "high": None, "n": 0, "reason": why}
    found = interval(-likelihood, bases)
    ends = {name: found[name] for name in ("value", "low", "high")}
    return found | {name: None if end is None else float(np.exp(end)) for name, end in ends.items()}


def write_fasta(path: Path, names: Sequence[str], notes: Sequence[str], sequences: Sequence[str]) -> None:
    """Write sequences under their names, each with its note."""
    text = [
        f">{one_line(name)} {note}\n"
        + "".join(f"{sequence[start : start + LINE]}\n" for start in range(0, len(sequence), LINE))
        for name, note, sequence in zip(names, notes, sequences, strict=True)
    ]
    whole = "".join(text).encode()
    with replacing(path) as temporary:
        temporary.write_bytes(gzip.compress(whole, mtime=0) if path.suffix == ".gz" else whole)
