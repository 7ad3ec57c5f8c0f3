"""The vocabulary of the released checkpoints, and letters to token ids by table."""

VOCABULARY = {
    token: index
    for index, token in enumerate(
        ["[CLS]", "[SEP]", "[BOS]", "[MASK]", "[PAD]", "[RESERVED]", "[UNK]", "A", "C", "G", "T", "N"]
    )
}
BASES = "ACGTN"
SEP, UNK = VOCABULARY["[SEP]"], VOCABULARY["[UNK]"]

# The token id of every latin-1 character, for `bytes.translate`, without and with lower-case bases.
LATIN_1 = [chr(code) for code in range(256)]
BYTE_TABLES = {
    False: bytes(VOCABULARY.get(character, UNK) for character in LATIN_1),
    True: bytes(VOCABULARY.get(character.upper(), UNK) for character in LATIN_1),
}

# Letters of sequences as the bases that they stand for: RNA's U is T, and a code of several bases is N.
AS_BASES = str.maketrans("URYSWKMBDHV", "TNNNNNNNNNN")
