"""The tokenizer against the official one's recorded answers, and its byte-table path against its Rust path."""

import json
import logging
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets.fingerprint import Hasher
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from modeling_hyenadna import HyenaDNATokenizer
from modeling_hyenadna import tokenization_hyenadna as module

FIXTURES = Path(__file__).parents[1] / "fixtures"
OFFICIAL = json.loads((FIXTURES / "tokenizer/cases.json").read_text())
OFFICIAL_FOLDER = FIXTURES / "model/small_d32_l2_s130"

RustOnly = type("RustOnly", (HyenaDNATokenizer,), {"_encode_by_table": lambda self, *args, **options: None})


def by_table(tokenizer, *args, **options):
    """Encode, asserting that the Rust backend was not asked."""
    encoded = tokenizer(*args, **options)
    assert isinstance(encoded.encodings, module._RustEncodings)
    return encoded


def cases(*kinds):
    return [
        pytest.param(case, id=f"{case['kind']}-{index}")
        for index, case in enumerate(OFFICIAL["cases"])
        if case["kind"] in kinds
    ]


@pytest.fixture(params=[HyenaDNATokenizer, RustOnly], ids=["table", "rust"])
def tokenizer(request):
    return request.param()


def test_every_official_case_is_tested():
    tested = {
        "encode", "encode_no_special", "masks", "pair", "truncate", "truncate_pair", "pad_longest",
        "pad_max_length_12", "pad_to_multiple_of_8", "model_max_length_8_truncation_true",
        "model_max_length_8_no_truncation", "decode", "decode_bad_id", "convert_tokens_to_ids",
    }  # fmt: skip
    assert len(OFFICIAL["cases"]) == 136
    assert {case["kind"] for case in OFFICIAL["cases"]} == tested


@pytest.mark.parametrize("case", cases("encode"))
def test_encode(tokenizer, case):
    encoded = tokenizer(case["text"])
    assert encoded["input_ids"] == case["input_ids"]
    assert encoded["attention_mask"] == [1] * len(case["input_ids"])
    assert list(encoded.keys()) == ["input_ids", "attention_mask"]


@pytest.mark.parametrize("case", cases("encode_no_special"))
def test_encode_without_special_tokens(tokenizer, case):
    assert tokenizer(case["text"], add_special_tokens=False)["input_ids"] == case["input_ids"]


@pytest.mark.parametrize("case", cases("pair", "masks"))
def test_masks_and_pairs(tokenizer, case):
    encoded = tokenizer(case["text"], case.get("text_pair"), return_special_tokens_mask=True)
    assert encoded["input_ids"] == case["input_ids"]
    assert encoded["special_tokens_mask"] == case["special_tokens_mask"]
    assert encoded["attention_mask"] == case.get("attention_mask", [1] * len(case["input_ids"]))


@pytest.mark.parametrize("case", cases("pad_longest", "pad_max_length_12", "pad_to_multiple_of_8"))
@pytest.mark.parametrize("set_side", ["attribute", "argument", "call"])
def test_padding(case, set_side):
    tokenizer, side = HyenaDNATokenizer(), case["padding_side"]
    options = {
        "pad_longest": {"padding": True},
        "pad_max_length_12": {"padding": "max_length", "max_length": 12},
        "pad_to_multiple_of_8": {"padding": True, "pad_to_multiple_of": 8},
    }[case["kind"]]
    if set_side == "attribute":
        tokenizer.padding_side = side
    elif set_side == "argument":
        tokenizer = HyenaDNATokenizer(padding_side=side)
    else:
        options["padding_side"] = side
    encoded = tokenizer(case["texts"], **options)
    assert encoded["input_ids"] == case["input_ids"]
    assert encoded["attention_mask"] == [[int(token != 4) for token in row] for row in case["input_ids"]]


@pytest.mark.parametrize("case", cases("truncate", "truncate_pair"))
def test_truncation(tokenizer, case):
    strategy = case.get("strategy", True)
    encoded = tokenizer(case["text"], case.get("text_pair"), truncation=strategy, max_length=case["max_length"])
    assert encoded["input_ids"] == case["input_ids"]


