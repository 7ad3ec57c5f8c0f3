"""Every named way of turning what a model says into a score; a recipe says what it needs of a scorer.

Without its recipe a score cannot be compared with another, so every record carries it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from datasets_dart.errors import InputError
from evaluation_dart.models.protocols import AlleleScorer, LikelihoodScorer


class Recipe(NamedTuple):
    """How a sequence, or the two alleles of a variant, become a likelihood.

    Attributes:
        reduction: over tokens, "sum" or "mean".
        strand: "forward", or "mean" of forward and reverse complement.
        special_tokens: "not scored", or "scored": those that the tokenizer adds, where the model predicts them.
        alleles: "masked", where both alleles are read off one pass with the tokens masked in which they differ; or
            "whole", where each allele's whole sequence has a likelihood of its own.
    """

    name: str
    reduction: str
    strand: str
    special_tokens: str = "not scored"
    alleles: str = "masked"

    def described(self, alleles: bool) -> dict[str, str]:
        """The entries of a record; `alleles`: whether the task compares alleles."""
        fields = self._asdict()
        if alleles:
            return fields | {"orientation": "effect allele - other allele"}
        return {key: value for key, value in fields.items() if key != "alleles"}

    def options(self) -> dict[str, Any]:
        """The keywords of a scorer's methods that differ from their defaults."""
        options: dict[str, Any] = {} if self.reduction == "sum" else {"reduction": self.reduction}
        return options | ({"special_tokens": True} if self.special_tokens == "scored" else {})

    def check(self, scorer: Any, alleles: bool = False) -> None:
        """Raise InputError if `scorer` cannot do what the recipe asks for; `alleles`: for those of variants."""
        if not isinstance(scorer, LikelihoodScorer):
            raise InputError(f"recipe {self.name}: {scorer.name} has no likelihoods")
        if isinstance(scorer, AlleleScorer):
            return
        masked = alleles and self.alleles == "masked"
        if masked or self.options():
            raise InputError(
                f"recipe {self.name}: {scorer.name} only sums over whole sequences (recipe whole-alleles does so)"
            )


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("dart-eval", "sum", "forward"),
        Recipe("dart-eval-both-strands", "sum", "mean"),
        # Sums over BPE tokens partly measure how many tokens a sequence has; means do not.
        Recipe("dart-eval-mean", "mean", "forward"),
        Recipe("whole-alleles", "sum", "forward", alleles="whole"),
        # songlab's TraitGym: the [SEP] at the end is scored, too, and both strands are averaged
        Recipe("traitgym", "sum", "mean", "scored", "whole"),
        # huggingface/carbon's vep_eval, without and with --rev_comp_avg
        Recipe("carbon", "mean", "forward", alleles="whole"),
        Recipe("carbon-both-strands", "mean", "mean", alleles="whole"),
    )
}
DEFAULT = "dart-eval"  # of the benchmark, whose variants are all SNVs
ANY_ALLELES = "whole-alleles"  # the default of tools that take any variants
# Names that recipes had before schema version 4, of which files without a version are as well
NAMES_BEFORE_4 = {"biofoundation": "whole-alleles"}


def with_current_name(recipe: Mapping[str, Any], schema_version: int | None) -> dict[str, Any]:
    """A recipe as a file of a schema version, or of none, describes it, by the name that it has now."""
    names = NAMES_BEFORE_4 if (schema_version or 0) < 4 else {}
    return {**recipe, "name": names.get(recipe["name"], recipe["name"])} if "name" in recipe else {**recipe}


def recipe_named(name: str | None) -> Recipe:
    """The recipe of that name; of None, the benchmark's own.

    Raises:
        InputError: for an unknown name.
    """
    if name is not None and name not in RECIPES:
        raise InputError(f"recipe {name}: there are {', '.join(RECIPES)}")
    return RECIPES[name or DEFAULT]


# Of two alleles by other means than likelihoods: distances of embeddings, and a trained head
DISTANCES = ("embedding-cosine", "embedding-l2")
HEAD = "head"
STRANDS = {"forward": (False,), "reverse": (True,), "mean": (False, True)}  # which are reverse complements


class VariantRecipe(NamedTuple):
    """How two alleles become a score."""

    name: str
    strand: str  # "forward", "reverse" complement, or the "mean" of both scores
    likelihood: Recipe | None = None  # of likelihoods
    layer: int = -1  # of embeddings
    label: str | int | None = None  # of a head: see [`heads.label_index`]

    def described(self) -> dict[str, Any]:
        """What a file of scores says of its recipe."""
        if self.likelihood is not None:
            described = self.likelihood._replace(strand=self.strand)._asdict()
        elif self.name == HEAD:
            described = {"name": self.name, "strand": self.strand, "label": self.label}
        else:
            described = {"name": self.name, "strand": self.strand, "layer": self.layer, "pooling": "mean"}
        orientation = "distance, without sign" if self.name in DISTANCES else "ALT - REF"
        return described | {"orientation": orientation}


def variant_recipe(
    name: str, strand: str | None = None, layer: int = -1, label: str | int | None = None
) -> VariantRecipe:
    """The recipe of that name; `strand` in place of its own.

    Raises:
        InputError: for an unknown name or strand, a label without a head, or a layer without embeddings.
    """
    if name not in (*RECIPES, *DISTANCES, HEAD):
        raise InputError(f"recipe {name}: there are {', '.join((*RECIPES, *DISTANCES, HEAD))}")
    if strand is not None and strand not in STRANDS:
        raise InputError(f"strand {strand}: there are {', '.join(STRANDS)}")
    if label is not None and name != HEAD:
        raise InputError(f"label {label}: recipe {name} has no labels; recipe {HEAD} has")
    if layer != -1 and name not in DISTANCES:
        raise InputError(f"layer {layer}: recipe {name} takes no layer; {' and '.join(DISTANCES)} do")
    if name in RECIPES:
        return VariantRecipe(name, strand or RECIPES[name].strand, RECIPES[name])
    return VariantRecipe(name, strand or "forward", None, layer, label)
