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
    """Which family's choices a model gets: those of its own, or of HyenaDNA. Arguments as of [`known_family`]."""
    return known_family(name, model_type, code) or FAMILIES["hyenadna"]


def known_family(name: str, model_type: str, code: Iterable[str] = ()) -> Family | None:
    """Which family a model belongs to: by its name, by the files of its own code, then by its architecture.

    code: "file.Class" of the repository's code.
    """
    for text in (name.lower(), model_type.lower()):
        for family in FAMILIES.values():
            if any(word in text for word in family.words):
                return family
    files = {reference.rpartition("--")[2].partition(".")[0] for reference in code}
    of_code = (family for family in FAMILIES.values() if files & {*family.code})
    of_type = (family for family in FAMILIES.values() if model_type in family.model_types)
    return next(of_code, None) or next(of_type, None)


def family_of_config(name: str, config: Any) -> Family:
    """Which family's choices a model of that name and configuration gets."""
    return known_family_of_config(name, config) or FAMILIES["hyenadna"]


def known_family_of_config(name: str, config: Any) -> Family | None:
    """Which family a model of that name and configuration belongs to."""
    declared = getattr(config, "auto_map", None) or {}
    code = [reference for reference in declared.values() if isinstance(reference, str)]
    return known_family(name, config.model_type, code)
