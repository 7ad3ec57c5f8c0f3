// The CUDA kernels run on the host, block by block: for tests where there is no GPU.
#include "gpu_schedule.h"

namespace {

using namespace hyena::gpu;

struct HostLauncher {
  int operator()(Kernel kernel, const Problem& p, const Launch& launch, int64_t blocks, int threads,
                 int64_t shared) const {
    if (shared > p.shared_limit) return 1;
    for (int64_t index = blocks; index-- > 0;) {
      const Block block(index, threads, shared);
      if (kernel == kColumnsIn) columns_in(block, p, launch);
      if (kernel == kRows) rows(block, p, launch);
      if (kernel == kColumnsOut) columns_out(block, p, launch);
      if (kernel == kWhole) whole(block, p, launch);
    }
    return 0;
  }
};

template <class Method>
int run(const Problem* p, Method method) {
  Schedule<HostLauncher> schedule{*p, {}};
  (schedule.*method)();
  return schedule.error;
}

}  // namespace

extern "C" {
int hyena_gpu_prepare(const Problem* p) { return run(p, &Schedule<HostLauncher>::prepare); }
int hyena_gpu_forward(const Problem* p) { return run(p, &Schedule<HostLauncher>::forward); }
int hyena_gpu_backward(const Problem* p) { return run(p, &Schedule<HostLauncher>::backward); }
const char* hyena_gpu_error(int) { return "too much shared memory"; }
}
