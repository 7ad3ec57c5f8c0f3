"""The judge: any language model of the Hub on DART-Eval's tasks, from scores to metrics with intervals to records."""
