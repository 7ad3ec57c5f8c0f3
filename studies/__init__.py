"""This repository's own runs on real data, and the pages and tables made from their records."""
