"""Whether a family's own code runs here: what `dart-eval verify-family` looks at, on the real thing or a stand-in."""

import random
from collections.abc import Callable
from datetime import date
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers

from datasets_dart.errors import InputError
from evaluation_dart.models.checkpoints import model_id
from evaluation_dart.models.families import FAMILIES, known_family_of_config
from evaluation_dart.models.families.family import Family
from evaluation_dart.models.families.own_code import is_of_repository
from evaluation_dart.models.language_model import LanguageModel, load_language_model
from evaluation_dart.training.finetuning import FineTuned, load_classifier

LONG, SHORT = 300, 61  # bases of the sequences that are read
ROUNDING = 1e-4  # the most of it, in parts of the largest logit or hidden state
LORA = (8, 16, 0.0)
OTHER = "other"  # a model of no family of the paper


class FamilyCheck(NamedTuple):
    """One thing that was looked at. passed: None where it says nothing of right or wrong."""

    what: str
    outcome: str
    passed: bool | None


class FamilyReport(NamedTuple):
    """All of them, and the line for `dart-eval ls`."""

    checks: list[FamilyCheck]
    line: str

    @property
    def failed(self) -> list[str]:
        """What failed."""
        return [check.what for check in self.checks if check.passed is False]


def texts_read(seed: int = 0) -> list[str]:
    """A long and a short sequence of A, C, G and T; a short one with N."""
    drawn = random.Random(seed)
    long, short = ("".join(drawn.choices("ACGT", k=length)) for length in (LONG, SHORT))
    return [long, short, short[:20] + "NNN" + short[23:]]


def verify_family(
    family: str, repository: str, revision: str | None = None, device: Any = None, trust_remote_code: bool = False
) -> FamilyReport:
    """Load a model of a family, and look at its tokens, mask, padding, forward passes and fine-tuning.

    Args:
        family: a key of `FAMILIES`, or "other". repository: Hub id or folder.

    Raises:
        InputError: for an unknown family. A model that cannot be loaded is a failed check.
    """
    if family not in (*FAMILIES, OTHER):
        raise InputError(f"family {family!r}: there are {', '.join(FAMILIES)}, and {OTHER} for any other model")
    known = FAMILIES.get(family)
    options: dict[str, Any] = {"revision": revision, "device": device, "trust_remote_code": trust_remote_code}
    try:
        scorer = load_language_model(repository, **options)
    except (InputError, OSError) as error:
        why = str(error).removeprefix(f"{repository}: ")
        return FamilyReport([FamilyCheck("loading", why, False)], line_of(known, repository, "", [why]))
    checks = [loading(scorer, known)]
    for look in (tokens, direction, padding, forward):
        checks.append(found_by(look, scorer))
    commit = scorer.revision
    del scorer
    checks.append(fine_tuning(repository, options))
    failures = [f"{check.what}: {check.outcome}" for check in checks if check.passed is False]
    return FamilyReport(checks, line_of(known, repository, commit, failures))


def line_of(family: Family | None, repository: str, commit: str, failures: list[str]) -> str:
    """What `dart-eval ls` is to say of a family: its `status`."""
    where = ", ".join([model_id(repository) + (f"@{commit[:12]}" if commit else ""), date.today().isoformat()])
    versions, name = f"transformers {transformers.__version__}", "another model" if family is None else family.name
    if failures:
        return f"{name}: fails ({failures[0]}), {where}, {versions}"
    return f"{name}: loads here ({where}, {versions})"


def found_by(look: Callable[[LanguageModel], FamilyCheck], scorer: LanguageModel) -> FamilyCheck:
    """What a look finds; an error of the model's code is a failure."""
    try:
        return look(scorer)
    except Exception as error:  # of code that is not ours, which may raise anything
        return FamilyCheck(look.__name__, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}", False)


def loading(scorer: LanguageModel, family: Family | None) -> FamilyCheck:
    """Which class it is, and whether it is known as a model of the family, with its kind."""
    model = scorer.model
    whose = "its repository's code" if is_of_repository(model) else type(model).__module__.partition(".")[0]
    found = known_family_of_config(scorer.name, model.config)
    outcome = f"{type(model).__name__} of {whose}, {scorer.num_parameters:,} parameters, {scorer.kind}"
    if found != family:
        of = f"a model of {found.name}" if found else "a model of no family of the paper"
        return FamilyCheck("loading", f"{outcome}; known as {of}", False)
    return FamilyCheck("loading", outcome, family is None or scorer.kind == family.kind)


