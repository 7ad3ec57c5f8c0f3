"""The model families of the DART-Eval paper (spec section 1.1): what is particular to each, one module a family."""

from collections.abc import Iterable
from typing import Any

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


def family_of(name: str, model_type: str, code: Iterable[str] = ()) -> Family:
    """Which family a model belongs to: by its name, by the files of its own code, then by its architecture.

    HyenaDNA for all others, whose recipes they get. code: "file.Class" of the repository's code.
    """
    for text in (name.lower(), model_type.lower()):
        for family in FAMILIES.values():
            if any(word in text for word in family.words):
                return family
    files = {reference.rpartition("--")[2].partition(".")[0] for reference in code}
    of_code = (family for family in FAMILIES.values() if files & {*family.code})
    of_type = (family for family in FAMILIES.values() if model_type in family.model_types)
    return next(of_code, None) or next(of_type, FAMILIES["hyenadna"])


def family_of_config(name: str, config: Any) -> Family:
    """Which family a model of that name and configuration belongs to."""
    declared = getattr(config, "auto_map", None) or {}
    code = [reference for reference in declared.values() if isinstance(reference, str)]
    return family_of(name, config.model_type, code)
