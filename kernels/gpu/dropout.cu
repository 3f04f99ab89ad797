// Dropout whose mask is a function of (seed, counter, position): backward computes it again, and none is stored.
//
// Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3": Philox4x32-10. Its input is a counter of 128
// bits and a key of 64, its output 128 bits that nobody can tell from random ones. Four numbers a call.

#include "common.h"

struct Four {
    unsigned at[4];
};

__device__ inline Four philox(Four counter, unsigned key0, unsigned key1) {
    for (int round = 0; round < 10; round++) {
        const unsigned low0 = 0xD2511F53u * counter.at[0], high0 = __umulhi(0xD2511F53u, counter.at[0]);
        const unsigned low1 = 0xCD9E8D57u * counter.at[2], high1 = __umulhi(0xCD9E8D57u, counter.at[2]);
        counter = {{high1 ^ counter.at[1] ^ key0, low1, high0 ^ counter.at[3] ^ key1, low0}};
        key0 += 0x9E3779B9u;  // the golden ratio
        key1 += 0xBB67AE85u;  // the square root of 3
    }
    return counter;
}

// Seed and counter on the device: `used` remembers where this dropout begins, the counter moves behind it. One thread, and a
// launch of its own, for no block may move the counter before all have read it. So a recorded step draws new masks each time.
extern "C" __global__ void take_numbers(unsigned long long* generator, unsigned long long* used, unsigned long long calls) {
    used[0] = generator[0];
    used[1] = generator[1];
    generator[1] += calls;
}

// y = x * scale where a number in [0, 1) is at least p, else 0. Forward and backward alike. Four elements a thread, for four
// come of one call; the last call's numbers may be too many.
extern "C" __global__ void dropout(
    const element* x, element* y, const unsigned long long* used, offset count, float p, real scale
) {
    const unsigned long long seed = used[0];
    ALL(t, (count + 3) / 4) {
        const unsigned long long call = used[1] + t;
        const Four bits =
            philox({{(unsigned)call, (unsigned)(call >> 32), 0, 0}}, (unsigned)seed, (unsigned)(seed >> 32));
        Four kept;
        for (int k = 0; k < 4; k++) kept.at[k] = (bits.at[k] >> 8) * (1.0f / (1 << 24)) >= p;
        for (int k = 0; k < 4; k += WIDTH) {
            if (t * 4 + k >= count) break;
            Reals pack = load(x + t * 4 + k);
            NEIGHBOURS(l) pack.at[l] = kept.at[k + l] ? pack.at[l] * scale : 0;
            store(pack, y + t * 4 + k);
        }
    }
}
