// Which launches make a convolution. Launcher runs them: on a GPU (cuda.cu), or block by block on the host
// (gpu_emulation.cpp), and returns 0 or an error code.
#pragma once

#include <algorithm>

#include "gpu_kernel.h"

namespace hyena {
namespace gpu {

enum Kernel { kColumnsIn, kRows, kColumnsOut, kWhole };

template <class Launcher>
struct Schedule {
  const Problem& p;
  Launcher launcher;
  int error = 0;

  void run(Kernel kernel, int task, int region, int64_t batch, int64_t first, int64_t tiles) {
    if (error) return;
    const Launch launch = {task, region, batch, first, tiles};
    const bool columns = kernel == kColumnsIn || kernel == kColumnsOut;
    const int64_t lanes = columns ? p.lanes * p.column_lanes : p.lanes, length = columns ? p.plan.columns : p.plan.rows;
    int64_t blocks = tiles;
    if (kernel == kRows) blocks *= p.plan.columns;
    if (columns) blocks *= p.plan.rows / p.column_lanes;
    if (kernel == kWhole && task == kConvolve) blocks *= p.batch;
    if (kernel == kWhole && task == kBackward) blocks *= p.slices;
    error = launcher(kernel, p, launch, blocks, columns ? p.column_threads : p.row_threads, shared_bytes(length, lanes));
  }

  template <class Work>  // work(first, tiles): as many channels at a time as the scratch memory holds
  void in_groups(Work work) {
    const int64_t all = (p.channels + p.lanes - 1) / p.lanes, most = p.tiles / p.slices;
    for (int64_t first = 0; first < all; first += most) work(first, std::min(most, all - first));
  }

  void transform_kernel(int64_t first, int64_t tiles) {
    run(kColumnsIn, kKernel, kKernelRegion, 0, first, tiles);
    run(kRows, kTransformKernel, kKernelRegion, 0, first, tiles);
  }

  // Into p.spectrum, which then is the scratch memory too where there are columns.
  void prepare() {
    in_groups([&](int64_t first, int64_t tiles) {
      if (p.plan.columns == 1) return run(kWhole, kTransformKernel, 0, 0, first, tiles);
      transform_kernel(first, tiles);
    });
  }

  void forward() {
    in_groups([&](int64_t first, int64_t tiles) {
      if (p.plan.columns == 1) {
        if (!p.spectrum) run(kWhole, kTransformKernel, 0, 0, first, tiles);
        return run(kWhole, kConvolve, 0, 0, first, tiles);
      }
      if (!p.spectrum) transform_kernel(first, tiles);
      for (int64_t batch = 0; batch < p.batch; batch++) {
        run(kColumnsIn, kInput, kInputRegion, batch, first, tiles);
        run(kRows, kConvolve, kInputRegion, batch, first, tiles);
        run(kColumnsOut, kOutput, kInputRegion, batch, first, tiles);
      }
    });
  }

  void backward() {
    in_groups([&](int64_t first, int64_t tiles) {
      if (p.plan.columns == 1) {
        for (int task : {kTransformKernel, kBackward, kInverse}) run(kWhole, task, 0, 0, first, tiles);
        return;
      }
      transform_kernel(first, tiles);
      for (int64_t batch = 0; batch < p.batch; batch++) {
        run(kColumnsIn, kInput, kInputRegion, batch, first, tiles);
        run(kColumnsIn, kOutputGradient, kGradientRegion, batch, first, tiles);
        run(kRows, kBackward, 0, batch, first, tiles);
        run(kColumnsOut, kInputGradient, kGradientRegion, batch, first, tiles);
        if (p.taps || p.gate_out.data) run(kColumnsOut, kGateGradient, kInputRegion, batch, first, tiles);
      }
      run(kRows, kInverse, kSumRegion, 0, first, tiles);
      run(kColumnsOut, kKernelGradient, kSumRegion, 0, first, tiles);
    });
  }
};

}  // namespace gpu
}  // namespace hyena
