"""`dart-eval prepare --task all`: the five tasks from a server of public inputs, in their real formats, and by hand."""

import gzip
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyBigWig
import pytest
from datasets import disable_progress_bars, load_dataset
from huggingface_hub import constants
from typer.testing import CliRunner

from datasets_dart import downloads, public
from trainer_scripts.cli.dart_eval import app

FIXTURES = Path(__file__).parents[2] / "fixtures"
GENOME = FIXTURES / "genome" / "genome.fa"
CONTIGS = {line.split("\t")[0]: int(line.split("\t")[1]) for line in GENOME.with_suffix(".fa.fai").open()}
# Columns of DESeq2's table as the original's step reads them: every cell line gains one element of its own
DESEQ = "peak,baseMean,log2FoldChange,lfcSE,stat,pvalue,padj,significant\n"

disable_progress_bars()


def narrowpeak(cell: str) -> str:
    """Two peaks of a cell line on a training and a test contig, 1 kb from those of the others."""
    at = 2000 + 1000 * public.CELLS.index(cell)
    return "".join(f"{contig}\t{at}\t{at + 400}\tp\t100\t.\t5\t20\t{at / 1000}\t200\n" for contig in ("chr1", "chr5"))


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A server of the table's downloads, with the addresses and the checks that the public ones have."""
    genome = gzip.compress(GENOME.read_bytes())
    files = {
        "GRCh38_no_alt_analysis_set_GCA_000001405.15.fasta.gz": genome,
        "male.hg19.fasta.gz": genome,
        "ENCFF420VPZ.bed.gz": gzip.compress(b"chr1\t900\t1100\nchr5\t1000\t1200\nchr5\t3000\t3200\nchr6\t2000\t2300\n"),
        "H12CORE_meme_format.meme": (FIXTURES / "task2" / "motifs.meme").read_bytes(),
    }
    rows = downloads.read_table()
    for row in rows:
        cell = row.role.removeprefix("peaks ")
        if cell in public.CELLS and not row.synapse:
            files[row.file] = gzip.compress(narrowpeak(cell).encode())
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            name = self.path.partition("?")[0].rpartition("/")[2]
            if self.path.endswith("/?format=json"):
                name = next(row.file for row in rows if f"/files/{self.path.split('/')[2]}/" in row.source)
                digest = hashlib.md5(files[name]).hexdigest()
                return self.reply(json.dumps({"md5sum": digest}).encode())
            return self.reply(files[name])

        def do_HEAD(self):
            asked.append(f"HEAD {self.path}")
            self.reply(files[self.path.rpartition("/")[2]], body=False)

        def reply(self, content, body=True):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        table = downloads.TABLE.read_text()
        table = table.replace("https://www.encodeproject.org", address).replace(
            "https://hocomoco12.autosome.org", address
        )
        motifs = hashlib.sha256(files["H12CORE_meme_format.meme"]).hexdigest()
        table = table.replace("3d9c47dc396b3ba4e278cdfd29d526c1eb2fbad4895b5e2dc345f535f98c5f12", motifs)
        (tmp_path / "downloads.tsv").write_text(table)
        monkeypatch.setattr(downloads, "TABLE", tmp_path / "downloads.tsv")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.delenv(downloads.TOKEN, raising=False)
        server.asked, server.files = asked, files
        yield server
        server.shutdown()


