// The kernels and their C interface. No torch in here, so one build serves every version of it.
#include <cuda_runtime.h>

#include "gpu_schedule.h"

namespace hyena {
namespace gpu {

// blocks: of most threads, that a processor's registers are shared by.
#define HYENA_KERNEL(name, blocks)                                                                                     \
  __global__ void __launch_bounds__(kMostThreads, blocks) name##_kernel(const __grid_constant__ Problem p, Launch l) { \
    name(Block(), p, l);                                                                                               \
  }
HYENA_KERNEL(columns_in, 3)
HYENA_KERNEL(rows, 2)
HYENA_KERNEL(columns_out, 3)
HYENA_KERNEL(whole, 2)

struct DeviceLauncher {
  int operator()(Kernel kernel, const Problem& p, const Launch& launch, int64_t blocks, int threads,
                 int64_t shared) const {
    using Function = void(Problem, Launch);
    Function* const functions[] = {columns_in_kernel, rows_kernel, columns_out_kernel, whole_kernel};
    Function* const function = functions[kernel];
    if (shared > p.shared_limit || blocks > INT32_MAX) return cudaErrorInvalidConfiguration;
    const cudaError_t error =
        cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared));
    if (error != cudaSuccess) return error;
    function<<<static_cast<unsigned>(blocks), threads, shared, static_cast<cudaStream_t>(p.stream)>>>(p, launch);
    return cudaGetLastError();
  }
};

// This library has a CUDA runtime of its own, with its own idea of the current device.
template <class Method>
int run(const Problem* p, Method method) {
  int before = 0;
  if (cudaError_t error = cudaGetDevice(&before)) return error;
  if (cudaError_t error = cudaSetDevice(p->device)) return error;
  Schedule<DeviceLauncher> schedule{*p, {}};
  (schedule.*method)();
  const cudaError_t restored = cudaSetDevice(before);
  return schedule.error ? schedule.error : restored;
}

}  // namespace gpu
}  // namespace hyena

using hyena::gpu::DeviceLauncher;
using hyena::gpu::Problem;
using hyena::gpu::Schedule;

extern "C" {
// Each returns 0 or a cudaError_t, which hyena_gpu_error puts into words.
int hyena_gpu_prepare(const Problem* p) { return hyena::gpu::run(p, &Schedule<DeviceLauncher>::prepare); }
int hyena_gpu_forward(const Problem* p) { return hyena::gpu::run(p, &Schedule<DeviceLauncher>::forward); }
int hyena_gpu_backward(const Problem* p) { return hyena::gpu::run(p, &Schedule<DeviceLauncher>::backward); }
const char* hyena_gpu_error(int error) { return cudaGetErrorString(static_cast<cudaError_t>(error)); }
}
