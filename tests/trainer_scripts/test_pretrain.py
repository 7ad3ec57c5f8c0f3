"""Pretraining: short runs on a made-up genome, killed and continued."""

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate.state import GradientState
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import modeling_hyenadna
from datasets_dart.alphabet import encode_bases
from datasets_dart.errors import InputError
from evaluation_dart.models.loading import load_scorer
from evaluation_dart.training.classifiers import SequenceClassifier
from evaluation_dart.training.finetuning import load_pooled_classifier
from evaluation_dart.training.loop import parameter_groups, schedule
from trainer_scripts import finetune, pretrain
from trainer_scripts.genome_windows import base_codes
from trainer_scripts.pretrain import DataArguments, ModelArguments, TrainingArguments, train
from trainer_scripts.pretraining_data import (
    base_token_ids,
    language_model_batch,
    predicted_bases,
    read_genome,
    training_and_validation_regions,
    window_source,
)
from trainer_scripts.training_memory import training_footprint

REPOSITORY = Path(pretrain.__file__).parents[1]
CONTEXT = 32


@pytest.fixture
def genome(tmp_path):
    rng = np.random.default_rng(0)
    bases = "".join(rng.choice(list("ACGT"), 3000))
    path = tmp_path / "g.fa"
    path.write_text(f">one\n{bases[:2000]}\n>two\n{bases[2000:2500]}{'N' * 100}{bases[2500:]}\n")
    return path


@pytest.fixture
def arguments(genome, tmp_path):
    """A run of 6 steps with dropout, a state after every second."""
    return (
        ModelArguments(d_model=16, n_layer=1, context=CONTEXT, embed_dropout=0.1),
        DataArguments(genome=str(genome), validation_block=500, validation_windows=4),
        TrainingArguments(
            output=str(tmp_path / "run"),
            max_steps=6,
            per_device_train_batch_size=2,
            gradient_accumulation_steps=2,
            warmup_lengths=[16],
            warmup_length_steps=[2],
            warmup_steps=2,
            logging_steps=1,
            eval_steps=3,
            save_steps=2,
        ),
    )


def read_log(folder: str) -> list[dict]:
    entries = [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in entry.items() if key != "tokens_per_second"} for entry in entries]


def flags(*dataclasses) -> list[str]:
    words = []
    for name, value in (item for dataclass in dataclasses for item in asdict(dataclass).items()):
        if value is not None and value != []:
            words += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    return words


# Kills itself for good at a moment that argv[1] names; the rest of argv is the command line.
KILLED = """
import os, shutil, signal, sys
import accelerate
from trainer_scripts import pretrain

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def killing(function, moment):
    def wrapped(*arguments, **keywords):
        if moment(*arguments):
            kill()
        return function(*arguments, **keywords)
    return wrapped

place = sys.argv.pop(1)
if place == "in a state":
    # Its second state has weights and no more.
    save = accelerate.accelerator.save_accelerator_state
    states = []
    accelerate.accelerator.save_accelerator_state = killing(save, lambda *_: states.append(0) or len(states) == 2)
elif place == "before the new name":
    os.replace = killing(os.replace, lambda source, target: str(target).endswith("step-00000004"))
elif place == "between rotations":
    shutil.rmtree = killing(shutil.rmtree, lambda path, *_: "step-00000002" in str(path))
elif place == "in a step":
    steps = []
    pretrain.optimiser_step = killing(pretrain.optimiser_step, lambda *_: steps.append(0) or len(steps) == 4)
pretrain.main()
"""


def launch(*command: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "ACCELERATE_USE_CPU": "1"}
    environment["OMP_NUM_THREADS"] = str(torch.get_num_threads())  # sums are to the bit alike with as many threads
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=False)


def states(folder: str) -> list[str]:
    return sorted(path.name for path in (Path(folder) / "checkpoints").iterdir())


