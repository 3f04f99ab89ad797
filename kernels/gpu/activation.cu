// ReLU and softmax.

#include "common.h"

// y = max(x, 0); NaN stays.
extern "C" __global__ void relu_forward(const element* x, element* y, offset count) {
    ALL(t, count / WIDTH) {
        Reals pack = load(x + t * WIDTH);
        NEIGHBOURS(k) pack.at[k] = relu(pack.at[k]);
        store(pack, y + t * WIDTH);
    }
}

// dx = 0 where y <= 0, else dy.
extern "C" __global__ void relu_backward(const element* dy, const element* y, element* dx, offset count) {
    ALL(t, count / WIDTH) {
        Reals pack = load(dy + t * WIDTH);
        const Reals result = load(y + t * WIDTH);
        NEIGHBOURS(k) if (result.at[k] <= 0) pack.at[k] = 0;
        store(pack, dx + t * WIDTH);
    }
}

// A block for each row: p = exp(x - max) / sum.
extern "C" __global__ void softmax_forward(const element* x, element* p, int N, int K) {
    __shared__ real shared[BLOCK];
    ROWS(n, N) {
        const element* row = x + (offset)n * K;
        real highest = -INFINITE, sum = 0;
        for (int k = threadIdx.x; k < K; k += BLOCK) highest = max(highest, to_real(row[k]));
        highest = block_max(highest, shared);
        for (int k = threadIdx.x; k < K; k += BLOCK) sum += exp(to_real(row[k]) - highest);
        sum = block_sum(sum, shared);
        for (int k = threadIdx.x; k < K; k += BLOCK)
            to_element(exp(to_real(row[k]) - highest) / sum, p + (offset)n * K + k);
    }
}

// dx = p (dp - sum of dp p).
extern "C" __global__ void softmax_backward(const element* dp, const element* p, element* dx, int N, int K) {
    __shared__ real shared[BLOCK];
    ROWS(n, N) {
        const offset start = (offset)n * K;
        real sum = 0;
        for (int k = threadIdx.x; k < K; k += BLOCK) sum += to_real(dp[start + k]) * to_real(p[start + k]);
        sum = block_sum(sum, shared);
        for (int k = threadIdx.x; k < K; k += BLOCK)
            to_element(to_real(p[start + k]) * (to_real(dp[start + k]) - sum), dx + start + k);
    }
}
