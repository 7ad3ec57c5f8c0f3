"""HyenaDNA for transformers. Importing this package registers it with the Auto classes.

The operator, `modeling_hyenadna.long_conv`, can be imported where torch is installed without transformers.
"""

from importlib.util import find_spec

__version__ = "0.1.0"

if find_spec("transformers") is not None:
    from transformers import (
        AutoConfig,
        AutoModel,
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        AutoModelForTokenClassification,
        AutoTokenizer,
    )

    from . import export_hub_code
    from .configuration_hyenadna import HyenaDNAConfig
    from .modeling_hyenadna import (
        HyenaDNAForCausalLM,
        HyenaDNAForSequenceClassification,
        HyenaDNAForTokenClassification,
        HyenaDNAModel,
        HyenaDNAPreTrainedModel,
    )
    from .tokenization_hyenadna import HyenaDNATokenizer

    HyenaDNAPreTrainedModel.add_hub_code = staticmethod(export_hub_code.export_hub_code)
    AutoConfig.register("hyenadna", HyenaDNAConfig, exist_ok=True)
    AutoModel.register(HyenaDNAConfig, HyenaDNAModel, exist_ok=True)
    AutoModelForCausalLM.register(HyenaDNAConfig, HyenaDNAForCausalLM, exist_ok=True)
    AutoModelForSequenceClassification.register(HyenaDNAConfig, HyenaDNAForSequenceClassification, exist_ok=True)
    AutoModelForTokenClassification.register(HyenaDNAConfig, HyenaDNAForTokenClassification, exist_ok=True)
    AutoTokenizer.register(HyenaDNAConfig, tokenizer_class=HyenaDNATokenizer, exist_ok=True)

    __all__ = [
        "HyenaDNAConfig",
        "HyenaDNAForCausalLM",
        "HyenaDNAForSequenceClassification",
        "HyenaDNAForTokenClassification",
        "HyenaDNAModel",
        "HyenaDNATokenizer",
    ]