def test_a_killed_run_goes_on_to_the_same_end(arguments, tmp_path):
    model_arguments, data_arguments, training = arguments
    training = replace(training, save_total_limit=1, logging_steps=3)  # a state between two lines of the log
    arguments = model_arguments, data_arguments, training
    whole = replace(training, output=str(tmp_path / "whole"))
    train(model_arguments, data_arguments, whole)
    expected = read_log(whole.output)
    # 2 windows x 2 forward passes, of 16 bases in the first 2 steps and then of 32.
    assert [(entry["step"], entry["tokens"]) for entry in expected] == [(3, 256), (6, 640)]

    for moment, left in (
        ("before the new name", [".state.tmp", "step-00000002"]),
        ("between rotations", [".step-00000002.old", "step-00000004"]),
    ):
        killed = launch("-c", KILLED, moment, *flags(*arguments))
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert states(training.output) == left

    folder = Path(training.output)
    with (folder / "log.jsonl").open("a") as log:
        log.write('{"step": 5, "tok')
    train(*arguments)
    assert read_log(training.output) == expected
    assert (folder / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == []
    assert states(training.output) == ["step-00000006"]


TWO_PROCESSES = """
import sys
from accelerate import Accelerator, PartialState
from trainer_scripts import pretrain

Accelerator.end_training = lambda self: None  # or there would be no second run in this process

for line in open(sys.argv[1]).read().splitlines():
    sys.argv = ["pretrain", *line.split("\t")]
    pretrain.main()
    state = PartialState()
    assert (state.num_processes, state.backend) == (2, "gloo"), state
"""


def test_two_processes(arguments, tmp_path):
    """Equal to one with the same batch, and killed and gone on with to the bit."""
    model_arguments, data_arguments, training = arguments
    single = replace(
        training, max_steps=20, logging_steps=1, eval_steps=20, save_steps=20, per_device_train_batch_size=4
    )
    plain = replace(model_arguments, embed_dropout=0.0)
    alone = replace(single, output=str(tmp_path / "alone"))
    train(plain, data_arguments, alone)
    both = replace(single, output=str(tmp_path / "both"), per_device_train_batch_size=2)
    whole = replace(training, output=str(tmp_path / "whole"))

    (tmp_path / "lines").write_text(
        "\n".join("\t".join(flags(*run)) for run in ((plain, data_arguments, both), (*arguments[:2], whole))) + "\n"
    )
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    (tmp_path / "two.py").write_text(TWO_PROCESSES)
    done = launch(*torchrun, str(tmp_path / "two.py"), str(tmp_path / "lines"))
    assert done.returncode == 0, done.stderr[-3000:]
    losses = [[entry["loss"] for entry in read_log(run.output)] for run in (alone, both)]
    assert len(losses[0]) == 20
    np.testing.assert_allclose(losses[1], losses[0], rtol=0, atol=1e-5)
    held_out = [read_log(run.output)[-1]["validation_loss"] for run in (alone, both)]
    assert held_out[0] == pytest.approx(held_out[1], abs=1e-5)

    (tmp_path / "killed.py").write_text(KILLED)
    killed = launch(*torchrun, str(tmp_path / "killed.py"), "in a state", *flags(*arguments))
    assert killed.returncode != 0
    assert "SIGKILL" in killed.stderr
    assert states(training.output) == [".state.tmp", "step-00000002"]
    done = launch(*torchrun, "-m", "trainer_scripts.pretrain", *flags(*arguments))
    assert done.returncode == 0, done.stderr[-3000:]
    assert read_log(training.output) == read_log(whole.output)
    weights = [(Path(run.output) / "model.safetensors").read_bytes() for run in (training, whole)]
    assert weights[0] == weights[1]


def test_the_folder_that_comes_out(arguments):
    train(*arguments)
    folder = Path(arguments[2].output)
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert isinstance(model, modeling_hyenadna.HyenaDNAForCausalLM)
    assert model.config.tie_word_embeddings
    assert model.config.max_seq_len == CONTEXT + 2
    assert model.lm_head.weight is model.get_input_embeddings().weight
    ids = AutoTokenizer.from_pretrained(folder)("ACGTN", return_tensors="pt").input_ids
    assert ids.tolist() == [[7, 8, 9, 10, 11, 1]]
    assert model(ids).logits.shape == (1, 6, 16)
    assert (folder / "loss_curve.png").read_bytes().startswith(b"\x89PNG")
    blocks = [line.split("\t") for line in (folder / "validation.bed").read_text().splitlines()]
    assert [int(end) - int(start) for _, start, end in blocks] == [500]


def test_what_is_pushed_names_no_place_on_this_machine(arguments, tmp_path):
    model_arguments, data_arguments, training = arguments
    train(model_arguments, data_arguments, replace(training, max_steps=2, eval_steps=2))
    for path in Path(training.output).iterdir():
        if path.is_file():
            assert str(tmp_path).encode() not in path.read_bytes(), path
    written = json.loads((Path(training.output) / "run.json").read_text())
    assert re.fullmatch(r"g\.fa sha256:[0-9a-f]{64}", written["genome"])


def test_another_run_is_not_gone_on_with(arguments):
    model_arguments, data_arguments, training = arguments
    train(model_arguments, data_arguments, replace(training, max_steps=2))
    train(model_arguments, data_arguments, replace(training, max_steps=3))  # more steps may follow
    with pytest.raises(ValueError, match=r"run\.json is of another run: learning_rate is 0\.0006 there and 0\.1 here"):
        train(model_arguments, data_arguments, replace(training, learning_rate=0.1))


def test_errors_are_one_line(genome, tmp_path, monkeypatch, capsys):
    command = ["pretrain", "--genome", str(genome), "--max_steps", "1", "--output", str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", [*command, "--chromosomes", "chrX"])
    with pytest.raises(SystemExit) as stopped:
        pretrain.main()
    assert stopped.value.code == 1
    assert re.fullmatch(r"pretrain: .*g\.fa.*'chrX'.*\n", capsys.readouterr().err)


def test_words_that_are_not_known_are_a_line_that_cannot_be_understood(genome, tmp_path, monkeypatch, capsys):
    command = ["pretrain", "--genome", str(genome), "--max_steps", "1", "--output", str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", [*command, "--learning_rat", "1", "--chromosome", "chr1"])
    with pytest.raises(SystemExit) as stopped:
        pretrain.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err.endswith("error: unrecognized arguments: --learning-rat 1 --chromosome chr1\n")
    assert not (tmp_path / "run").exists()


def test_a_training_says_at_its_start_what_it_does_and_keeps_a_log(genome, tmp_path, monkeypatch, capsys):
    log = tmp_path / "log.txt"
    words = f"""--genome {genome} --validation_block 500 --validation_windows 2 --context 64 --d_model 16 --n_layer 1
        --max_steps 2 --per_device_train_batch_size 3 --gradient_accumulation_steps 2 --warmup_lengths 32
        --warmup_length_steps 1 --output {tmp_path / "run"} --log-file {log}"""
    monkeypatch.setattr(sys, "argv", ["pretrain", *words.split()])
    pretrain.main()
    size = AutoModelForCausalLM.from_pretrained(tmp_path / "run")
    memory = training_footprint(size.config, 64, batch_size=3, bf16=False).on_each_of(1)
    said = (
        f"pretraining {size.num_parameters():,} parameters for 2 steps of 6 windows of 64 bases, 3 in a forward pass, "
        "1 shorter lengths first, 2 windows held out, on cpu, float32, "
        f"about {memory / 1e6:.1f} MB of memory for a step"
    )
    assert said in capsys.readouterr().err.splitlines()
    lines = [line.split(" ", 2)[2] for line in log.read_text().splitlines()]
    assert lines[0].startswith("INFO pretrain --genome ")
    assert lines[1:] == [f"INFO {said}", "INFO exit status 0"]


def test_excluded_bases_are_in_no_window(arguments, tmp_path):
    data_arguments = arguments[1]
    (tmp_path / "excluded.bed").write_text("one\t600\t700\ntwo\t100\t110\n")
    (tmp_path / "validation.bed").write_text("one\t1500\t1700\n")
    data_arguments = replace(
        data_arguments,
        exclude=[str(tmp_path / "excluded.bed")],
        exclude_margin=50,
        validation=str(tmp_path / "validation.bed"),
        reverse_complement=False,
        max_unknown=0,
    )
    genome = read_genome(data_arguments)
    regions = training_and_validation_regions(genome, data_arguments, 0)
    assert regions.train.tolist() == [[0, 550], [750, 1500], [1700, 2000], [2000, 2050], [2160, 3100]]
    positions = replace(genome, codes=np.arange(100, 100 + len(genome.codes)))  # instead of bases
    for window in window_source(positions, regions, data_arguments, 0)(np.arange(200), CONTEXT) - 100:
        assert window[-1] - window[0] == CONTEXT - 1
        assert any(start <= window[0] and window[-1] < end for start, end in regions.train.tolist())


def test_chromosomes_and_splits(genome, tmp_path):
    data = DataArguments(genome=str(genome), validation_chromosomes=["two"])
    regions = training_and_validation_regions(read_genome(data), data, 0)
    assert [part.tolist() for part in (regions.train, regions.held_out)] == [[[0, 2000]], [[2000, 3100]]]
    with pytest.raises(ValueError, match="held out at once: two"):
        read_genome(replace(data, chromosomes=["one", "chrtwo"]))
    for names in ({"validation_chromosomes": ["tow"]}, {"chromosomes": ["one,tow"]}):
        with pytest.raises(InputError, match=f"{next(iter(names))}: there is no contig '.*tow'; there are one, two"):
            read_genome(replace(data, **names))

    bed = tmp_path / "sequences.bed"
    bed.write_text("one\t0\t100\ttrain\none\t150\t250\ttrain\none\t200\t400\tvalid\none\t90\t95\ttest\n")
    data = DataArguments(genome=str(genome), splits=str(bed))
    read = read_genome(data)
    regions = training_and_validation_regions(read, data, 0)
    assert [part.tolist() for part in (regions.train, regions.held_out)] == [
        [[0, 90], [95, 100], [150, 200]],
        [[200, 400]],
    ]
    with pytest.raises(ValueError, match="give one of --intervals and --splits, not both"):
        training_and_validation_regions(read, replace(data, intervals=str(bed)), 0)

    original = replace(data, windows="original")
    # The first reaches into test, the second does not reach validation.
    windows = window_source(read, regions, original, 0)(np.arange(3), 40)
    assert {bytes(window) for window in windows} == {bytes(read.codes[start : start + 40]) for start in (0, 150)}
    with pytest.raises(ValueError, match=r"sequences\.bed: every window of 95 bases reaches into"):
        window_source(read, regions, original, 0)(np.arange(3), 95)
    with pytest.raises(ValueError, match="--windows original: which intervals"):
        window_source(read, regions, replace(original, splits=None), 0)


def test_the_original_windows_are_trained_on(arguments, tmp_path):
    (tmp_path / "sequences.bed").write_text("one\t0\t100\ttrain\none\t150\t250\ttrain\none\t300\t400\tvalid\n")
    model_arguments, data_arguments, training = arguments
    data_arguments = replace(data_arguments, splits=str(tmp_path / "sequences.bed"), windows="original")
    train(model_arguments, data_arguments, replace(training, max_steps=2, gradient_checkpointing=True))
    assert (Path(training.output) / "validation.bed").read_text() == "one\t300\t400\n"


def test_activation_checkpointing_changes_no_loss(arguments, tmp_path):
    model_arguments, data_arguments, training = arguments
    for name, checkpointing in (("kept", False), ("again", True)):
        run = replace(training, max_steps=2, gradient_checkpointing=checkpointing, output=str(tmp_path / name))
        train(model_arguments, data_arguments, run)
    kept, again = (read_log(str(tmp_path / name)) for name in ("kept", "again"))
    assert [entry["loss"] for entry in kept] == pytest.approx([entry["loss"] for entry in again], abs=1e-6)


def test_another_trainings_dataloader_does_not_end_the_accumulation(arguments, tmp_path):
    class Finished:
        end_of_dataloader = True

    model_arguments, data_arguments, training = arguments
    expected = replace(training, output=str(tmp_path / "expected"))
    train(model_arguments, data_arguments, expected)
    left, state = Finished(), GradientState()
    state._add_dataloader(left)  # as a training that an error ended leaves it
    try:
        train(*arguments)
    finally:
        state._remove_dataloader(left)
    assert read_log(training.output) == read_log(expected.output)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++, with which torch.compile builds")
def test_compiled_blocks_have_the_same_losses(arguments, tmp_path):
    model_arguments, data_arguments, training = arguments
    model_arguments = replace(model_arguments, embed_dropout=0.0)  # a compiled block draws dropout in another order
    for name, compiled in (("eager", False), ("compiled", True)):
        run = replace(training, warmup_lengths=[], max_steps=2, torch_compile=compiled, output=str(tmp_path / name))
        train(model_arguments, data_arguments, run)
    eager, compiled = (read_log(str(tmp_path / name)) for name in ("eager", "compiled"))
    assert [entry["loss"] for entry in compiled] == pytest.approx([entry["loss"] for entry in eager], abs=1e-5)
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "compiled").num_parameters() > 0


def test_bfloat16_is_of_the_operations_alone(arguments, tmp_path):
    model_arguments, data_arguments, training = arguments
    train(model_arguments, data_arguments, replace(training, output=str(tmp_path / "float32")))
    run = replace(training, bf16=True, output=str(tmp_path / "bfloat16"))
    words = ("-m", "trainer_scripts.pretrain", *flags(model_arguments, data_arguments, run))
    launched = launch(*words)  # a process of its own: Accelerate's precision is one for each
    assert launched.returncode == 0, launched.stderr
    exact, rounded = ([entry["loss"] for entry in read_log(str(tmp_path / name))] for name in ("float32", "bfloat16"))
    assert rounded != exact
    assert rounded == pytest.approx(exact, rel=0.01)
    weights = load_file(tmp_path / "bfloat16" / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}


def test_trackers(arguments):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    model_arguments, data_arguments, training = arguments
    train(model_arguments, data_arguments, replace(training, max_steps=2, report_to=["tensorboard"]))
    events = EventAccumulator(str(Path(training.output) / "pretrain")).Reload()
    log = read_log(training.output)
    for name in ("loss", "learning_rate"):
        logged = events.Scalars(name)
        assert [event.step for event in logged] == [1, 2]
        assert [event.value for event in logged] == pytest.approx([entry[name] for entry in log])


def test_a_tracker_that_is_not_installed(arguments, monkeypatch):
    monkeypatch.setattr(pretrain.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"tracking by trackio .* pip install 'hyenadna-dart\[trackio\]'"):
        train(*arguments[:2], replace(arguments[2], report_to=["trackio"]))


def test_learning_rate():
    optimizer = SimpleNamespace(optimizer=torch.optim.SGD([torch.zeros(1)], lr=1.0))
    arguments = TrainingArguments(output="", max_steps=10, warmup_steps=4, min_lr_rate=0.2)
    factor = schedule(optimizer, arguments, 10).lr_lambdas[0]
    np.testing.assert_allclose([factor(step) for step in range(5)], [0, 0.25, 0.5, 0.75, 1])
    assert factor(7) == pytest.approx(0.6)
    assert factor(10) == pytest.approx(0.2)


@pytest.mark.parametrize(("constant", "windows"), [("sequences", [3, 3, 3, 3, 3, 3]), ("tokens", [12, 12, 6, 6, 3, 3])])
def test_stages(constant, windows):
    training = TrainingArguments(
        output="",
        max_steps=6,
        per_device_train_batch_size=3,
        warmup_lengths=[16, 32],
        warmup_length_steps=[2],
        warmup_constant=constant,
    )
    plan = pretrain.stages(64, training)
    places = [pretrain.place(step, plan) for step in range(7)]
    assert [stage.length for stage, _, _ in places[:6]] == [16, 16, 32, 32, 64, 64]
    assert [stage.windows for stage, _, _ in places[:6]] == windows
    assert [before for _, before, _ in places] == [sum(windows[:step]) for step in range(7)]
    assert places[6][2] == sum(n * length for n, length in zip(windows, [16, 16, 32, 32, 64, 64], strict=True))
    with pytest.raises(ValueError, match="--warmup_lengths: 65 is not between 2 and the context of 64"):
        pretrain.stages(64, replace(training, warmup_lengths=[65]))


def test_parameter_groups(arguments):
    tokenizer = modeling_hyenadna.HyenaDNATokenizer()
    model = pretrain.new_model(arguments[0], tokenizer)
    rest, filters = parameter_groups(model, replace(arguments[2], filter_learning_rate=1e-4))
    # 5 -> 64 -> 64 -> 64 -> 16 with biases but for the last, and one vector of frequencies.
    assert sum(p.numel() for p in filters["params"]) == 5 * 64 + 64 + 2 * (64 * 64 + 64) + 64 * 16 + 64
    assert sum(p.numel() for p in rest["params"] + filters["params"]) == model.num_parameters()
    assert (filters["weight_decay"], filters["lr"]) == (0, 1e-4)
    assert (rest["weight_decay"], rest["lr"]) == (0.1, 6e-4)


def test_soft_masked_bases_are_read_but_not_predicted():
    token_ids = base_token_ids(modeling_hyenadna.HyenaDNATokenizer())
    windows = base_codes("AcgTTN", "ignore")[None]
    batch = language_model_batch(windows, token_ids, torch.device("cpu"))
    assert batch["input_ids"].tolist() == [[7, 8, 9, 10, 10, 11]]
    assert batch["labels"].tolist() == [[7, -100, -100, 10, 10, -100]]
    assert predicted_bases(windows) == 2


def test_unknown_bases_are_read_but_not_predicted():
    token_ids = base_token_ids(modeling_hyenadna.HyenaDNATokenizer())
    batch = language_model_batch(encode_bases("ACNGT")[None], token_ids, torch.device("cpu"))
    assert batch["input_ids"].tolist() == [[7, 8, 11, 9, 10]]
    assert batch["labels"].tolist() == [[7, 8, -100, 9, 10]]


def test_window_losses_are_those_of_the_model(arguments):
    tokenizer = modeling_hyenadna.HyenaDNATokenizer()
    model = pretrain.new_model(arguments[0], tokenizer).eval()
    windows = np.stack([encode_bases("ACGTNACG"), encode_bases("TTTTACGA"), encode_bases("CCCCACGA")])
    token_ids = base_token_ids(tokenizer)
    losses = pretrain.window_losses(model, windows, token_ids, model.device, batch_size=2)
    assert losses.shape == (3, 7)
    assert np.argwhere(np.isnan(losses)).tolist() == [[0, 3]]
    batch = language_model_batch(windows, token_ids, model.device)
    assert np.nanmean(losses) == pytest.approx(model(**batch).loss.item(), rel=1e-5)
    assert np.nanmean(losses) == pytest.approx(math.log(16), abs=0.2)  # small initial weights: nearly uniform


def test_stages_of_several_lengths_and_of_epochs(genome, tmp_path):
    training = TrainingArguments(output="", max_steps=9, per_device_train_batch_size=2, gradient_accumulation_steps=2)
    of_steps = replace(training, warmup_lengths=[8, 16], warmup_length_steps=[3, 1])
    assert [(stage.steps, stage.length) for stage in pretrain.stages(32, of_steps)] == [(3, 8), (1, 16), (None, 32)]
    (tmp_path / "i.bed").write_text("".join(f"one\t{start}\t{start + 50}\n" for start in range(0, 550, 50)))
    data = DataArguments(
        genome=str(genome), windows="original", intervals=str(tmp_path / "i.bed"), validation_block=500
    )
    data = replace(data, validation_chromosomes=["two"])
    codes = read_genome(data)
    source = window_source(codes, training_and_validation_regions(codes, data, 0), data, 0)
    of_epochs = replace(training, warmup_lengths=[8, 16], warmup_length_epochs=[1, 2])
    # 11 windows an epoch, 2 x 2 a step of one process and 8 of two: 11 / 4, 22 / 4; 11 / 8, 22 / 8, rounded up
    assert [stage.steps for stage in pretrain.stages(32, of_epochs, source)] == [3, 6, None]
    assert [stage.steps for stage in pretrain.stages(32, of_epochs, source, processes=2)] == [2, 3, None]
    for changes, message in (
        ({"warmup_length_steps": [1, 2, 3]}, r"warmup_length_steps: \[1, 2, 3\] must be one number .* of 2 lengths"),
        ({"warmup_length_steps": [5], "warmup_length_epochs": [1]}, "give either --warmup_length_steps or"),
        ({"warmup_length_epochs": [1]}, "random windows have no epochs"),
    ):
        with pytest.raises(ValueError, match=message):
            pretrain.stages(32, replace(training, warmup_lengths=[8, 16], **changes))


def test_a_run_of_before_is_gone_on_with(arguments):
    """Its run.json has one number of steps, and knows nothing of epochs of a stage or of Transformers."""
    described = pretrain.described_run(*arguments)
    assert described["warmup_length_steps"] == 2
    assert not any(described[name] for name in ("warmup_length_epochs", "transformer", "n_head"))


def test_a_killed_warm_up_by_epochs_in_one_command(genome, tmp_path, monkeypatch):
    """Killed in its second stage: the optimiser's state, and what comes of it, are those of the unbroken run."""
    (tmp_path / "i.bed").write_text("".join(f"one\t{start}\t{start + 50}\n" for start in range(0, 600, 50)))
    words = ["--genome", str(genome), "--windows", "original", "--intervals", str(tmp_path / "i.bed")]
    words += ["--validation_chromosomes", "two", "--validation_windows", "4", "--d_model", "16", "--n_layer", "1"]
    words += ["--context", "32", "--max_steps", "8", "--save_steps", "2", "--logging_steps", "4", "--eval_steps", "8"]
    words += ["--per_device_train_batch_size", "6", "--warmup_lengths", "8", "16", "--warmup_length_epochs", "1", "2"]
    monkeypatch.setattr(sys, "argv", ["pretrain", *words, "--output", str(tmp_path / "whole")])
    pretrain.main()
    # An epoch is 2 steps of 6 windows: 2 of 8 bases, 4 of 16, and 2 of 32.
    tokens = [entry["tokens"] for entry in read_log(str(tmp_path / "whole"))]
    assert tokens == [6 * (2 * 8 + 2 * 16), 6 * (2 * 8 + 4 * 16 + 2 * 32)]
    killed = launch("-c", KILLED, "before the new name", *words, "--output", str(tmp_path / "killed"))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert states(str(tmp_path / "killed"))[-1] == "step-00000002"
    monkeypatch.setattr(sys, "argv", ["pretrain", *words, "--output", str(tmp_path / "killed")])
    pretrain.main()
    assert read_log(str(tmp_path / "killed")) == read_log(str(tmp_path / "whole"))
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "killed"))
    assert one == two


