// Pictures on their way into a network: bytes are normalised where they arrive, so that the way there has a quarter of the
// bytes.

#include "common.h"

// Passed by value.
struct Colours {
    real scale[3], shift[3];
};

// y = x * scale - shift of each colour; colours are the last of the axes, so that they take turns.
extern "C" __global__ void normalise(const unsigned char* x, element* y, offset count, Colours colours) {
    ALL(t, count / WIDTH) {
        const Bytes bytes = *(const Bytes*)(x + t * WIDTH);
        Reals pack;
        NEIGHBOURS(k) {
            const int c = (t * WIDTH + k) % 3;
            pack.at[k] = bytes.at[k] * colours.scale[c] - colours.shift[c];
        }
        store(pack, y + t * WIDTH);
    }
}
