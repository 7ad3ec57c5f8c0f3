"""What there is to know about a model family."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


class Family(NamedTuple):
    """A model family of the DART-Eval paper.

    Attributes:
        key: its name in records of trainings; name: the paper's; model: the paper's model on the Hub.
        kind: "causal" or "masked".
        finetuning: kind of objective -> batch size, passes in a step, epochs; probing: kind -> batch size, rate (spec
            1.7). The kinds are those of tasks 1, 3 and 4: pairs, classes and counts.
        words: parts of a model's name that tell the family; model_types: architectures that do.
        paper_kernel: of the probing head under protocol "paper".
        reads_two_tokens: the original's probing head reads the first token and the one after the last base only.
        paper_head: fields of the configuration that a fine-tuned model has under protocol "paper".
        motif_batch: sequences that the original embeds at once in task 2.
        status: whether its own code was run through this package, on what, and when.
        code: files of its repository's code without ".py", by which a model is known whatever its name; classes: Auto
            class -> class of that code, where the repository declares another only. config_class: transformers' own,
            with which the original loads the code, in place of the repository's.
        relative_positions: the number of positions in its configuration is no limit (ALiBi).
        packages: that its code imports -> how to install them; hidden: that its code is not to find.
    """

    key: str
    name: str
    model: str
    kind: str
    finetuning: Mapping[str, tuple[int, int, int]]
    probing: Mapping[str, tuple[int, float]]
    words: tuple[str, ...] = ()
    model_types: tuple[str, ...] = ()
    paper_kernel: int = 8
    reads_two_tokens: bool = False
    paper_head: Mapping[str, Any] = MappingProxyType({})
    motif_batch: int = 64
    status: str = "untested"
    code: tuple[str, ...] = ()
    classes: Mapping[str, str] = MappingProxyType({})
    config_class: str | None = None
    relative_positions: bool = False
    packages: Mapping[str, str] = MappingProxyType({})
    hidden: tuple[str, ...] = ()
