// The two copies around a convolution's matrix product. Notation as in kernels/reference/conv.py.
//
// Columns lie group by group: (G, N*OH*OW, KH*KW*C/G), rows `pitch` elements apart, so that every group's are a matrix.

#include "common.h"

// One thread a pack of columns: neighbours read and write neighbouring places.
extern "C" __global__ void im2col(
    const element* x, element* cols, int N, int H, int W, int C, int OH, int OW,
    int KH, int KW, int SH, int SW, int PT, int PL, int G, int pitch, real pad
) {
    const int packs = C / WIDTH, group = C / G;
    ROWS(row, N * OH) {
        const int n = row / OH, i = row % OH;
        IN_ROW(t, OW * KH * KW * packs) {
            const int c = t % packs * WIDTH, v = t / packs % KW, u = t / packs / KW % KH, j = t / packs / KW / KH;
            const int h = i * SH + u - PT, w = j * SW + v - PL;
            Reals pack;
            if (0 <= h && h < H && 0 <= w && w < W)
                pack = load(x + (((offset)n * H + h) * W + w) * C + c);
            else
                NEIGHBOURS(k) pack.at[k] = pad;
            const offset pixel = ((offset)(c / group) * N * OH + row) * OW + j;
            store(pack, cols + pixel * pitch + (u * KW + v) * group + c % group);
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
