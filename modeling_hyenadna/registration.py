"""Names of HyenaDNA in the tables by which transformers and peft decide what a model is.

The Auto classes have a way to register; these tables have none. By transformers' table of causal models, for instance,
`Trainer` knows that label smoothing has to shift the labels.
"""

import sys

from transformers.models.auto import modeling_auto

MODEL_TYPE = "hyenadna"
CLASS_NAMES = {
    "MODEL_MAPPING_NAMES": "HyenaDNAModel",
    "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES": "HyenaDNAForCausalLM",
    "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES": "HyenaDNAForSequenceClassification",
    "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES": "HyenaDNAForTokenClassification",
}

# Layers that each kind of adapter takes where the user names none. Those of the implicit filter are in none of them.
PEFT_TABLE = "TRANSFORMERS_MODELS_TO_{}_MODULES_MAPPING"
PROJECTIONS = ["in_proj", "out_proj", "fc1", "fc2"]
PEFT_METHODS_OF_PROJECTIONS = (
    *("ADALORA", "ADAMSS", "BOFT", "C3A", "DEFT", "DELORA", "FOURIERFT", "FROD", "GLORA", "GRALORA", "HIRA", "HRA"),
    *("LILY", "LOHA", "LOKR", "LORA", "MISS", "OFT", "OSF", "PEANUT", "POLY", "PSOFT", "PVERA", "RANDLORA", "ROAD"),
    *("SHIRA", "SUPERTUNING", "TINYLORA", "UNILORA", "VBLORA", "VERA", "WAVEFT"),
)
PEFT_TARGETS = {f"{method}_TARGET": PROJECTIONS for method in PEFT_METHODS_OF_PROJECTIONS} | {
    "IA3_TARGET": ["in_proj", "fc2"],
    "IA3_FEEDFORWARD": ["fc2"],
    "LNTUNING_TARGET": ["norm1", "norm2", "ln_f"],
}


def register_with_transformers() -> None:
    """Enter the class names where transformers looks them up by name."""
    for table, class_name in CLASS_NAMES.items():
        getattr(modeling_auto, table)[MODEL_TYPE] = class_name


def register_with_peft() -> None:
    """Enter the layers to adapt in peft's tables of defaults, if peft has been imported; else do nothing."""
    constants = sys.modules.get("peft.utils.constants")
    for name, targets in PEFT_TARGETS.items():
        table = getattr(constants, PEFT_TABLE.format(name), None)  # a version may have fewer methods
        if table is not None:
            table.setdefault(MODEL_TYPE, [*targets])
