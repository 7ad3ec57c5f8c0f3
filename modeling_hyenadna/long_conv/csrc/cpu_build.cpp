// One instruction set's build of the kernels: compiled once each with its own HYENA_ARCH, HYENA_LANES and -m flags.
#include "cpu_kernel.h"

#define HYENA_PASTE(a, b) a##b
#define HYENA_NAME(prefix, arch) HYENA_PASTE(prefix, arch)

extern "C" {
void HYENA_NAME(hyena_prepare_, HYENA_ARCH)(const hyena::Plan& plan, const hyena::Problem& p) {
  hyena::HYENA_ARCH::prepare(plan, p);
}
void HYENA_NAME(hyena_forward_, HYENA_ARCH)(const hyena::Plan& plan, const hyena::Problem& p) {
  hyena::HYENA_ARCH::run_forward(plan, p);
}
void HYENA_NAME(hyena_backward_, HYENA_ARCH)(const hyena::Plan& plan, const hyena::Problem& p) {
  hyena::HYENA_ARCH::run_backward(plan, p);
}
}
