"""Which run gives a cell of DART-Eval's tables, and on which inputs."""

from pathlib import Path

import pytest

from datasets_dart.downloads import read_table
from datasets_dart.errors import InputError
from evaluation_dart.papers.dart_eval import inputs_from, of_cell, spec_of
from evaluation_dart.papers.plan import plan_of
from evaluation_dart.papers.tables import read_paper

PAPER = read_paper("dart-eval")
ELEMENTS = {"genome": "hg38.fa", "elements": "ccre.bed"}
ACTIVITY = {"genome": "hg38.fa", "cell_type": "GM12878", "peaks": {"GM12878": "p.bed"}, "signal": {"GM12878": "s.bw"}}


def spec(table, setting, row, data=None, **content):
    inputs = {
        "regulatory_elements": ELEMENTS,
        "chromatin_activity/GM12878": ACTIVITY,
        "variant_effects/dsQTLs": {"genome": "hg19.fa", "variants": "dsqtls.tsv"},
    }
    plan = plan_of(PAPER, {"inputs": inputs, **content}, None, "out")
    cells = (c for c in PAPER.cells if (c.table, c.setting, c.row) == (table, setting, row))
    return spec_of(next(c for c in cells if data in (None, c.run["data"])), plan)


def test_runs_are_of_protocol_paper_and_in_folders_of_their_data():
    own = spec("Task 1", "probed", "HyenaDNA")
    assert (own.model, own.protocol, own.output) == (
        "LongSafari/hyenadna-large-1m-seqlen-hf",
        "paper",
        "out/regulatory_elements",
    )
    assert (own.inputs, own.trust_remote_code) == (ELEMENTS, False)
    fixed = spec("Task 1", "probed", "HyenaDNA", arguments={"protocol": "fixed", "seed": 3})
    assert (fixed.protocol, fixed.seed) == ("fixed", 3)


def test_arguments_of_training_are_not_of_what_is_not_trained():
    arguments = {"hyperparameters": {"num_train_epochs": 1}, "budget": "small", "seed": 3}
    assert spec("Task 1", "probed", "HyenaDNA", arguments=arguments).hyperparameters == {"num_train_epochs": 1}
    zero_shot = spec("Task 1", "zero_shot_likelihood", "HyenaDNA", arguments=arguments)
    assert (zero_shot.hyperparameters, zero_shot.seed) == ({}, 0)


def test_variants_are_scored_by_the_training_of_gm12878():
    variants = spec("Task 5", "finetuned", "HyenaDNA", "variant_effects/dsQTLs")
    activity = spec("Task 4", "finetuned", "HyenaDNA", "chromatin_activity/GM12878")
    assert variants.training == activity.training == "out/training/chromatin_activity/GM12878"
    assert variants.output == "out/variant_effects/dsQTLs"


def test_a_cell_line_has_its_own_files_only():
    inputs = {"genome": "g.fa", "peaks": {"K562": "k.bed", "IMR90": "i.bed"}, "signal": {"K562": "k.bw"}}
    own = {"genome": "g.fa", "peaks": {"K562": "k.bed"}, "signal": {"K562": "k.bw"}, "cell_type": "K562"}
    assert of_cell(inputs, "K562") == own
    with pytest.raises(InputError, match="no signal of IMR90, only of K562"):
        of_cell(inputs, "IMR90")


def test_a_folder_of_public_inputs_says_what_lacks(tmp_path):
    rows = {row.role: row for row in read_table("regulatory_elements")}
    with pytest.raises(InputError, match="is not there"):
        inputs_from(tmp_path, "regulatory_elements")
    for role in ("genome", "elements"):
        path = tmp_path / Path(rows[role].file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = inputs_from(tmp_path, "regulatory_elements")
    assert found == {name: str(tmp_path / rows[name].file) for name in ("genome", "elements")}