@pytest.mark.parametrize("case", cases("model_max_length_8_truncation_true", "model_max_length_8_no_truncation"))
def test_model_max_length(case):
    tokenizer = HyenaDNATokenizer(model_max_length=8)
    truncation = case["kind"].endswith("truncation_true")
    assert tokenizer(case["text"], truncation=truncation)["input_ids"] == case["input_ids"]


@pytest.mark.parametrize("case", cases("decode"))
def test_decode(tokenizer, case):
    assert tokenizer.decode(case["input_ids"]) == case["text"]
    assert tokenizer.decode(case["input_ids"], skip_special_tokens=True) == case["text_skip_special"]
    assert tokenizer.convert_ids_to_tokens(case["input_ids"]) == case["tokens"]


@pytest.mark.parametrize("case", cases("decode_bad_id"))
def test_ids_without_a_token_are_refused(tokenizer, case):
    with pytest.raises(KeyError, match=f"token id {case['input_ids'][0]} has no token"):
        tokenizer.decode(case["input_ids"])
    with pytest.raises(KeyError, match="has no token"):
        tokenizer.convert_ids_to_tokens(case["input_ids"])


def test_tokens_and_attributes(tokenizer):
    (case,) = (case for case in OFFICIAL["cases"] if case["kind"] == "convert_tokens_to_ids")
    assert tokenizer.convert_tokens_to_ids(case["tokens"]) == case["input_ids"]
    official = dict(OFFICIAL["attributes"], model_max_length=1_000_002)
    # The two intended differences: the attention mask by default, and the Rust backend.
    assert tokenizer.model_input_names == ["input_ids", "attention_mask"]
    assert tokenizer.is_fast
    for name in set(official) - {"model_input_names", "is_fast", "len", "get_vocab", "all_special_tokens"}:
        value = getattr(tokenizer, name)
        assert (sorted(value) if name == "all_special_ids" else value) == official[name], name
    assert sorted(tokenizer.all_special_tokens) == official["all_special_tokens"]
    assert tokenizer.get_vocab() == official["get_vocab"]
    assert len(tokenizer) == official["len"]


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "add_special_tokens": st.booleans(),
        "padding": st.sampled_from([False, True, "max_length"]),
        "truncation": st.sampled_from([False, True, "only_first", "only_second"]),
        "max_length": st.integers(0, 20),
        "pad_to_multiple_of": st.sampled_from([None, 1, 8]),
        "padding_side": st.sampled_from(["left", "right"]),
        "return_tensors": st.sampled_from([None, "np", "pt"]),
        "return_attention_mask": st.booleans(),
        "return_special_tokens_mask": st.booleans(),
    },
)
SEQUENCES = st.one_of(
    st.text("ACGTN", max_size=30),
    st.text("ACGTNacgtnRYUé ß[]", max_size=15),
    st.text(max_size=15),
    st.sampled_from(["A[MASK]C", "[SEP]", "AC[PAD]", "漢A", "\0A\n"]),
)


def outcome(tokenizer, text, options):
    """Everything a caller can see of an encoding, or the type of the error."""
    try:
        encoded = tokenizer(text, verbose=False, **options)
    except Exception as error:  # whatever Rust or the conversion to tensors raises
        return type(error)
    # As text, because rows of unequal length make an object array of arrays.
    lists = {key: repr(value if isinstance(value, list) else value.tolist()) for key, value in encoded.items()}
    kinds = {key: (type(value), getattr(value, "dtype", None)) for key, value in encoded.items()}
    rust = [(e.ids, e.tokens, e.offsets, e.attention_mask, e.special_tokens_mask) for e in encoded.encodings]
    return lists, kinds, encoded.is_fast, encoded.n_sequences, rust


