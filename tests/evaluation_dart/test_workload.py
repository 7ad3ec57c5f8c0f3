"""The line at the start of a long run, and the model's passes that move its bar."""

from pathlib import Path

import pytest

from datasets_dart.progress import Progress
from evaluation_dart.models.language_model import load_language_model
from evaluation_dart.shards import part_rows
from evaluation_dart.training.accelerators import exchanged
from evaluation_dart.workload import described_work

MODEL = Path(__file__).parents[1] / "fixtures" / "model" / "small_d32_l2_s130"


@pytest.fixture(scope="module")
def model():
    return load_language_model(MODEL, device="cpu")


def test_the_line_names_model_device_precision_passes_batch_and_memory(model):
    weights = sum(own.numel() for own in model.model.parameters()) * 4
    vocabulary = model.model.config.vocab_size
    line = described_work("3 rows", model, 6, 100, 4)
    size = (weights + 4 * 100 * vocabulary * 4) / 1e6
    assert line == (
        f"3 rows with {MODEL} on cpu, float32, about 6 passes of up to 100 tokens, batches of 4, "
        f"at least {size:,.1f} MB of memory for the weights and a batch's logits"
    )
    assert "batches of 64, " in described_work("3 rows", model, 6, 100, "auto")
    for alike, words in ((True, "each from where it differs"), (False, "every window whole")):
        line = described_work("3 rows", model, 6, 100, 4, alike)
        assert f"up to 100 tokens, {words}, batches of 4, " in line


def test_every_batch_of_a_model_moves_the_bar(model):
    seen = []
    with Progress("scoring", 1, "passes", passes=5) as bar, bar.step():
        whole = model.model.forward

        def forward(*given, **named):
            seen.append(bar.done)
            return whole(*given, **named)

        model.model.forward = forward
        try:
            model.log_likelihood(["ACGTACGTAC"] * 5, batch_size=2)
        finally:
            model.model.forward = whole
    assert seen == [0, 2, 4]
    assert bar.done == 5
    with Progress("scoring", 1, "passes", passes=5) as bar, bar.step():
        model.log_likelihood(["ACGTACGTAC", "ACGTACGTAG", "ACGTACGTAT"], record=[0] * 3)
        assert bar.done == 3  # which are one row of tokens
    assert not model.model._forward_hooks


@pytest.mark.parametrize(
    ("most", "tokens", "step", "rows"),
    [(2048, 2048, 256, 1024), (2048, 128, 256, 2048), (2048, 6144, 256, 256), (2048, 1 << 22, 1, 1), (16, 1, 64, 16)],
)
def test_a_part_is_whole_steps_of_about_a_minute(most, tokens, step, rows):
    assert part_rows(most, tokens, step) == rows


def test_processes_tell_each_other_how_much_they_have_done(tmp_path):
    assert exchanged(tmp_path, 1, 5) == 0
    assert exchanged(tmp_path, 2, 7) == 5
    assert exchanged(tmp_path, 0, 1) == 12
    assert exchanged(tmp_path, 1, 9) == 8
