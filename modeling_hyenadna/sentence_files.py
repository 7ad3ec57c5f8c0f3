"""Files by which sentence-transformers takes a model folder for an embedding model, with the right pooling.

Without them it takes the hidden state of the last token, which is [SEP] and was never trained to sum up a sequence.
With them it tokenizes without [SEP] and takes the mean over the bases. Needs sentence-transformers 6.
"""

import json
from pathlib import Path

MODULES = "modules.json"


def write_sentence_files(folder: Path, d_model: int) -> None:
    """Write them into `folder`, for embeddings of `d_model` numbers, unless there is a modules.json."""
    if (folder / MODULES).exists():
        return
    files = {
        "1_Pooling/config.json": {"embedding_dimension": d_model, "pooling_mode": "mean", "include_prompt": True},
        "sentence_bert_config.json": {
            "transformer_task": "feature-extraction",
            "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
            "module_output_name": "token_embeddings",
            "processing_kwargs": {"text": {"add_special_tokens": False}},
        },
        MODULES: [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        ],
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