@settings(max_examples=400, deadline=None)
@given(
    text=st.one_of(SEQUENCES, st.lists(SEQUENCES, min_size=1, max_size=4), st.lists(SEQUENCES, max_size=2).map(tuple)),
    options=OPTIONS,
    upper_case=st.booleans(),
    truncation_side=st.sampled_from(["left", "right"]),
)
@pytest.mark.filterwarnings("ignore:`max_length` is ignored")
def test_table_and_rust_paths_agree(text, options, upper_case, truncation_side):
    made = {"do_upper_case": upper_case, "truncation_side": truncation_side, "model_max_length": 12}
    assert outcome(HyenaDNATokenizer(**made), text, options) == outcome(RustOnly(**made), text, options)


@pytest.mark.parametrize("options", [{}, {"padding": True}, {"truncation": True, "max_length": 3}])
@pytest.mark.parametrize("kind", [None, "np", "pt"])
def test_plain_sequences_take_the_table_path(options, kind):
    for tokenizer in (HyenaDNATokenizer(), AutoTokenizer.from_pretrained(OFFICIAL_FOLDER)):
        encoded = by_table(tokenizer, ["ACGT", "NNNN"], return_tensors=kind, **options)
        last = 2 if "max_length" in options else 4
        assert [list(row) for row in encoded["input_ids"]] == [[7, 8, 9, 10][:last] + [1], [11] * last + [1]]
    by_table(HyenaDNATokenizer(do_upper_case=True), "acgt")


def test_tensors_are_int64_and_writable():
    for kind, dtype in (("np", np.int64), ("pt", torch.int64)):
        encoded = HyenaDNATokenizer()(["ACG", "T"], padding=True, return_tensors=kind)
        assert encoded["input_ids"].dtype == encoded["attention_mask"].dtype == dtype
        encoded["input_ids"][0, 0] = 4
        assert encoded["input_ids"].tolist() == [[4, 8, 9, 1], [4, 4, 10, 1]]


def test_rust_answers_where_the_tokenizer_was_changed():
    tokenizer = HyenaDNATokenizer()
    tokenizer.add_tokens(["<human>"], special_tokens=True)
    assert tokenizer("<human>AC")["input_ids"] == [12, 7, 8, 1]
    tokenizer = HyenaDNATokenizer()
    tokenizer.add_eos_token = False
    assert tokenizer("AC")["input_ids"] == [7, 8]
    tokenizer = HyenaDNATokenizer(mask_token="?")
    assert tokenizer("A?C")["input_ids"] == [7, 12, 8, 1]


def test_rust_encodings_of_the_table_path_are_made_on_demand():
    encoded = by_table(HyenaDNATokenizer(), ["ACG", "T"], padding=True)
    assert encoded.tokens(1) == ["[PAD]", "[PAD]", "T", "[SEP]"]
    assert encoded.char_to_token(0, 2) == 2
    assert len(encoded.encodings) == 2
    assert pickle.loads(pickle.dumps(encoded)).tokens(0) == ["A", "C", "G", "[SEP]"]  # noqa: S301


def test_upper_case_is_opt_in_and_saved(tmp_path):
    assert HyenaDNATokenizer()("acgtnN")["input_ids"] == [6, 6, 6, 6, 6, 11, 1]
    tokenizer = HyenaDNATokenizer(do_upper_case=True)
    assert tokenizer("acgtnNr[mask]")["input_ids"] == [7, 8, 9, 10, 11, 11, 6, 6, 6, 7, 6, 6, 6, 1]
    assert tokenizer("acgtn")["input_ids"] == RustOnly(do_upper_case=True)("acgtn")["input_ids"]
    tokenizer.save_pretrained(tmp_path)
    again = HyenaDNATokenizer.from_pretrained(tmp_path)
    assert again.do_upper_case
    assert by_table(again, "acgtn")["input_ids"] == [7, 8, 9, 10, 11, 1]
    assert not HyenaDNATokenizer.from_pretrained(tmp_path, do_upper_case=False).do_upper_case


@pytest.mark.parametrize("text", ["acgt", "acgt[MASK]", "ACGT" * 24 + "RY", "漢" + "ACGT" * 24])
def test_more_than_one_percent_unknown_warns_once(caplog, text):
    with caplog.at_level(logging.WARNING):
        tokenizer = HyenaDNATokenizer()
        tokenizer(["ACGT", text])
        tokenizer(text)
    (record,) = caplog.records
    assert "[UNK]" in record.message
    assert "Soft-masked" in record.message
    assert "do_upper_case=True" in record.message


