// Operators around the C interface: they take the address of a problem, filled by the package's cuda_backend.py, which
// owns all memory and names the stream. Autograd, fake tensors and torch.compile are the business of its own operators.
#include <torch/library.h>

#include <cstdint>
#include <string>

#include "registration.h"
#include "torch_binding.h"

namespace {

template <int (*kFunction)(const hyena::gpu::Problem*)>
int64_t call(int64_t address) {
  return kFunction(reinterpret_cast<const hyena::gpu::Problem*>(address));
}

std::string error_text(int64_t error) { return hyena_gpu_error(static_cast<int>(error)); }

}  // namespace

TORCH_LIBRARY_EXPAND(TORCH_EXTENSION_NAME, ops) {
  ops.def("prepare(int problem) -> int", &call<hyena_gpu_prepare>);
  ops.def("forward(int problem) -> int", &call<hyena_gpu_forward>);
  ops.def("backward(int problem) -> int", &call<hyena_gpu_backward>);
  ops.def("error(int error) -> str", &error_text);
}

REGISTER_EXTENSION(TORCH_EXTENSION_NAME)
