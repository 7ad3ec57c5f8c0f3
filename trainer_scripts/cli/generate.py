"""The command `hyenadna generate`: DNA from a causal language model, and how it compares (docs/generation.md)."""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
import typer

from datasets_dart.errors import InputError

if TYPE_CHECKING:
    import torch

    from evaluation_dart.models.language_model import LanguageModel

LINE = 80
LONGEST_KMER = 6
REPLICATES = 1000
DRAWS = 1000  # of a reference window, before one without N is given up


class Prompt(NamedTuple):
    """What a sequence begins with; of no prompt, one base drawn by the seed, which counts as generated."""

    name: str
    sequence: str
    given: bool = True


class Sampling(NamedTuple):
    temperature: float
    top_k: int
    top_p: float


def generate(
    model: Annotated[str, typer.Option(help="Hub id or folder of a causal language model")],
    output: Annotated[Path, typer.Option(help="FASTA to write: .fa, .fasta or either with .gz")],
    prompts: Annotated[Path | None, typer.Option(help="FASTA of what to continue; default: no prompt")] = None,
    number: Annotated[int, typer.Option(help="sequences for each prompt", min=1)] = 10,
    length: Annotated[int, typer.Option(help="bases to generate", min=1)] = 512,
    temperature: Annotated[float, typer.Option(help="1: as the model says; 0: always the likeliest", min=0)] = 1,
    top_k: Annotated[int, typer.Option(help="sample among so many of the likeliest tokens; 0: all", min=0)] = 0,
    top_p: Annotated[float, typer.Option(help="among the likeliest that have this share", min=0, max=1)] = 1,
    with_prompt: Annotated[bool, typer.Option("--with-prompt", help="write prompt and continuation together")] = False,
    reference: Annotated[
        Path | None, typer.Option(help="FASTA to compare with: a genome, of which windows are drawn, or sequences")
    ] = None,
    seed: Annotated[int, typer.Option(help="the same line makes the same sequences on the same device")] = 0,
    batch_size: Annotated[int, typer.Option(help="sequences at once", min=1)] = 32,
    revision: Annotated[str | None, typer.Option(help="commit, branch or tag on the Hub")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ...; default: what there is")] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16")] = "float32",
    trust_remote_code: Annotated[bool, typer.Option(help="run code from the model's repository")] = False,
) -> None:
    """Sample sequences of A, C, G and T; nothing else is ever generated.

    OUTPUT.json reports GC, the perplexity of what was generated under the model itself, and with --reference how far
    its k-mers are from those of real sequence.

    hyenadna generate --model my-model --prompts promoters.fa --length 200 --output generated.fa --reference hg38.fa
    """
    import torch
    from transformers.utils import logging

    import modeling_hyenadna  # noqa: F401  (registers HyenaDNA with the Auto classes)
    from datasets_dart.formats.fasta import open_genome
    from evaluation_dart.models.language_model import load_language_model
    from evaluation_dart.records import model_id, package_versions
    from trainer_scripts.cli.dart_eval import described_inputs

    if not output.name.endswith((".fa", ".fasta", ".fa.gz", ".fasta.gz")):
        raise InputError(f"{output}: sequences are written as .fa, .fasta, .fa.gz or .fasta.gz")
    logging.disable_progress_bar()
    rng = np.random.default_rng(seed)
    begins = read_prompts(prompts) if prompts else [Prompt("sequence", "", given=False)]
    real = None if reference is None else reference_windows(open_genome(reference), number * len(begins), length, rng)
    scorer = load_language_model(model, revision, device, dtype, trust_remote_code)
    if scorer.kind != "causal":
        raise InputError(f"{model}: a masked language model has no next base to sample; generate with a causal one")
    torch.manual_seed(seed)
    sampling = Sampling(temperature, top_k, top_p)
    started = time.perf_counter()
    wanted = [
        (begin if begin.given else begin._replace(sequence=str(rng.choice(list("ACGT")))), copy)
        for begin in begins
        for copy in range(1, number + 1)
    ]
    bases = sample(scorer, [begin for begin, _ in wanted], length, sampling, batch_size)
    seconds = time.perf_counter() - started
    names = [f"{begin.name}_{copy}" for begin, copy in wanted]
    written = [
        begin.sequence + own if with_prompt and begin.given else own
        for (begin, _), own in zip(wanted, bases, strict=True)
    ]
    notes = [f"prompt_length={len(begin.sequence) if begin.given else 0}" for begin, _ in wanted]
    write_fasta(output, names, notes, written)
    contexts = [begin.sequence if begin.given else "" for begin, _ in wanted]
    report = {
        "model": {"id": model_id(model), "revision": scorer.revision, "parameters": scorer.num_parameters},
        "sampling": sampling._asdict() | {"seed": seed, "batch_size": batch_size, "dtype": dtype},
        "inputs": described_inputs(
            **{name: path for name, path in (("prompts", prompts), ("reference", reference)) if path is not None}
        ),
        "sequences": len(bases),
        "length": length,
        "distinct": len(set(bases)),
        "bases_per_second": round(len(bases) * length / seconds, 1),
        "device": scorer.device_name,
        **compared(scorer, bases, contexts, real, rng, batch_size),
        "versions": package_versions(),
    }
    from datasets_dart.files import write_text

    write_text(output.with_name(f"{output.name}.json"), json.dumps(report, indent=1) + "\n")
    typer.echo(f"{output}: {len(bases)} sequences of {length} bases, {report['distinct']} of them distinct")
    for name in ("gc", "perplexity"):
        for kind, found in report[name].items():
            typer.echo(f"{name} {kind}: {found['value']:.4f} [{found['low']:.4f}, {found['high']:.4f}]")


