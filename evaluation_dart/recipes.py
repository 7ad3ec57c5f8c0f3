"""Every named way of turning what a model says into a score; a recipe says what it needs of a scorer.

Without its recipe a score cannot be compared with another, so every record carries it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from datasets_dart.errors import InputError
from evaluation_dart.models.protocols import AlleleScorer, LikelihoodScorer

# Of the special tokens that a tokenizer adds
NOT_SCORED, SCORED, NOT_ADDED = "not scored", "scored", "not added"
# How alleles are read
MASKED, WHOLE, BY_MODEL = "masked", "whole", "whole, by masked models masked"
# What the tokenizer is given
AS_IT_IS, CARBON_TEXT, TRAITGYM_TEXT = "as it is", "after a tag, whole 6-mers", "k-mers with N as one N"
# A recipe's own entries, beside those that a record of a task needs
OF_WINDOWS = ("text", "variants", "ends", "source")


class Recipe(NamedTuple):
    """How a sequence, or the two alleles of a variant, become a likelihood.

    Attributes:
        reduction: over tokens, "sum" or "mean".
        strand: "forward", or "mean" of forward and reverse complement.
        special_tokens: those that the tokenizer adds: "not scored"; "scored", where the model predicts them; or
            "not added".
        alleles: "masked", where both alleles are read off one pass with the tokens masked in which they differ;
            "whole", where each allele's whole sequence has a likelihood of its own; or, until [`of`] says which, by
            the model.
        text: what the tokenizer is given: see [`written`].
        variants: [`haplotypes`] of "any" variants, those "as long as REF", or "SNVs".
        ends: where a window goes beyond its contig: "moved" into it, filled with "N", or "left out".
        source: the project whose number it is, at a commit; empty for a recipe of this package's own.
    """

    name: str
    reduction: str
    strand: str
    special_tokens: str = NOT_SCORED
    alleles: str = MASKED
    text: str = AS_IT_IS
    variants: str = "as long as REF"
    ends: str = "moved"
    source: str = ""

    def of(self, scorer: Any) -> "Recipe":
        """The recipe as it is for a scorer, of which alleles are either whole or masked."""
        if self.alleles != BY_MODEL:
            return self
        return self._replace(alleles=MASKED if getattr(scorer, "kind", None) == "masked" else WHOLE)

    def described(self, alleles: bool) -> dict[str, str]:
        """The entries of a record, whose windows are the task's; `alleles`: whether the task compares alleles."""
        fields = {key: value for key, value in self._asdict().items() if key not in OF_WINDOWS}
        if alleles:
            return fields | {"orientation": "effect allele - other allele"}
        return {key: value for key, value in fields.items() if key != "alleles"}

    def options(self) -> dict[str, Any]:
        """The keywords of a scorer's methods that differ from their defaults."""
        own = {"reduction": (self.reduction, "sum"), "special_tokens": (self.special_tokens, NOT_SCORED)}
        own |= {"text": (self.text, AS_IT_IS)}
        return {name: value for name, (value, default) in own.items() if value != default}

    def check(self, scorer: Any, alleles: bool = False) -> None:
        """Raise InputError if `scorer` cannot do what the recipe asks for; `alleles`: for those of variants."""
        if not isinstance(scorer, LikelihoodScorer):
            raise InputError(f"recipe {self.name}: {scorer.name} has no likelihoods")
        if isinstance(scorer, AlleleScorer):
            if getattr(scorer, "kind", None) == "masked":
                self._check_masked(scorer, alleles)
            return
        masked = alleles and self.alleles == MASKED
        if masked or self.options():
            raise InputError(
                f"recipe {self.name}: {scorer.name} only sums over whole sequences (recipe {ANY_ALLELES} does so)"
            )

    def _check_masked(self, scorer: Any, alleles: bool) -> None:
        """Refuse masked models for which the project has no number."""
        if self.text == CARBON_TEXT:
            raise InputError(f"recipe {self.name}: {scorer.name} is a masked model, and the project's are causal")
        if not alleles or self.alleles == WHOLE or self.variants != "SNVs":
            return
        bases = scorer.bases_per_token
        if self.text != TRAITGYM_TEXT and (bases != 1 or scorer.before):
            raise InputError(
                f"recipe {self.name}: the project masks the token of the variant's number in the window, which in "
                f"{scorer.name} is another one (a token before the sequence, or several bases a token): "
                f"take {ANY_ALLELES} or traitgym"
            )
        if bases is None:
            raise InputError(
                f"recipe {self.name}: the project masks the variant's base or k-mer, and tokens of {scorer.name} "
                f"are of several lengths: take {ANY_ALLELES}"
            )


