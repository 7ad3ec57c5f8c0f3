"""The published tables of the two papers as data, and what is measured of them here."""
