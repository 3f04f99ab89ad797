// What surrounds a product: the bias and the ReLU behind it, forward and backward, in one pass over memory each.

#include "common.h"

// y += b, in place, and then max(y, 0) where that is asked for: y (rows, O), b (O,) or null.
extern "C" __global__ void add_bias(element* y, const real* b, offset rows, int O, int with_relu) {
    const int c = TILE_COLUMN;
    if (c >= O) return;
    Reals bias;
    NEIGHBOURS(k) bias.at[k] = b ? b[c + k] : 0;
    TILE_ROWS(r, rows) {
        Reals pack = load(y + r * O + c);
        NEIGHBOURS(k) pack.at[k] += bias.at[k];
        if (with_relu) NEIGHBOURS(k) pack.at[k] = relu(pack.at[k]);
        store(pack, y + r * O + c);
    }
}

// sums[blockIdx.x] (O,) = the sum of the rows of dz that this block took: each thread its own in turn, then the block's
// in halves. A second launch adds the blocks' sums up. No atomics: the same order, the same bits.
//
// dz = 0 where y <= 0, else dy, is written on the way. Where y and dz are null it is dy itself.
extern "C" __global__ void bias_gradient(
    const element* dy, const element* y, element* dz, real* sums, offset rows, int O
) {
    __shared__ Reals shared[BLOCK];
    const int c = TILE_COLUMN;
    Reals sum;
    NEIGHBOURS(k) sum.at[k] = 0;
    if (c < O) TILE_ROWS(r, rows) {
        Reals gradient = load(dy + r * O + c);
        if (y) {
            const Reals result = load(y + r * O + c);
            NEIGHBOURS(k) if (result.at[k] <= 0) gradient.at[k] = 0;
            store(gradient, dz + r * O + c);
        }
        NEIGHBOURS(k) sum.at[k] += gradient.at[k];
    }
    Reals* const mine = shared + threadIdx.y * blockDim.x + threadIdx.x;
    *mine = sum;
    __syncthreads();
    for (int n = blockDim.y / 2; n > 0; n /= 2) {
        if (threadIdx.y < n) NEIGHBOURS(k) mine->at[k] += mine[n * blockDim.x].at[k];
        __syncthreads();
    }
    if (threadIdx.y == 0 && c < O) NEIGHBOURS(k) sums[(offset)blockIdx.x * O + c + k] = mine->at[k];
}