def read_prompts(path: Path) -> list[Prompt]:
    """All records of a FASTA file, in upper case.

    Raises:
        ValueError: naming the record, for a base that is none of A, C, G, T, N.
    """
    from datasets_dart.formats.fasta import open_genome

    fasta = open_genome(path)
    found = [Prompt(name, fasta.fetch(name, 0, length)) for name, length in fasta.contigs.items()]
    for prompt in found:
        if wrong := sorted(set(prompt.sequence) - set("ACGTN")):
            raise InputError(f"{path}: prompt {prompt.name!r} has {wrong[0]!r}, which is none of A, C, G, T, N")
    return found


def token_lengths(model: "LanguageModel") -> "torch.Tensor":
    """Bases of each token of the output vocabulary that is A, C, G and T alone; 0 of all others: (vocabulary,) int64.

    Raises:
        ValueError: if there is no such token.
    """
    import torch

    head = model.model.get_output_embeddings()
    size = head.weight.shape[0] if head is not None else model.model.config.vocab_size
    lengths = torch.zeros(size, dtype=torch.int64)
    for token, number in model.tokenizer.get_vocab().items():
        if number < size and token and set(token) <= set("ACGT"):
            lengths[number] = len(token)
    if not lengths.any():
        raise InputError(f"{model.name}: has no token of A, C, G and T alone")
    return lengths


def sample(
    model: "LanguageModel", prompts: Sequence[Prompt], length: int, sampling: Sampling, batch_size: int
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
            f"{max(room, 0) * int(lengths.max())} bases, fewer than --length {length}"
        )
    sampled = [""] * len(prompts)
    groups: dict[tuple[int, int], list[int]] = {}
    for row, own in enumerate(ids):
        groups.setdefault((len(own), wanted[row]), []).append(row)
    batches = [
        (rows[first : first + batch_size], need)
        for (_, need), rows in groups.items()
        for first in range(0, len(rows), batch_size)
    ]
    with typer.progressbar(batches, label="batches", file=typer.get_text_stream("stderr")) as steps:
        for rows, need in steps:
            continued = continuations(model, [ids[row] for row in rows], need, lengths, sampling)
            for row, bases in zip(rows, continued, strict=True):
                sampled[row] = bases if prompts[row].given else prompts[row].sequence + bases
    return sampled


def prompt_ids(model: "LanguageModel", sequence: str) -> list[int]:
    """Tokens of a prompt, with what the tokenizer puts before it and without what it puts after."""
    ids = model.tokenizer(sequence)["input_ids"]
    return ids[: len(ids) - model.after]


def continuations(
    model: "LanguageModel", ids: Sequence[list[int]], need: int, lengths: "torch.Tensor", sampling: Sampling
) -> list[str]:
    """`need` bases after each of some prompts of as many tokens."""
    import torch
    from transformers import StoppingCriteriaList

    if need == 0:
        return [""] * len(ids)
    prompt = torch.tensor(ids, device=model.device)
    room = need if model.max_tokens is None else min(need, model.max_tokens - prompt.shape[1])
    lengths = lengths.to(model.device)
    drawn = {"do_sample": False} if sampling.temperature == 0 else {"do_sample": True, **sampling._asdict()}

    def enough(found: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        done = (lengths[found[:, prompt.shape[1] :]].sum(dim=1) >= need).all()
        return done.expand(len(found))

    generated: Any = model.model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=room,
        suppress_tokens=(lengths == 0).nonzero().flatten().tolist(),
        pad_token_id=model.tokenizer.pad_token_id,
        **drawn,
        stopping_criteria=StoppingCriteriaList([enough]) if int(lengths.max()) > 1 else None,
    )
    tokens = [model.tokenizer.convert_ids_to_tokens(row.tolist()) for row in generated[:, prompt.shape[1] :]]
    bases = ["".join(row)[:need] for row in tokens]
    if short := [len(own) for own in bases if len(own) < need]:
        raise InputError(f"{model.name}: its {model.max_tokens} tokens at most gave {min(short)} bases of {need}")
    return bases


