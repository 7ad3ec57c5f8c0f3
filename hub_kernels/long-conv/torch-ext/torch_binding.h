#pragma once

// The C interface of csrc/cuda.cu. A problem stands as its address, so that one interface serves ctypes and torch.
namespace hyena {
namespace gpu {
struct Problem;
}
}  // namespace hyena

extern "C" {
int hyena_gpu_prepare(const hyena::gpu::Problem* problem);
int hyena_gpu_forward(const hyena::gpu::Problem* problem);
int hyena_gpu_backward(const hyena::gpu::Problem* problem);
const char* hyena_gpu_error(int error);
}
