"""The long convolution on any device torch has, by real FFTs of a good length, a few channels at a time."""

import torch

from .fft_plan import good_fft_length
from .plain_backend import long_conv_plain
from .plain_backend import transform_kernel as transform_kernel

# Bytes of temporaries: enough rows to keep an FFT busy, few enough to stay far below the tensors themselves.
CHUNK_BYTES = {"cpu": 32 << 20, "cuda": 512 << 20}
FEWEST_ROWS = 16


def channel_chunks(batch: int, channels: int, fft_length: int, device: torch.device) -> list[slice]:
    """Slices of the channels, each of as many as keep the temporaries small on `device`."""
    rows = max(FEWEST_ROWS, CHUNK_BYTES.get(device.type, 128 << 20) // (8 * fft_length))
    size = max(1, rows // batch)
    return [slice(start, start + size) for start in range(0, channels, size)]


def forward(
    v: torch.Tensor,
    k: torch.Tensor,
    skip: torch.Tensor,
    gate_in: torch.Tensor | None,
    gate_out: torch.Tensor | None,
    spectrum: torch.Tensor | None = None,
) -> torch.Tensor:
    """[`long_conv_plain`] in chunks of channels: its temporaries are those of one chunk."""
    length = v.shape[-1]
    fft_length = good_fft_length(2 * length - 1) if spectrum is None else 2 * (spectrum.shape[-1] - 1)
    y = torch.empty_like(v)
    for chunk in channel_chunks(v.shape[0], v.shape[1], fft_length, v.device):
        y[:, chunk] = long_conv_plain(
            v[:, chunk],
            k[chunk],
            skip[chunk],
            None if gate_in is None else gate_in[:, chunk],
            None if gate_out is None else gate_out[:, chunk],
            None if spectrum is None else spectrum[chunk],
        )
    return y


def backward(
    dy: torch.Tensor,
    v: torch.Tensor,
    k: torch.Tensor,
    skip: torch.Tensor,
    gate_in: torch.Tensor | None,
    gate_out: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """Gradients (v, k, skip, gate_in, gate_out) in chunks of channels, everything recomputed from the inputs."""
    length = v.shape[-1]
    fft_length = good_fft_length(2 * length - 1)
    dv, dk, dskip = torch.empty_like(v), torch.zeros_like(k), torch.empty_like(skip)
    dgate_in = None if gate_in is None else torch.empty_like(gate_in)
    dgate_out = None if gate_out is None else torch.empty_like(gate_out)

    def transformed(x: torch.Tensor) -> torch.Tensor:
        return torch.fft.rfft(x, n=fft_length)  # type: ignore[no-any-return]

    def causal(x: torch.Tensor) -> torch.Tensor:
        return torch.fft.irfft(x, n=fft_length)[..., :length]  # type: ignore[no-any-return]

    for chunk in channel_chunks(v.shape[0], v.shape[1], fft_length, v.device):
        part = v[:, chunk].float()
        u = part if gate_in is None else part * gate_in[:, chunk].float()
        g = dy[:, chunk].float()
        weight = skip[chunk].float()[:, None]
        kernel, u_hat = transformed(k[chunk, :length].float()), transformed(u)
        if gate_out is not None and dgate_out is not None:
            dgate_out[:, chunk] = (g * torch.addcmul(causal(u_hat * kernel), u, weight)).to(dgate_out.dtype)
            g = g * gate_out[:, chunk].float()
        g_hat = transformed(g)
        du = torch.addcmul(causal(g_hat * kernel.conj()), g, weight)
        dk[chunk, :length] = causal((g_hat * u_hat.conj()).sum(dim=0)).to(dk.dtype)
        dskip[chunk] = (g * u).sum(dim=(0, 2)).to(dskip.dtype)
        if gate_in is not None and dgate_in is not None:
            dgate_in[:, chunk] = (du * part).to(dgate_in.dtype)
            du = du * gate_in[:, chunk].float()
        dv[:, chunk] = du.to(dv.dtype)
    return dv, dk, dskip, dgate_in, dgate_out
