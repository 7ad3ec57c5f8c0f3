"""What is done with a model outside the benchmark: variants, regions, mutagenesis, attribution."""