def tokens(scorer: LanguageModel) -> FamilyCheck:
    """Whether each base is covered by one token, in order, without gaps."""
    texts = texts_read()
    for text, covered in zip(texts, scorer.base_tokens(texts), strict=True):
        count = int(scorer.token_counts([text])[0])
        wrong = (covered < scorer.before) | (covered >= scorer.before + count)
        if wrong.any():
            return FamilyCheck("tokens", f"base {int(wrong.argmax())} of {text[:20]}... has no token", False)
        if set(np.diff(covered)) - {0, 1} or len(set(covered.tolist())) != count:
            return FamilyCheck("tokens", f"{count} tokens do not cover {text[:20]}... one after another", False)
    length = scorer.bases_per_token
    size = f"{length} bases each" if length else f"{LONG / int(scorer.token_counts(texts[:1])[0]):.1f} bases on average"
    return FamilyCheck("tokens", f"{size}; {scorer.before} before and {scorer.after} after a sequence", True)


@torch.inference_mode()
def direction(scorer: LanguageModel) -> FamilyCheck:
    """Whether a causal model reads to the left only, and a masked one to both sides."""
    inputs, own = scorer.encode(texts_read()[:1])
    place = int(own[0].nonzero()[len(own[0].nonzero()) // 2])
    other = inputs["input_ids"].clone()
    other[0, place] = other[0, place - 1] if other[0, place - 1] != other[0, place] else other[0, place - 2]
    with scorer.passing(1, own.shape[1]):
        one, two = (scorer.model(**(inputs | {"input_ids": ids})).logits for ids in (inputs["input_ids"], other))
    difference, largest = (one - two)[0].abs(), float(one.abs().max())
    before, after = (float(difference[part].max()) / largest for part in (slice(0, place), slice(place, None)))
    reads = {(False, True): "causal", (True, True): "masked"}.get((before > ROUNDING, after > ROUNDING), "nothing")
    outcome = f"a changed token changes logits before it by {before:.1e} of the largest, from it on by {after:.1e}"
    return FamilyCheck("direction", outcome, reads == scorer.kind)


def padding(scorer: LanguageModel) -> FamilyCheck:
    """Whether a sequence has the hidden states beside a longer one that it has by itself."""
    long, short, _ = texts_read()
    own, padded = scorer.embed([short])[0], scorer.embed([long, short])[1]
    difference = float(np.abs(own - padded).max() / np.abs(own).max())
    outcome = f"changes embeddings by {difference:.1e} of the largest"
    if not scorer.takes_mask:
        side = "" if difference <= ROUNDING else ": score sequences of one length together"
        return FamilyCheck("padding", f"{outcome}; the model takes no attention mask{side}", None)
    return FamilyCheck("padding", f"{outcome}, with its attention mask", difference <= ROUNDING)


@torch.inference_mode()
def forward(scorer: LanguageModel) -> FamilyCheck:
    """Whether likelihoods are finite, repeat themselves, and are those of the logits."""
    text = texts_read()[1]
    scores = [float(scorer.log_likelihood([text])[0]) for _ in range(2)]
    inputs, own = scorer.encode([text])
    ids, expected = inputs["input_ids"], 0.0
    with scorer.passing(1, ids.shape[1]):
        for place in own[0].nonzero()[:, 0].tolist():
            if scorer.kind == "causal" and place == 0:
                continue
            read = ids.clone()
            if scorer.kind == "masked":
                read[0, place] = scorer.tokenizer.mask_token_id
            logits = scorer.model(**(inputs | {"input_ids": read})).logits[0, place - (scorer.kind == "causal")]
            expected += float(logits.double().log_softmax(-1)[ids[0, place]])
    right = bool(np.isfinite(scores).all()) and scores[0] == scores[1] and np.isclose(scores[0], expected, rtol=1e-4)
    outcome = f"log-likelihood {scores[0]:.4f} of {len(text)} bases, {expected:.4f} from logits one by one"
    return FamilyCheck("forward", outcome, bool(right))


def fine_tuning(repository: str, options: dict[str, Any]) -> FamilyCheck:
    """Whether the classifier loads, and all that is trained with LoRA gets gradients."""
    try:
        network = FineTuned(load_classifier(repository, 2, **options), LORA).train()
        outputs = network(texts_read()[:1])
        outputs.square().sum().backward()
    except Exception as error:  # of code that is not ours, which may raise anything
        why = " ".join(str(error).split()).removeprefix(f"{repository}: ")[:300]
        return FamilyCheck("fine-tuning", f"{type(error).__name__}: {why}", False)
    trained = {name: own for name, own in network.named_parameters() if own.requires_grad}
    unused = [name for name, own in trained.items() if own.grad is None]
    count = sum(own.numel() for own in trained.values())
    outcome = f"{type(network.model).__name__} with LoRA, {count:,} parameters trained"
    # Of a freshly loaded model, adapters' first matrices have no gradient yet; parts that a pass leaves out have none
    outcome += f"; a pass leaves out {', '.join(unused[:3])}" if unused else ""
    return FamilyCheck("fine-tuning", outcome, outputs.shape == (1, 2) and bool(torch.isfinite(outputs).all()))
