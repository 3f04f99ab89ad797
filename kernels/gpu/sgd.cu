// The optimiser's step for a whole list of parameters in one launch: blockIdx.y says which, the others share it out.
//
// The learning rate is read from memory where it is an array, so that a recorded step can be replayed with another. Where
// it is NaN nothing is changed: that is how a step that met NaN or infinity is skipped without asking the CPU.

#include "common.h"

#define MOST 32  // parameters in a launch; as in sgd.py

// Passed by value, 1 KB of the 4 KB that arguments may take: a table on the device would have to be kept up to date.
struct Parameters {
    element* w[MOST];
    const element* g[MOST];
    element* v[MOST];
    offset size[MOST];
};

// v <- m v + (g + d w),  w <- w - lr v
__device__ inline void torch_rule(real* w, real g, real* v, real lr, real momentum, real weight_decay) {
    *v = momentum * *v + g + weight_decay * *w;
    *w -= lr * *v;
}

// v <- m v - lr (g + d w),  w <- w + v
__device__ inline void rule_of_2012(real* w, real g, real* v, real lr, real momentum, real weight_decay) {
    *v = momentum * *v - lr * g - lr * weight_decay * *w;
    *w += *v;
}

#define STEP(rule) \
    if (lr_at) lr = *lr_at; \
    if (lr != lr) return; \
    element* const w = parameters.w[blockIdx.y]; \
    const element* const g = parameters.g[blockIdx.y]; \
    element* const v = parameters.v[blockIdx.y]; \
    const offset size = parameters.size[blockIdx.y]; \
    ALL(t, size / WIDTH) { \
        Reals weights = load(w + t * WIDTH), velocities = load(v + t * WIDTH); \
        const Reals gradients = load(g + t * WIDTH); \
        NEIGHBOURS(k) rule(&weights.at[k], gradients.at[k], &velocities.at[k], lr, momentum, weight_decay); \
        store(weights, w + t * WIDTH); \
        store(velocities, v + t * WIDTH); \
    } \
    /* What is left behind the last whole pack. */ \
    const offset last = size / WIDTH * WIDTH + threadIdx.x; \
    if (blockIdx.x == 0 && last < size) { \
        real weight = to_real(w[last]), velocity = to_real(v[last]); \
        rule(&weight, to_real(g[last]), &velocity, lr, momentum, weight_decay); \
        to_element(weight, w + last); \
        to_element(velocity, v + last); \
    }

extern "C" __global__ void sgd_torch(
    Parameters parameters, const real* lr_at, real lr, real momentum, real weight_decay
) {
    STEP(torch_rule)
}

extern "C" __global__ void sgd_2012(
    Parameters parameters, const real* lr_at, real lr, real momentum, real weight_decay
) {
    STEP(rule_of_2012)
}