def test_a_transformer_is_pretrained_and_fine_tuned_beside_hyenadna(genome, tmp_path, monkeypatch):
    words = ["--genome", str(genome), "--validation_block", "500", "--validation_windows", "4", "--context", "62"]
    words += ["--d_model", "16", "--n_layer", "2", "--transformer", "true", "--n_head", "4", "--max_steps", "4"]
    words += ["--output", str(tmp_path / "gpt"), "--learning_rate", "1e-2"]
    monkeypatch.setattr(sys, "argv", ["pretrain", *words])
    pretrain.main()
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "gpt")
    assert (model.config.model_type, model.config._attn_implementation) == ("gpt2", "sdpa")
    assert type(AutoTokenizer.from_pretrained(tmp_path / "gpt")).__name__ == "HyenaDNATokenizer"
    # Positions and tokens; of each block attention 4 d^2 + 4 d, MLP 8 d^2 + 5 d, two norms 4 d; a norm.
    assert model.num_parameters() == 16 * (64 + 12) + 2 * (12 * 16**2 + 13 * 16) + 2 * 16
    scored = load_scorer(str(tmp_path / "gpt"))
    assert scored.bases_per_token == 1
    assert np.isfinite(scored.log_likelihood(["ACGTACGT", "ACG"])).all()

    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    rng = np.random.default_rng(0)
    (tmp_path / "gue" / "toy").mkdir(parents=True)
    for split, rows in (("train", 96), ("dev", 32), ("test", 40)):
        lines = ["sequence,label"]
        for row in range(rows):
            weights = np.array([[6, 1, 1, 6], [1, 6, 6, 1]][row % 2]) / 14
            lines.append("".join(rng.choice(list("ACGT"), int(rng.integers(20, 40)), p=weights)) + f",{row % 2}")
        (tmp_path / "gue" / "toy" / f"{split}.csv").write_text("\n".join(lines) + "\n")
    words = ["--task", "gue/toy", "--data", str(tmp_path / "gue"), "--model", str(tmp_path / "gpt"), "--head", "pooled"]
    words += ["--max_length", "60", "--num_train_epochs", "6", "--batch_size", "16", "--learning_rate", "1e-2"]
    record = finetune.train([*words, "--output", str(tmp_path / "tuned")])
    assert record["metrics"]["accuracy"]["value"] > 0.8
    assert record["reading"]["head"] == "pooled"
    assert record["model"]["parameters"] == model.num_parameters() + 2 * 16 + 2
    with pytest.raises(ValueError, match="pooling 'sum': of any model, mean, max, last"):
        finetune.train([*words, "--pooling", "sum", "--output", str(tmp_path / "sum")])