def test_one_percent_unknown_is_silent(caplog):
    with caplog.at_level(logging.WARNING):
        HyenaDNATokenizer()("ACG" * 33 + "R")  # 1 of 101 tokens
        HyenaDNATokenizer()("", padding="max_length", max_length=50)
    assert not caplog.records


def test_official_folder_loads_and_is_saved_without_its_remote_code(tmp_path):
    official = json.loads((OFFICIAL_FOLDER / "tokenizer_config.json").read_text())
    assert "auto_map" in official
    tokenizer = AutoTokenizer.from_pretrained(OFFICIAL_FOLDER)
    assert type(tokenizer) is HyenaDNATokenizer
    assert tokenizer.model_max_length == official["model_max_length"] == 130
    assert tokenizer.padding_side == "left"
    tokenizer.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert "auto_map" not in saved
    assert "vocab" not in saved
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    assert (again.model_max_length, again.padding_side) == (130, "left")


def test_saved_tokens_and_template_survive(tmp_path):
    tokenizer = HyenaDNATokenizer(padding_side="right")
    tokenizer.add_tokens(["<human>"], special_tokens=True)
    tokenizer.add_bos_token = True
    tokenizer.save_pretrained(tmp_path)
    again = HyenaDNATokenizer.from_pretrained(tmp_path)
    assert again("<human>A")["input_ids"] == tokenizer("<human>A")["input_ids"] == [2, 12, 7, 1]
    assert again.padding_side == "right"


def test_another_vocabulary_is_refused(tmp_path):
    HyenaDNATokenizer().save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "tokenizer.json").read_text())
    saved["model"]["vocab"].update(G=10, T=9)  # the order of the original's in-context loader, A C T G N
    (tmp_path / "tokenizer.json").write_text(json.dumps(saved))
    with pytest.raises(ValueError, match=r"vocabulary .*'G': 10.* is not that of HyenaDNA"):
        HyenaDNATokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize("with_model_config", [False, True])
def test_saved_files_load_where_this_package_is_not_installed(tmp_path, with_model_config):
    HyenaDNATokenizer(do_upper_case=True, model_max_length=130).save_pretrained(tmp_path / "saved")
    if with_model_config:
        config = json.loads((OFFICIAL_FOLDER / "config.json").read_text())
        del config["auto_map"]  # as saved by this package
        (tmp_path / "saved/config.json").write_text(json.dumps(config))
    script = """
import json, sys
sys.modules["modeling_hyenadna"] = None  # as if it were not installed
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
encoded = tokenizer(["ACGTN", "a[MASK]R"], padding=True)
print(json.dumps([encoded["input_ids"], encoded["attention_mask"], tokenizer("AC", "G")["input_ids"],
                  tokenizer.decode([7, 8, 1]), tokenizer.model_max_length]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "saved")],
        cwd=tmp_path, env=dict(os.environ, HF_HUB_OFFLINE="1"), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        [[7, 8, 9, 10, 11, 1], [4, 4, 7, 3, 6, 1]],
        [[1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1]],
        [7, 8, 1, 9, 1],
        "AC[SEP]",
        130,
    ]
    shutil.rmtree(tmp_path / "saved")


def test_fingerprint_does_not_change_with_use(caplog):
    tokenizer = HyenaDNATokenizer(model_max_length=16)
    before = Hasher.hash(tokenizer)
    tokenizer("acgt")  # warns of [UNK]
    tokenizer(["ACGT", "AC[SEP]"], padding=True, truncation=True, max_length=3)
    tokenizer("ACGT", "AC", padding="max_length")
    tokenizer("ACGT" * 10)  # warns of the length
    assert "[UNK]" in caplog.text
    assert Hasher.hash(tokenizer) == before == Hasher.hash(HyenaDNATokenizer(model_max_length=16))
    assert Hasher.hash(HyenaDNATokenizer(model_max_length=17)) != before
