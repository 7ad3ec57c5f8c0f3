"""From the name of a model to a scorer: a kind and what it is of, such as "markov:file"; else a language model."""

from importlib import import_module
from pathlib import Path
from typing import Any

from datasets_dart.errors import InputError
from evaluation_dart.models.checkpoints import Kind, head_of, weights_digest
from evaluation_dart.models.kinds import KINDS, split_spec
from evaluation_dart.models.language_model import Encoder, LanguageModel, load_language_model


def load_scorer(
    spec: str | Path | None = None,
    *,
    model: Any = None,
    tokenizer: Any = None,
    kind: Kind | None = None,
    revision: str | None = None,
    device: Any = None,
    dtype: Any = None,
    trust_remote_code: bool = False,
    head: bool = True,
    seed: int = 0,
) -> Any:
    """A scorer: something with likelihoods, embeddings or predictions (see `models.protocols`).

        load_scorer("org/model");  load_scorer("markov:order3.safetensors");  load_scorer("random:org/model", seed=1)
        load_scorer(model=model, tokenizer=tokenizer, kind="causal")

    Args:
        spec: Hub id or folder of a language model, or one of `KINDS` and what it is of.
        model: an object in memory in place of `spec`, which is left as it is; the revision in records is a digest of
            its weights as they are now.
        tokenizer: of `model`.
        kind: of `model`: "causal", "masked" or "encoder"; None for what its config says.
        revision: branch, tag or commit of a model on the Hub.
        device: "cpu", "cuda:0", ...; None for a GPU if there is one.
        dtype: of the model's weights; None for float32.
        trust_remote_code: run the code that a model's repository brings.
        head: False where a language model's embeddings will do.
        seed: of random weights.

    Raises:
        InputError: for a model that is not what its files say, or an argument that the kind does not take.
        OSError: for a model that cannot be found or read.
    """
    if (spec is None) == (model is None):
        raise InputError("load_scorer takes either the name of a model, or model= with tokenizer=")
    if spec is None:
        if tokenizer is None:
            raise InputError("load_scorer(model=...) also needs the tokenizer")
        name = str(getattr(model, "name_or_path", "")) or type(model).__name__
        found = kind or head_of(model.config, name, head)
        kind_of = Encoder if found == "encoder" else LanguageModel
        return kind_of(model, tokenizer, found, name, f"in-memory-{weights_digest(model)}")
    own, of = split_spec(str(spec))
    if not own or own == "random":
        return load_language_model(
            of,
            revision=revision,
            device=device,
            dtype=dtype,
            trust_remote_code=trust_remote_code,
            head=head,
            random_weights=own == "random",
            seed=seed,
        )
    if revision is not None:
        raise InputError(f"model {spec}: a revision is for models on the Hub")
    if KINDS[own].scorer is None:
        raise InputError(f"model {spec} has to be trained, by the setting ab_initio")
    module, _, name = str(KINDS[own].scorer).partition(":")
    scorer = getattr(import_module(f"evaluation_dart.models.{module}"), name)
    return scorer(of) if of else scorer()
