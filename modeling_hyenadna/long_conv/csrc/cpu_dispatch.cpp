// C interface of the CPU kernels: chooses the build for this processor and keeps the plans.
#include <list>
#include <memory>
#include <mutex>
#include <new>
#include <utility>

#include "cpu_problem.h"

namespace {

using Kernel = void(const hyena::Plan&, const hyena::Problem&);
using ElementWise = void(const float*, const float*, float*, int64_t, int);

struct Build {
  const char* name;
  int lanes;
  hyena::Shape shape;
  Kernel *prepare, *forward, *lockstep, *backward;
  ElementWise* gelu;
};

}  // namespace

#define HYENA_DECLARE(arch)                \
  extern "C" Kernel hyena_prepare_##arch;  \
  extern "C" Kernel hyena_forward_##arch;  \
  extern "C" Kernel hyena_lockstep_##arch; \
  extern "C" Kernel hyena_backward_##arch; \
  extern "C" ElementWise hyena_gelu_##arch;
#define HYENA_BUILD(arch, lanes, radix, one_level)                                                       \
  {#arch, lanes, {radix, one_level}, hyena_prepare_##arch, hyena_forward_##arch, hyena_lockstep_##arch, \
   hyena_backward_##arch, hyena_gelu_##arch}

HYENA_DECLARE(portable)
#if defined(__x86_64__)
HYENA_DECLARE(avx2)
HYENA_DECLARE(avx512)
#endif

namespace {

#if defined(__x86_64__)
const Build kPortable = HYENA_BUILD(portable, 4, 4, 1024);
const Build kAvx2 = HYENA_BUILD(avx2, 8, 4, 256);
const Build kAvx512 = HYENA_BUILD(avx512, 16, 8, 4096);
#else
const Build kPortable = HYENA_BUILD(portable, 4, 8, 1024);  // NEON, with 32 registers
#endif

const Build& build(int level) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (level >= 2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) return kAvx512;
  if (level >= 1 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return kAvx2;
#endif
  return kPortable;
}

std::shared_ptr<const hyena::Plan> plan_of(int64_t n, const hyena::Shape& shape) {
  static std::mutex mutex;
  static std::list<std::shared_ptr<const hyena::Plan>> plans;  // most recent first
  std::lock_guard<std::mutex> lock(mutex);
  for (auto plan = plans.begin(); plan != plans.end(); ++plan)
    if ((*plan)->n == n && (*plan)->shape == shape) {
      plans.splice(plans.begin(), plans, plan);
      return plans.front();
    }
  plans.push_front(std::make_shared<const hyena::Plan>(n, shape));
  if (plans.size() > 8) plans.pop_back();
  return plans.front();
}

int run(const Build& build, Kernel* kernel, const hyena::Problem* problem) {
  try {
    kernel(*plan_of(problem->transform_length, build.shape), *problem);
    return 0;
  } catch (const std::bad_alloc&) {
    return 1;
  }
}

}  // namespace

extern "C" {
// level: the best build to consider, 0 portable, 1 AVX2, 2 AVX-512.
const char* hyena_build_name(int level) { return build(level).name; }
int hyena_lanes(int level) { return build(level).lanes; }
int hyena_prepare(int level, const hyena::Problem* p) { return run(build(level), build(level).prepare, p); }
int hyena_forward(int level, const hyena::Problem* p) { return run(build(level), build(level).forward, p); }
int hyena_lockstep(int level, const hyena::Problem* p) { return run(build(level), build(level).lockstep, p); }
int hyena_backward(int level, const hyena::Problem* p) { return run(build(level), build(level).backward, p); }
// to = GELU of x, or where dy is given its gradient; `to` may be either.
void hyena_gelu(int level, const float* dy, const float* x, float* to, int64_t elements, int threads) {
  build(level).gelu(dy, x, to, elements, threads);
}
}
