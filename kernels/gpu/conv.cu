// The two copies around a convolution's matrix product. Notation as in kernels/reference/conv.py.
//
// Columns lie group by group: (G, N*OH*OW, KH*KW*C/G), rows `pitch` elements apart, so that every group's are a matrix.

#include "common.h"

// A row of a window is one run in x, KW*C elements long, and one in the columns. Threads side by side take its packs, and
// need no division to know where they are: a run is outside the image exactly where it leaves a row of x.
// With groups, runs are the group's channels of a pixel: `V` pixels of a window's row belong to a run, KW or 1.
//
// blockIdx.x takes rows of output pixels, blockIdx.y and threadIdx.y runs: V = KW: (j, u); V = 1: (j, u, v, group).
extern "C" __global__ void im2col(
    const element* x, element* cols, int N, int H, int W, int C, int OH, int OW,
    int KH, int KW, int SH, int SW, int PT, int PL, int G, int pitch, int V, real pad
) {
    const int group = C / G, length = V * group, in_row = KW / V * G;  // runs in a row of a window
    ROWS(row, N * OH) {
        const int n = row / OH, i = row % OH;
        for (int run = blockIdx.y * blockDim.y + threadIdx.y; run < OW * KH * in_row; run += gridDim.y * blockDim.y) {
            const int g = run % G, v = run / G % (KW / V), u = run / in_row % KH, j = run / in_row / KH;
            const int h = i * SH + u - PT, start = (j * SW + v - PL) * C + g * group;  // in a row of x
            const element* const from = x + ((offset)n * H + h) * W * C;
            element* const to = cols + (((offset)g * N * OH + row) * OW + j) * pitch + (u * KW + v) * group;
            for (int t = threadIdx.x * WIDTH; t < length; t += blockDim.x * WIDTH) {
                Reals pack;
                if (0 <= h && h < H && 0 <= start + t && start + t < W * C)
                    pack = load(from + start + t);
                else
                    NEIGHBOURS(k) pack.at[k] = pad;
                store(pack, to + t);
            }
        }
    }
}

// One thread a pack of a pixel's channels: it gathers its copies from the windows that hold it, in one order.
extern "C" __global__ void col2im(
    const element* cols, element* x, int N, int H, int W, int C, int OH, int OW,
    int KH, int KW, int SH, int SW, int PT, int PL, int G, int pitch
) {
    const int packs = C / WIDTH, group = C / G;
    ROWS(row, N * H) {
        const int n = row / H, h = row % H;
        const int i0 = h + PT < KH ? 0 : (h + PT - KH) / SH + 1, i1 = min(OH, (h + PT) / SH + 1);
        IN_ROW(t, W * packs) {
            const int w = t / packs, c = t % packs * WIDTH;
            const int j0 = w + PL < KW ? 0 : (w + PL - KW) / SW + 1, j1 = min(OW, (w + PL) / SW + 1);
            Reals sum;
            NEIGHBOURS(k) sum.at[k] = 0;
            for (int i = i0; i < i1; i++)
                for (int j = j0; j < j1; j++) {
                    const int u = h + PT - i * SH, v = w + PL - j * SW;
                    const offset pixel = (((offset)(c / group) * N + n) * OH + i) * OW + j;
                    const Reals copy = load(cols + pixel * pitch + (u * KW + v) * group + c % group);
                    NEIGHBOURS(k) sum.at[k] += copy.at[k];
                }
            store(sum, x + ((offset)row * W + w) * C + c);
        }
    }
}
