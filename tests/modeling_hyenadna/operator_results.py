"""What the C++ operator gives for a number of small inputs, with the kernels of the shared library LIBRARY:

python tests/modeling_hyenadna/operator_results.py LIBRARY OUTPUT.pt
"""

import ctypes
import os
import sys
from collections.abc import Iterator

import torch

from modeling_hyenadna.long_conv import cpu_backend

SHAPES = [
    (1, 1, 1),
    (2, 3, 2),
    (1, 17, 3),
    (3, 5, 16),
    (2, 33, 17),
    (1, 4, 97),
    (2, 9, 257),
    (1, 16, 1026),
    (1, 2, 5003),
]
MISALIGNED = 1  # floats by which a tensor's first element is off the allocation's start, and so off any alignment


def load(path: str) -> ctypes.CDLL:
    """A build of the kernels, as `cpu_backend.library` gives it."""
    library = ctypes.CDLL(path)
    library.hyena_build_name.restype = ctypes.c_char_p
    library.hyena_gelu.argtypes = cpu_backend.GELU_ARGUMENTS
    return library


def results() -> Iterator[torch.Tensor]:
    """Outputs and gradients of convolution, mixer and GELU, by shapes, memory layouts, absent gates, masks, spectra."""
    for batch, channels, length in SHAPES:
        generator = torch.Generator().manual_seed(length)

        def random(*shape, generator=generator):
            values = torch.randn(torch.Size(shape).numel() + MISALIGNED, generator=generator)
            return values[MISALIGNED:].view(shape)

        k, skip = random(channels, length + 3), random(channels)
        gates = random(batch, channels, length), random(batch, length, channels).mT
        for v in (random(batch, channels, length), random(batch, length, channels).mT):
            spectrum = cpu_backend.transform_kernel(k, length)
            for one, two in ((*gates,), (None, gates[1]), (None, None)):
                yield cpu_backend.forward(v, k, skip, one, two)
                yield cpu_backend.forward(v, k, skip, one, two, spectrum)
                yield from filter(torch.is_tensor, cpu_backend.backward(v + 1, v, k, skip, one, two))
        projected, bias = random(batch, length, 3 * channels), random(3 * channels)
        for taps in (3, cpu_backend.MOST_TAPS):
            weight = random(3 * channels, taps)
            for mask in (None, (random(batch, length) > 0).float()):
                given = projected, weight, bias, k, skip, mask
                y = cpu_backend.mixer_forward(*given)
                yield y
                yield cpu_backend.mixer_forward(*given, spectrum)
                yield from cpu_backend.mixer_backward(y, *given)
                if taps <= (start := length // 2):
                    yield from differences(start, *given)
        yield cpu_backend.gelu(projected)
        yield cpu_backend.gelu_backward(projected, projected)


def differences(start: int, projected: torch.Tensor, *given: torch.Tensor | None) -> Iterator[torch.Tensor]:
    """Of the mixer for rows, and for others that differ from them from `start` on."""
    weight, bias, k, skip, mask = given
    y, *kept = cpu_backend.reference_mixer(projected, *given, start, None)
    others = (projected[:, start:] + 1).repeat(2, 1, 1)
    masks = None if mask is None else mask[:, start:].repeat(2, 1)
    before = projected[:, start - weight.shape[1] + 1 : start]
    reference = torch.arange(len(projected)).repeat(2)
    rest = k[:, : others.shape[1]]
    yield from (y, *kept)
    yield cpu_backend.difference_mixer(others, before, *kept, reference, weight, bias, rest, skip, masks, None)


def main() -> None:
    library = load(sys.argv[1])
    cpu_backend.library = lambda: library
    found = {}
    for level, name in enumerate(cpu_backend.BUILDS):
        if library.hyena_build_name(level).decode() == name:
            os.environ["HYENADNA_CPU"] = name
            found[name] = list(results())
    torch.save(found, sys.argv[2])


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
