"""The model families of the DART-Eval paper (spec section 1.1): what is particular to each, one module a family."""

from evaluation_dart.models.families import (
    caduceus,
    dnabert2,
    gena_lm,
    hyenadna,
    mistral_dna,
    nucleotide_transformer,
)
from evaluation_dart.models.families.family import Family

FAMILIES: dict[str, Family] = {
    module.FAMILY.key: module.FAMILY
    for module in (hyenadna, caduceus, dnabert2, gena_lm, mistral_dna, nucleotide_transformer)
}


def family_of(name: str, model_type: str) -> Family:
    """Which family a model belongs to: by its name, then by its architecture; HyenaDNA for all others."""
    for text in (name.lower(), model_type.lower()):
        for family in FAMILIES.values():
            if any(word in text for word in family.words):
                return family
    return next((family for family in FAMILIES.values() if model_type in family.model_types), FAMILIES["hyenadna"])
