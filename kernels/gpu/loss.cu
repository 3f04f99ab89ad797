// Softmax cross-entropy, a block for each row of logits. Threads take classes in turn and add up in halves.

#include "common.h"

// losses[n] = - sum over k of q[n, k] log p[n, k], and what backward needs of the row: its maximum, and
// log sum exp(x - max).
extern "C" __global__ void cross_entropy_forward(
    const element* logits, const offset* labels, real* losses, real* rows, int N, int K, real smoothing
) {
    __shared__ real shared[BLOCK];
    ROWS(n, N) {
        const element* row = logits + (offset)n * K;
        real highest = -INFINITE, sum = 0, all = 0;
        for (int k = threadIdx.x; k < K; k += BLOCK) highest = max(highest, to_real(row[k]));
        highest = block_max(highest, shared);
        for (int k = threadIdx.x; k < K; k += BLOCK) sum += exp(to_real(row[k]) - highest);
        const real log_sum = log(block_sum(sum, shared));
        // log p = x - highest - log_sum, in this order: their sum could be too large to hold the last digits.
        if (smoothing > 0) {
            const real share = smoothing / K;  // of each term: their sum could be too large
            for (int k = threadIdx.x; k < K; k += BLOCK) all += share * (to_real(row[k]) - highest - log_sum);
            all = block_sum(all, shared);
        }
        if (threadIdx.x == 0) {
            // A label that is no class makes the loss NaN: nobody can raise an error here.
            const bool known = 0 <= labels[n] && labels[n] < K;
            const real at_label = known ? to_real(row[labels[n]]) - highest - log_sum : NOT_A_NUMBER;
            losses[n] = -((1 - smoothing) * at_label + all);
            rows[2 * n] = highest;
            rows[2 * n + 1] = log_sum;
        }
    }
}

// loss = the mean. One block, so that there is one order.
extern "C" __global__ void mean(const real* losses, real* loss, int N) {
    __shared__ real shared[BLOCK];
    real sum = 0;
    for (int n = threadIdx.x; n < N; n += BLOCK) sum += losses[n];
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) *loss = sum / N;
}

// dlogits = scale * (p - q), where scale is dloss / N.
extern "C" __global__ void cross_entropy_backward(
    const element* logits, const offset* labels, const real* rows, element* dlogits, int N, int K, real smoothing,
    real scale
) {
    ROWS(n, N) IN_ROW(k, K) {
        const offset at = (offset)n * K + k;
        const real p = exp(to_real(logits[at]) - rows[2 * n] - rows[2 * n + 1]);
        const real q = (k == labels[n] ? 1 - smoothing : 0) + smoothing / K;
        to_element((p - q) * scale, dlogits + at);
    }
}