BIOFOUNDATION = "Open-Athena/biofoundation@66cf4d46fd8b53d9c39446a4278f7b24ccf7fc40"
TRAITGYM = "songlab-cal/TraitGym@4d80fe889415ffc02d45c7cb5446a326288819bd"
CARBON = "huggingface/carbon@dabe6ceed72fd94c9063b46a37fd5203f72f36f5"
DART_EVAL = "kundajelab/DART-Eval@af2a86d666c35304257c2fa7e15180e1fbcabb01"
RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("dart-eval", "sum", "forward", source=DART_EVAL),
        Recipe("dart-eval-both-strands", "sum", "mean"),
        # Sums over BPE tokens partly measure how many tokens a sequence has; means do not.
        Recipe("dart-eval-mean", "mean", "forward"),
        Recipe("whole-alleles", "sum", "forward", alleles=WHOLE, variants="any"),
        Recipe("biofoundation", "sum", "forward", SCORED, BY_MODEL, AS_IT_IS, "SNVs", "N", BIOFOUNDATION),
        Recipe("traitgym", "sum", "mean", SCORED, BY_MODEL, TRAITGYM_TEXT, "SNVs", "N", TRAITGYM),
        # vep_eval, without and with --rev_comp_avg
        Recipe("carbon", "mean", "forward", NOT_ADDED, WHOLE, CARBON_TEXT, "any", "left out", CARBON),
        Recipe("carbon-both-strands", "mean", "mean", NOT_ADDED, WHOLE, CARBON_TEXT, "any", "left out", CARBON),
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


# Of two alleles by other means than likelihoods: distances of embeddings, what is expected after them, a trained head
TOKENS_L2, JSD, FOUR_BASES = "embedding-l2-tokens", "next-token-jsd", "four-base-llr"
DISTANCES = ("embedding-cosine", "embedding-l2", TOKENS_L2)
OF_BASES = (JSD, FOUR_BASES)
UNSIGNED = (*DISTANCES, JSD)
HEAD = "head"
MARIN_DNA = "Open-Athena/marin-dna@3a120d2af5f0d98a6e2c260102e23a9622aca816"
STRANDS = {"forward": (False,), "reverse": (True,), "mean": (False, True)}  # which are reverse complements


class VariantRecipe(NamedTuple):
    """How two alleles become a score."""

    name: str
    strand: str  # "forward", "reverse" complement, or the "mean" of both scores
    likelihood: Recipe | None = None  # of likelihoods
    layer: int = -1  # of embeddings
    label: str | int | None = None  # of a head: see [`heads.label_index`]

    def of(self, scorer: Any) -> "VariantRecipe":
        """The recipe as it is for a scorer: see [`Recipe.of`]."""
        return self if self.likelihood is None else self._replace(likelihood=self.likelihood.of(scorer))

    def described(self) -> dict[str, Any]:
        """What a file of scores says of its recipe."""
        if self.likelihood is not None:
            described = self.likelihood._replace(strand=self.strand)._asdict()
        elif self.name == HEAD:
            described = {"name": self.name, "strand": self.strand, "label": self.label}
        elif self.name in OF_BASES:
            described = {"name": self.name, "strand": self.strand, "variants": "SNVs", "source": MARIN_DNA}
        else:
            pooling = "none" if self.name == TOKENS_L2 else "mean"
            described = {"name": self.name, "strand": self.strand, "layer": self.layer, "pooling": pooling}
        orientation = "distance, without sign" if self.name in UNSIGNED else "ALT - REF"
        return described | {"orientation": orientation}


def variant_recipe(
    name: str, strand: str | None = None, layer: int = -1, label: str | int | None = None
) -> VariantRecipe:
    """The recipe of that name; `strand` in place of its own.

    Raises:
        InputError: for an unknown name or strand, a label without a head, or a layer without embeddings.
    """
    if name not in (known := (*RECIPES, *DISTANCES, *OF_BASES, HEAD)):
        raise InputError(f"recipe {name}: there are {', '.join(known)}")
    if strand is not None and strand not in STRANDS:
        raise InputError(f"strand {strand}: there are {', '.join(STRANDS)}")
    if label is not None and name != HEAD:
        raise InputError(f"label {label}: recipe {name} has no labels; recipe {HEAD} has")
    if layer != -1 and name not in DISTANCES:
        raise InputError(f"layer {layer}: recipe {name} takes no layer; {', '.join(DISTANCES)} do")
    if name in RECIPES:
        return VariantRecipe(name, strand or RECIPES[name].strand, RECIPES[name])
    return VariantRecipe(name, strand or ("mean" if name in OF_BASES else "forward"), None, layer, label)
