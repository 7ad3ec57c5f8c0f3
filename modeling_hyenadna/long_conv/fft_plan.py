"""Which length to transform, and what to do with the tail."""

import math

# Few odd factors and many twos: measured faster than the smallest 5-smooth length.
ODD_FACTORS = (1, 3, 5, 9, 15)
LONGEST_TAIL = 64


def good_fft_length(minimum: int) -> int:
    """The smallest ``c * 2**a >= minimum`` with c in `ODD_FACTORS` and a >= 1 (so that a real FFT is even).

    The stock choice 2 * L is hostile for HyenaDNA's own lengths: 2 * 160,002 = 2**2 * 3**3 * 2963.
    """
    if minimum < 1:
        raise ValueError(f"an FFT needs a length of at least 1, got {minimum}")
    return min(odd << max(1, (-(-minimum // odd) - 1).bit_length()) for odd in ODD_FACTORS)


def right_angle_length(length: int) -> int:
    """Points N of the right-angle transform for `length` outputs; those from N on are computed by their definition.

    A convolution is causal, so its first N outputs need only the first N inputs, and L + 2 = 32,770 costs hardly
    more than 32,768. N is the ``c * 2**a >= length - 64`` of the least estimated work.
    """
    if length < 1:
        raise ValueError(f"a convolution needs a length of at least 1, got {length}")
    shortest = max(1, length - LONGEST_TAIL)
    candidates = {odd << (-(-least // odd) - 1).bit_length() for odd in ODD_FACTORS for least in (shortest, length)}

    def work(points: int) -> float:
        tail = max(0, length - points)
        return points * (math.log2(points) + 4) + 0.35 * tail * length

    return min(candidates, key=work)