def test_transformers_that_cannot_be(arguments):
    tokenizer = pretrain.HyenaDNATokenizer(model_max_length=34)
    for changes, message in (
        ({"n_head": 2}, "a HyenaDNA has no attention heads"),
        ({"transformer": True, "n_head": 3}, "a width of 16 cannot be shared among 3 heads"),
    ):
        with pytest.raises(ValueError, match=message):
            pretrain.new_model(replace(arguments[0], **changes), tokenizer)


@pytest.mark.parametrize("masked", [True, False])
def test_a_transformers_prediction_does_not_depend_on_the_batch(tmp_path, masked):
    """Left pads are masked, and their positions not counted, in the pooled head; unmasked, as the original reads."""
    tokenizer = pretrain.HyenaDNATokenizer(model_max_length=34)
    settings = pretrain.transformer_config(ModelArguments(d_model=16, context=32, transformer=True), tokenizer)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(settings).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        own = load_pooled_classifier(str(tmp_path), 2, changes={"pooling": "mean"}, random_weights=True)
        drawn.append(own.model.backbone.wte.weight)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    loaded = load_pooled_classifier(str(tmp_path), 2, changes={"pooling": "mean"})
    network = SequenceClassifier(loaded, 20, masked=masked).eval()
    with torch.no_grad():
        together, alone = network(["ACGTAC", "A" * 20])[:1], network(["ACGTAC"])
    torch.testing.assert_close(together, alone)
