"""Rebuild the bundled sample: the central 350 bp of the CpG islands of hg19 chrX (see README.md in this folder).

Fetch the sources and run it:

    apt-get download smalt-examples=0.7.6-12 && dpkg-deb -x smalt-examples_*.deb smalt
    gunzip -c smalt/usr/share/doc/smalt/test/data/hs37chrXtrunc.fa.gz > chrX.fa
    pip download --no-deps pyranges==0.1.7 && unzip pyranges-*.whl pyranges/example_data/cpg.bed
    python -m datasets_dart.samples.make_sample chrX.fa pyranges/example_data/cpg.bed
"""

import argparse
from pathlib import Path

import numpy as np
import pysam

from datasets_dart.samples import ELEMENTS, GENOME, SPLITS

WINDOW = 350
KEPT = 2114  # bp kept around each centre: the longest input of DART-Eval's tasks
LINE = 60


def main() -> None:
    """Write the sample's files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sequence", type=Path, help="FASTA whose only contig is the start of hg19 chrX")
    parser.add_argument("islands", type=Path, help="BED of CpG islands; column 4 is the number of CpGs")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent)
    arguments = parser.parse_args()

    with pysam.FastaFile(str(arguments.sequence)) as fasta:
        chrom = np.frombuffer(fasta.fetch(fasta.references[0]).upper().encode(), dtype=np.uint8)
    kept = np.full(len(chrom), ord("N"), dtype=np.uint8)
    elements = []
    for line in arguments.islands.read_text().splitlines():
        name, start, end, cpgs = line.split("\t")
        if name != "chrX" or int(end) > len(chrom):
            continue
        centre = (int(start) + int(end)) // 2
        window_start, window_end = centre - WINDOW // 2, centre + WINDOW // 2
        if (chrom[window_start:window_end] == ord("N")).any():
            continue
        flank = slice(max(centre - KEPT // 2, 0), centre + KEPT // 2)
        kept[flank] = chrom[flank]
        elements.append(f"chrX\t{window_start}\t{window_end}\tchrX:{start}-{end}\t{cpgs}\n")

    (arguments.output / ELEMENTS).write_text("".join(elements))
    (arguments.output / SPLITS).write_text(f"chrX\t0\t{len(chrom)}\ttest\n")
    plain = arguments.output / "chrX.fa"
    sequence = kept.tobytes().decode()
    lines = (sequence[i : i + LINE] + "\n" for i in range(0, len(sequence), LINE))
    plain.write_text(">chrX\n" + "".join(lines))
    pysam.tabix_compress(str(plain), str(arguments.output / GENOME), force=True)
    plain.unlink()
    pysam.faidx(str(arguments.output / GENOME))


if __name__ == "__main__":
    main()
