"""Which length to transform."""

# Few odd factors and many twos: measured faster than the smallest 5-smooth length (spec long_conv, section 4).
ODD_FACTORS = (1, 3, 5, 9, 15)


def good_fft_length(minimum: int) -> int:
    """The smallest ``c * 2**a >= minimum`` with c in ``ODD_FACTORS`` and a >= 1 (so that a real FFT is even).

    The stock choice 2 * L is hostile for HyenaDNA's own lengths: 2 * 160,002 = 2**2 * 3**3 * 2963.
    """
    if minimum < 1:
        raise ValueError(f"an FFT needs a length of at least 1, got {minimum}")
    candidates = []
    for odd in ODD_FACTORS:
        twos = max(1, (-(-minimum // odd) - 1).bit_length())
        candidates.append(odd << twos)
    return min(candidates)
