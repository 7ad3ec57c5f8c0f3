"""Generation and pipelines: with and without a cache, batched, continued, and from a tokenizer that appends [SEP]."""

from pathlib import Path

import pytest
import torch
from transformers import DynamicCache, pipeline

from modeling_hyenadna import HyenaDNAForCausalLM, HyenaDNAForSequenceClassification, HyenaDNAModel, HyenaDNATokenizer

MODELS = Path(__file__).parents[1] / "fixtures" / "model"
GOLDEN, LONG = MODELS / "small_d32_l2_s130", MODELS / "long_d32_l2_s2116"
PAD, SEP = 4, 1
PROMPT = torch.tensor([[7, 8, 9, 10, 7, 7, 9, 10, 10, 8]])


@pytest.fixture(scope="module")
def model():
    model = HyenaDNAForCausalLM.from_pretrained(GOLDEN).eval()
    model.generation_config.eos_token_id = None  # every run has its full length
    return model


@pytest.fixture(scope="module")
def tokenizer():
    return HyenaDNATokenizer(model_max_length=130)


@pytest.mark.parametrize("splits", [[1] * 30, [10, 1, 1, 18], [29, 1], [7, 23]])
def test_any_split_into_cached_steps_equals_one_forward(model, splits):
    ids = torch.randint(7, 12, (2, 30), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[0, :6] = 0
    with torch.no_grad():
        expected = model(ids, attention_mask=mask).logits
        cache, start, pieces = DynamicCache(config=model.config), 0, []
        for size in splits:
            out = model(
                ids[:, start : start + size],
                attention_mask=mask[:, : start + size],
                past_key_values=cache,
                use_cache=True,
            )
            start, cache = start + size, out.past_key_values
            assert cache.get_seq_length() == start
            pieces.append(out.logits)
    real = mask.bool()
    torch.testing.assert_close(torch.cat(pieces, dim=1)[real], expected[real], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("piece", [1, 3, 40])
def test_long_continuations_of_a_long_prompt(piece):
    model = HyenaDNAForCausalLM.from_pretrained(LONG).eval()
    ids = torch.randint(7, 12, (2, 1100), generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        expected = model(ids).logits
        cache = model(ids[:, :700], use_cache=True).past_key_values
        logits = [
            model(step, past_key_values=cache, use_cache=True).logits for step in ids[:, 700:].split(piece, dim=1)
        ]
    torch.testing.assert_close(torch.cat(logits, dim=1), expected[:, 700:], atol=1e-5, rtol=1e-5)


def test_tokens_are_taken_back(model):
    ids = torch.randint(7, 12, (1, 60), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected = model(ids).logits
        cache = model(ids[:, :10], use_cache=True).past_key_values
        for start in range(10, 55, 5):
            cache.activate_past_recording()
            model(torch.full((1, 8), 11), past_key_values=cache, use_cache=True)
            cache.crop(-8)
            assert cache.get_seq_length() == start
            logits = model(ids[:, start : start + 5], past_key_values=cache, use_cache=True).logits
            torch.testing.assert_close(logits, expected[:, start : start + 5], atol=1e-5, rtol=1e-5)
            cache.crop(0)


def test_assisted_and_prompt_lookup_decoding_give_what_greedy_decoding_gives(model):
    expected = model.generate(PROMPT, max_new_tokens=60, do_sample=False)
    assistant = HyenaDNAForCausalLM.from_pretrained(GOLDEN).eval()
    with torch.no_grad():
        assistant.lm_head.weight += 0.05 * torch.randn(assistant.lm_head.weight.shape)
    for options in ({"assistant_model": assistant}, {"prompt_lookup_num_tokens": 4}):
        assert torch.equal(model.generate(PROMPT, max_new_tokens=60, do_sample=False, **options), expected)


@pytest.mark.parametrize(
    "mask", [[1, 0, 1, 1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 0, 0, 0, 0, 0], [0, 0, 1, 1, 0, 1, 1, 1, 1]]
)
def test_an_assistant_reads_masked_prompts_as_the_model_does(model, mask):
    mask, prompt = torch.tensor([mask]), PROMPT[:1, :9]
    expected = model.generate(prompt, attention_mask=mask, max_new_tokens=12, do_sample=False)
    found = model.generate(prompt, attention_mask=mask, max_new_tokens=12, do_sample=False, assistant_model=model)
    assert torch.equal(found, expected)


def test_prompts_may_be_prefilled_in_chunks(model):
    prompt = torch.randint(7, 12, (2, 60), generator=torch.Generator().manual_seed(4))
    expected = model.generate(prompt, max_new_tokens=20, do_sample=False)
    chunked = model.generate(prompt, max_new_tokens=20, do_sample=False, prefill_chunk_size=25)
    assert torch.equal(chunked, expected)


def test_generation_uses_a_cache_and_a_forward_does_not(model):
    assert model(PROMPT).past_key_values is None
    out = model.generate(PROMPT, max_new_tokens=3, return_dict_in_generate=True)
    assert out.past_key_values.get_seq_length() == 12


@pytest.mark.parametrize(
    "options",
    [{"do_sample": False}, {"do_sample": True, "top_k": 4}, {"do_sample": False, "num_beams": 3}],
    ids=["greedy", "sampling", "beams"],
)
def test_cached_generation_equals_uncached(model, options):
    generated = []
    for use_cache in (True, False):
        torch.manual_seed(5)
        generated.append(model.generate(PROMPT, max_new_tokens=25, use_cache=use_cache, **options))
    assert generated[0].shape == (1, 35)
    assert torch.equal(*generated)
    assert generated[0].max() < model.config.vocab_size  # never a row that pads the vocabulary


def test_left_padded_batch_generates_what_each_prompt_does_alone(model):
    short = PROMPT[:, 4:]
    batch = torch.cat([PROMPT, torch.cat([torch.full((1, 4), PAD), short], dim=1)])
    mask = (batch != PAD).long()
    together = model.generate(batch, attention_mask=mask, max_new_tokens=20, do_sample=False)
    assert torch.equal(together[0], model.generate(PROMPT, max_new_tokens=20, do_sample=False)[0])
    assert torch.equal(together[1, 4:], model.generate(short, max_new_tokens=20, do_sample=False)[0])


def test_generation_continues_from_a_cache(model):
    whole = model.generate(PROMPT, max_new_tokens=20, do_sample=False)
    first = model.generate(PROMPT, max_new_tokens=8, do_sample=False, return_dict_in_generate=True)
    second = model.generate(first.sequences, past_key_values=first.past_key_values, max_new_tokens=12, do_sample=False)
    assert torch.equal(second, whole)


def test_the_tokenizers_final_separator_is_not_continued(model, tokenizer):
    expected = model.generate(PROMPT, max_new_tokens=12, do_sample=False)[:, 10:]
    prompt = tokenizer("ACGTAAGTTC", return_tensors="pt")
    assert prompt.input_ids[0, -1] == SEP
    for generated in (
        model.generate(**prompt, max_new_tokens=12, do_sample=False),
        model.generate(prompt.input_ids, max_new_tokens=12, do_sample=False),
    ):
        assert generated[0, :11].tolist() == [PAD, *PROMPT[0].tolist()]
        assert torch.equal(generated[:, 11:], expected)


def test_rows_with_and_without_a_separator_can_be_mixed(model):
    width = PROMPT.shape[1]
    ids = torch.stack([torch.cat([PROMPT[0], torch.tensor([SEP])]), torch.cat([PROMPT[0, :1], PROMPT[0]])])
    moved, mask = model.mask_final_separator(ids, None)
    assert moved.tolist() == [[PAD, *PROMPT[0].tolist()], ids[1].tolist()]
    assert mask.tolist() == [[0] + [1] * width, [1] * (width + 1)]
    only_separator = torch.tensor([[SEP]])
    assert torch.equal(model.mask_final_separator(only_separator, None)[0], only_separator)


def test_text_generation_pipeline(model, tokenizer):
    generator = pipeline("text-generation", model=model, tokenizer=tokenizer)
    prompts = ["ACGTAAGTTC", "AAGTTC"]
    expected = []
    for prompt in prompts:
        ids = model.generate(tokenizer(prompt, return_tensors="pt").input_ids, max_new_tokens=12, do_sample=False)
        expected.append(tokenizer.decode(ids[0], skip_special_tokens=True))
    for batch_size in (1, 2):
        out = generator(prompts, max_new_tokens=12, do_sample=False, batch_size=batch_size)
        assert [row[0]["generated_text"] for row in out] == expected
    assert all(
        text.startswith(prompt) and len(text) > len(prompt) for text, prompt in zip(expected, prompts, strict=True)
    )


def test_classification_and_feature_pipelines(model, tokenizer):
    torch.manual_seed(1)
    classifier = HyenaDNAForSequenceClassification(model.config).eval()
    texts = ["ACGTACGTAA", "TTGA", "CCGGA"]
    expected = [classifier(**tokenizer(text, return_tensors="pt")).logits.softmax(-1).max().item() for text in texts]
    scores = pipeline("text-classification", model=classifier, tokenizer=tokenizer)(texts, batch_size=3)
    assert [row["score"] for row in scores] == pytest.approx(expected, abs=1e-5)
    base = HyenaDNAModel(model.config).eval()
    features = pipeline("feature-extraction", model=base, tokenizer=tokenizer)("ACGTA")
    torch.testing.assert_close(
        torch.tensor(features[0]), base(**tokenizer("ACGTA", return_tensors="pt")).last_hidden_state[0]
    )


def test_logits_to_keep(model):
    logits = model(PROMPT).logits
    torch.testing.assert_close(model(PROMPT, logits_to_keep=3).logits, logits[:, -3:])
    torch.testing.assert_close(model(PROMPT, logits_to_keep=torch.tensor([0, 4])).logits, logits[:, [0, 4]])


def test_cache_refuses_what_it_cannot_do(model):
    cache = model(PROMPT, use_cache=True).past_key_values
    with pytest.raises(RuntimeError, match="cannot remove 2 tokens from a HyenaDNA cache that recorded 0"):
        cache.crop(-2)
    with pytest.raises(ValueError, match="a negative number, of tokens to remove, got 8"):
        cache.crop(8)
    with pytest.raises(ValueError, match=r"DynamicCache\(config=model.config\)"):
        model(PROMPT, past_key_values=DynamicCache(), use_cache=True)
    with pytest.raises(ValueError, match="138 tokens, but this model's limit"):
        model(torch.full((1, 128), 7), past_key_values=cache, use_cache=True)
    cache.reset()
    assert cache.get_seq_length() == 0


@pytest.fixture
def counted(model):
    """The model, and a list that grows with each forward of its backbone."""
    calls = []
    handle = model.hyena.backbone.register_forward_pre_hook(lambda *_: calls.append(1))
    yield model, calls
    handle.remove()


@pytest.mark.parametrize(
    "options", [{"max_new_tokens": 122}, {"max_length": 132}, {"max_new_tokens": 200, "num_beams": 2}]
)
def test_a_length_past_the_limit_is_refused_before_any_forward(counted, options):
    model, calls = counted
    with pytest.raises(ValueError, match=r"ask for at most 121 new tokens \(max_new_tokens\)"):
        model.generate(PROMPT, do_sample=False, **options)
    with pytest.raises(ValueError, match="ask for at most 121 new tokens"):
        model.generate(inputs_embeds=model.get_input_embeddings()(PROMPT), do_sample=False, **options)
    with pytest.raises(ValueError, match="the prompt has 131 tokens, but this model reads at most 130"):
        model.generate(torch.full((1, 131), 7), max_new_tokens=1)
    assert not calls


def test_the_limit_itself_and_a_default_that_would_pass_it(model):
    assert model.generate(PROMPT, max_new_tokens=121, do_sample=False).shape == (1, 131)
    nearly = torch.full((1, 126), 7)
    for prompt, length in ((nearly, 131), (PROMPT, 30)):
        with pytest.warns(UserWarning, match="max_length"):
            assert model.generate(prompt, do_sample=False).shape == (1, length)


def test_a_pipeline_refuses_a_length_past_the_limit(counted, tokenizer):
    model, calls = counted
    generator = pipeline("text-generation", model=model, tokenizer=tokenizer)
    with pytest.raises(ValueError, match=r"more than this model reads, 130"):
        generator("ACGTAAGTTC", max_new_tokens=125)
    assert not calls


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"use_cache": False}, {"prefill_chunk_size": 4}])
def test_positions_of_a_padded_batch_change_nothing(model, options):
    short = PROMPT[:, 4:]
    batch = torch.cat([PROMPT, torch.cat([torch.full((1, 4), PAD), short], dim=1)])
    mask = (batch != PAD).long()
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    settings = {"max_new_tokens": 20, "do_sample": False, **options}
    together = model.generate(batch, attention_mask=mask, position_ids=positions, **settings)
    assert torch.equal(together, model.generate(batch, attention_mask=mask, **settings))
    for row, alone in enumerate((PROMPT, short)):
        assert torch.equal(together[row, -20:], model.generate(alone, **settings)[0, -20:])
    with pytest.raises(ValueError, match="packed rows cannot be continued"):
        model.generate(PROMPT, position_ids=torch.arange(5).repeat(2)[None], **settings)


@pytest.mark.parametrize("kind", ["static", "offloaded_static", "quantized", "paged"])
def test_caches_of_attention_are_refused_in_a_sentence(counted, kind):
    model, calls = counted
    with pytest.raises(ValueError, match=f"no keys and values for cache_implementation='{kind}': leave it out"):
        model.generate(PROMPT, max_new_tokens=4, cache_implementation=kind)
    assert not calls


def test_an_offloaded_cache(model):
    options = {"max_new_tokens": 8, "do_sample": False}
    expected = model.generate(PROMPT, **options)
    assert torch.equal(model.generate(PROMPT, cache_implementation="offloaded", **options), expected)


def test_continuous_batching_is_refused_in_a_sentence(model):
    with pytest.raises(ValueError, match=r"continuous batching .generate_batch.: use generate with a padded batch"):
        model.generate_batch([[7, 8, 9], [8, 8]])


def test_stop_strings_are_refused_in_a_sentence(counted, tokenizer):
    model, calls = counted
    with pytest.raises(ValueError, match=r"stop_strings cannot be used .* use eos_token_id"):
        model.generate(PROMPT, max_new_tokens=4, stop_strings=["A"], tokenizer=tokenizer)
    assert not calls