def reference_windows(genome: Any, count: int, length: int, rng: np.random.Generator) -> list[str]:
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
    model: "LanguageModel",
    bases: Sequence[str],
    contexts: Sequence[str],
    real: Sequence[str] | None,
    rng: np.random.Generator,
    batch_size: int,
) -> dict[str, Any]:
    """GC and perplexity of generated and of real sequences, with intervals, and the divergence of their k-mers."""
    gc = {"generated": interval(gc_shares(bases), np.ones(len(bases)), rng)}
    continued = [context + own for context, own in zip(contexts, bases, strict=True)]
    whole = model.log_likelihood(continued, batch_size=batch_size)
    before = np.zeros(len(bases))
    prompted = [row for row, context in enumerate(contexts) if context]
    if prompted:
        before[prompted] = model.log_likelihood([contexts[row] for row in prompted], batch_size=batch_size)
    # Without a prompt the first base has nothing before it, and is not scored.
    scored = np.array([len(own) - (not context) for own, context in zip(bases, contexts, strict=True)])
    perplexity = {"generated": perplexity_interval(whole - before, scored, rng)}
    if real is None:
        return {"gc": gc, "perplexity": perplexity}
    gc["reference"] = interval(gc_shares(real), np.ones(len(real)), rng)
    likelihood = model.log_likelihood(real, batch_size=batch_size)
    perplexity["reference"] = perplexity_interval(likelihood, np.array([len(own) - 1 for own in real]), rng)
    return {"gc": gc, "perplexity": perplexity, "kmer_divergence": [*divergences(bases, real, rng)]}


def gc_shares(sequences: Sequence[str]) -> np.ndarray:
    from evaluation_dart.models.kmers import gc_content

    return gc_content(sequences)[:, 0]


def divergences(one: Sequence[str], two: Sequence[str], rng: np.random.Generator) -> Iterator[dict[str, float]]:
    """Jensen-Shannon divergence in bits (0 to 1) of k-mer spectra, both strands together, for each k up to 6.

    A spectrum of few sequences differs from itself: beside it stands that of two halves of the reference.
    """
    from scipy.spatial.distance import jensenshannon

    from evaluation_dart.models.kmers import kmer_frequencies

    halves = np.array_split(rng.permutation(len(two)), 2)
    for k in range(1, LONGEST_KMER + 1):
        generated, reference = kmer_frequencies(one, k), kmer_frequencies(two, k)
        found = {"k": k, "generated_and_reference": jensenshannon(generated.mean(0), reference.mean(0), base=2) ** 2}
        if len(two) > 1:
            spectra = [reference[half].mean(0) for half in halves]
            found["halves_of_the_reference"] = jensenshannon(*spectra, base=2) ** 2
        yield {name: float(value) for name, value in found.items()} | {"k": k}


def interval(total: np.ndarray, count: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    """Sum of totals over sum of counts, with the percentile interval of a bootstrap of sequences."""
    rows = rng.integers(len(total), size=(REPLICATES, len(total)))
    low, high = np.quantile(total[rows].sum(1) / count[rows].sum(1), [0.025, 0.975])
    method = f"bootstrap of sequences, percentiles of {REPLICATES} replicates"
    value = total.sum() / count.sum()
    return {"value": float(value), "low": float(low), "high": float(high), "n": len(total), "method": method}


def perplexity_interval(likelihood: np.ndarray, bases: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    """exp of the mean nats per base."""
    found = interval(-likelihood, bases, rng)
    return found | {name: float(np.exp(found[name])) for name in ("value", "low", "high")}


def write_fasta(path: Path, names: Sequence[str], notes: Sequence[str], sequences: Sequence[str]) -> None:
    import gzip

    from datasets_dart.files import replacing

    text = []
    for name, note, sequence in zip(names, notes, sequences, strict=True):
        lines = [sequence[start : start + LINE] for start in range(0, len(sequence), LINE)]
        text.append(f">{name} {note}\n" + "\n".join(lines) + "\n")
    with replacing(path) as temporary:
        whole = "".join(text).encode()
        temporary.write_bytes(gzip.compress(whole) if path.suffix == ".gz" else whole)
