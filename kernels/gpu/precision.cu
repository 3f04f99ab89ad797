// Between float32 and bfloat16. Compiled for elements of the latter.

#include "common.h"

extern "C" __global__ void to_bfloat16(const real* x, element* y, offset count) {
    ALL(t, count / WIDTH) {
        Reals pack;
        NEIGHBOURS(k) pack.at[k] = x[t * WIDTH + k];
        store(pack, y + t * WIDTH);
    }
}

extern "C" __global__ void to_float32(const element* x, real* y, offset count) {
    ALL(t, count / WIDTH) {
        const Reals pack = load(x + t * WIDTH);
        NEIGHBOURS(k) y[t * WIDTH + k] = pack.at[k];
    }
}
