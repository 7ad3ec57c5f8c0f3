"""From a model's outputs to numbers for a sequence or an allele: likelihoods, embeddings, clusters."""
