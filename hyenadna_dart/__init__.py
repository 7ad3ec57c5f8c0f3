"""One import for users: the public names of this repository's packages, loaded when they are first asked for."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets_dart import load_dart
    from datasets_hyenadna import load_task
    from evaluation_dart import RECIPES, TASKS, compare, evaluate, evaluate_suite, load_record, load_scorer
    from evaluation_dart.tools.dependencies import dependency_map
    from evaluation_dart.tools.generation import generate
    from evaluation_dart.tools.mutagenesis import mutagenesis
    from evaluation_dart.tools.regions import embed_regions
    from evaluation_dart.tools.variants import score_variants
    from modeling_hyenadna import (
        HyenaDNAConfig,
        HyenaDNAForCausalLM,
        HyenaDNAForSequenceClassification,
        HyenaDNAForTokenClassification,
        HyenaDNAModel,
        HyenaDNATokenizer,
    )
    from trainer_scripts.demo import DEMO_MODEL

__all__ = [
    "DEMO_MODEL",
    "RECIPES",
    "TASKS",
    "HyenaDNAConfig",
    "HyenaDNAForCausalLM",
    "HyenaDNAForSequenceClassification",
    "HyenaDNAForTokenClassification",
    "HyenaDNAModel",
    "HyenaDNATokenizer",
    "compare",
    "dependency_map",
    "embed_regions",
    "evaluate",
    "evaluate_suite",
    "generate",
    "load_dart",
    "load_record",
    "load_scorer",
    "load_task",
    "mutagenesis",
    "score_variants",
]

HOMES = {
    "load_dart": "datasets_dart",
    "load_task": "datasets_hyenadna",
    "dependency_map": "evaluation_dart.tools.dependencies",
    "generate": "evaluation_dart.tools.generation",
    "mutagenesis": "evaluation_dart.tools.mutagenesis",
    "embed_regions": "evaluation_dart.tools.regions",
    "score_variants": "evaluation_dart.tools.variants",
    "DEMO_MODEL": "trainer_scripts.demo",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "modeling_hyenadna" if name.startswith("HyenaDNA") else "evaluation_dart"
    return getattr(import_module(HOMES.get(name, home)), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
