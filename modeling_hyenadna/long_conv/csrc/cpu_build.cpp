// One instruction set's build of the kernels: compiled once each with its own HYENA_ARCH, HYENA_LANES and -m flags.
#include "cpu_kernel.h"
#include "gelu.h"

#define HYENA_PASTE(a, b) a##b
#define HYENA_NAME(prefix, arch) HYENA_PASTE(prefix, arch)

extern "C" {
void HYENA_NAME(hyena_prepare_, HYENA_ARCH)(const hyena::Plan& plan, const hyena::Problem& p) {
  hyena::HYENA_ARCH::prepare(plan, p);
}
void HYENA_NAME(hyena_forward_, HYENA_ARCH)(const hyena::Plan& plan, const hyena::Problem& p) {
  using namespace hyena::HYENA_ARCH;
  p.taps ? run_forward<MixerSource>(plan, p) : run_forward<GivenSource>(plan, p);
}
void HYENA_NAME(hyena_lockstep_, HYENA_ARCH)(const hyena::Plan& plan, const hyena::Problem& p) {
  using namespace hyena::HYENA_ARCH;
  p.reference ? run_forward<DifferenceSource>(plan, p) : run_forward<ReferenceSource>(plan, p);
}
void HYENA_NAME(hyena_backward_, HYENA_ARCH)(const hyena::Plan& plan, const hyena::Problem& p) {
  using namespace hyena::HYENA_ARCH;
  p.taps ? run_backward<MixerSource>(plan, p) : run_backward<GivenSource>(plan, p);
  if (p.taps) run_short_backward(p);
}
void HYENA_NAME(hyena_gelu_, HYENA_ARCH)(const float* dy, const float* x, float* to, int64_t elements, int threads) {
  hyena::HYENA_ARCH::run_gelu(dy, x, to, elements, threads);
}
}
