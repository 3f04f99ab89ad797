// A batch of pictures on its way into the network: bytes are cut out, mirrored and normalised where they arrive, so that the
// way there has a quarter of the bytes.

#include "common.h"

// Passed by value.
struct Colours {
    real scale[3], shift[3];
};

// y[n, i, j, c] = x[n, top + i, left + j, c] * scale[c] - shift[c], mirrored (j from the right) where mirrored[n].
// x (N, H, W, 3), corners (N, 2): top and left of the cut; y (N, OH, OW, 3).
extern "C" __global__ void cut_and_normalise(
    const unsigned char* x, const int* corners, const unsigned char* mirrored, element* y, int N, int H, int W, int OH,
    int OW, Colours colours
) {
    ROWS(row, N * OH) {
        const int n = row / OH, h = corners[2 * n] + row % OH, left = corners[2 * n + 1];
        IN_ROW(t, OW * 3) {
            const int j = t / 3, c = t % 3;
            const int w = left + (mirrored[n] ? OW - 1 - j : j);
            const real value = x[(((offset)n * H + h) * W + w) * 3 + c];
            to_element(value * colours.scale[c] - colours.shift[c], y + (offset)row * OW * 3 + t);
        }
    }
}