@pytest.fixture
def prepare(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")

    def prepare(*words, exit_code=0):
        result = CliRunner().invoke(app, ["prepare", "--task", "all", "--download", str(tmp_path / "inputs"), *words])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == exit_code, result.output
        return result.output

    return prepare


def put_by_hand(folder: Path) -> None:
    """What only Synapse has, under its names."""
    (folder / "H1ESC").mkdir(parents=True)
    (folder / "H1ESC" / "overlap.optimal_peak.bed").write_text(narrowpeak("H1ESC"))
    for name in ("Afr.CaQTLS.tsv", "yoruban.dsqtls.benchmarking.tsv"):
        (folder / name).write_bytes((FIXTURES / "task5" / name).read_bytes())
    own = folder / "chromatin_activity" / "processed_data"
    for kind in ("cell_line_expanded_peaks", "cell_line_idr_peaks", "bigwigs"):
        (own / kind).mkdir(parents=True)
    head = "chr\tinput_start\tinput_end\telem_start\telem_end\telem_relative_start\telem_relative_end\n"
    for cell in public.CELLS:
        for name, start in (("peaks", 5000), ("nonpeaks", 9000)):
            rows = "".join(
                f"{contig}\t{start}\t{start + 2114}\t{start + 557}\t{start + 1557}\t557\t1557\n"
                for contig in ("chr1", "chr5", "chr6")
            )
            (own / "cell_line_expanded_peaks" / f"{cell}_{name}.bed").write_text(head + rows)
        row = "chr5\t5000\t7114\t5557\t6557\t557\t1557\n"
        (own / "cell_line_idr_peaks" / f"{cell}.bed").write_text(head + row)
        track = pyBigWig.open(str(own / "bigwigs" / f"{cell}_unstranded.bw"), "w")
        track.addHeader(list(CONTIGS.items()))
        track.addEntries(["chr5"], [5000], ends=[7000], values=[2.0])
        track.close()


def put_differential(folder: Path) -> None:
    """DESeq2's results of each cell line, in which only its own peak is gained."""
    windows = {cell: f"chr5:{2000 + 1000 * i}-{2500 + 1000 * i}" for i, cell in enumerate(public.CELLS)}
    for cell in public.CELLS:
        lines = [f"{where},10,{2 if own == cell else 0},1,1,1e-9,1e-8,TRUE\n" for own, where in windows.items()]
        path = folder / "syn61788656" / cell / public.DIFFERENTIAL
        path.parent.mkdir(parents=True)
        path.write_text(DESEQ + "".join(lines))


def test_a_dry_run_lists_addresses_sizes_and_what_is_by_hand(server, prepare, tmp_path):
    said = prepare("--dry-run")
    size = len(server.files["ENCFF420VPZ.bed.gz"])
    assert f"download\t{size:,} bytes\thttp://127.0.0.1:{server.server_port}/files/ENCFF420VPZ/@@download/" in said
    assert "by hand\tsize unknown\thttps://www.synapse.org/Synapse:syn60581041\t" in said
    assert "optional\tsize unknown\thttps://www.synapse.org/Synapse:syn61788656\t" in said
    total = sum(map(len, server.files.values()))
    assert said.endswith(f"8 to be downloaded: {total:,} bytes, and 0 of unknown size; 4 by hand; 0 there already\n")
    assert all(path.startswith("HEAD ") for path in server.asked)
    assert not (tmp_path / "inputs").exists()
    rows = json.loads(CliRunner().invoke(app, ["--json", "prepare", "--task", "variant_effects", "--download",
                                               str(tmp_path / "inputs"), "--dry-run"]).output)  # fmt: skip
    assert [row["state"] for row in rows] == ["download", "by hand", "by hand", "download"]
    server.shutdown()
    server.server_close()
    said = prepare("--dry-run")
    assert said.endswith("8 to be downloaded: 0 bytes, and 8 of unknown size; 4 by hand; 0 there already\n")


def test_all_tasks_are_prepared_as_far_as_their_inputs_are_there(server, prepare, tmp_path):
    folder, data = tmp_path / "inputs", tmp_path / "data"
    parquet = ["--to", "parquet", "--output", str(data)]
    said = prepare(*parquet, exit_code=1)
    assert "regulatory_elements: train 1 rows, validation 1 rows, test 2 rows\n" in said
    assert "motif_footprinting: test 152 rows\n" in said
    assert "H1ESC is not there: https://www.synapse.org/Synapse:syn60581166" in said
    assert "variant_effects/dsQTLs: left out: " in said
    assert sorted(path.name for path in data.iterdir() if path.is_dir()) == [
        "motif_footprinting",
        "regulatory_elements",
    ]
    put_by_hand(folder)
    server.asked.clear()
    said = prepare(*parquet)
    assert server.asked == []  # what is there is not fetched again
    assert "cell_type_elements: train 5 rows, test 5 rows\n" in said  # by the peaks alone
    assert "chromatin_activity: train 10 rows, validation 10 rows, test 15 rows\n" in said
    assert "variant_effects/caQTLs: test 50 rows\n" in said
    assert "variant_effects/dsQTLs: test " in said
    rows = load_dataset(str(data), "chromatin_activity", split="test", cache_dir=str(tmp_path / "reader"))
    assert sorted(set(rows["cell_type"])) == list(public.CELLS)
    assert "variant_effects-dsQTLs" in {path.name for path in data.iterdir()}
    put_differential(folder)
    said = prepare()
    assert "cell_type_elements: test 5 rows\n" in said  # by DESeq2's results
    elements = folder / "steps" / "cell_type_elements" / "fixed" / "elements.bed"
    made = elements.stat().st_mtime_ns
    assert elements.read_text().splitlines()[0].split("\t")[:4] == ["chr5", "2000", "2500", "GM12878"]
    assert prepare() == said
    assert elements.stat().st_mtime_ns == made


def test_reads_are_counted_and_fitted(prepare, tmp_path):
    """Task 3 from peaks and reads: the published definition, by files reads/{cell line}_{name}.bed.gz."""
    pytest.importorskip("pydeseq2", reason="needs the extra deseq")
    folder = tmp_path / "inputs"
    put_by_hand(folder)
    for row in downloads.read_table("cell_type_elements"):
        cell = row.role.removeprefix("peaks ")
        if row.role == "genome":
            (folder / row.file).write_bytes(GENOME.read_bytes())
        elif cell in public.CELLS and cell != "H1ESC":
            (folder / row.file).write_text(narrowpeak(cell))
    (folder / "reads").mkdir()
    for cell in public.CELLS:
        for number in (1, 2):
            lines = [
                f"{contig}\t{at}\t{at + 50}\n"
                for own in public.CELLS
                for contig in ("chr1", "chr5")
                for at in [2100 + 1000 * public.CELLS.index(own)] * (200 if own == cell else 8 + number)
            ]
            (folder / "reads" / f"{cell}_{number}.bed").write_text("".join(lines))
    inputs = public.inputs_of("cell_type_elements", folder)
    steps = folder / "steps" / "cell_type_elements" / "fixed"
    assert inputs["elements"] == str(steps / "elements.bed")
    assert len((steps / "windows.tsv").read_text().splitlines()) == 11
    gained = [line.split("\t") for line in (steps / "elements.bed").read_text().splitlines()]
    assert {cell for *_, cell in gained} == set(public.CELLS)
    before = (steps / "counts.csv").stat().st_mtime_ns
    assert public.inputs_of("cell_type_elements", folder) == inputs
    assert (steps / "counts.csv").stat().st_mtime_ns == before


def test_faults_are_named(prepare, tmp_path):
    with pytest.raises(ValueError, match="no dataset of the public inputs; there are regulatory_elements, motif"):
        public.inputs_of("variant_effects", tmp_path)
    result = CliRunner().invoke(app, ["prepare", "--task", "all"])
    assert "--download" in str(result.exception)
    with pytest.raises(ValueError, match="--genome: for a single task"):
        prepare("--genome", "x.fa")
