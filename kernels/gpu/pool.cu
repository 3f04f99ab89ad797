// Max-pooling and adaptive average pooling. Notation as in kernels/reference/conv.py.
//
// One thread an output forward, one thread a pixel backward: a pixel gathers from the windows that hold it, so
// that no two threads write one place, no atomics are needed and the sum has one order.

#include "common.h"

// The largest x of each window, and which pixel of the window it was (u * KW + v), one byte.
extern "C" __global__ void max_pool2d_forward(
    const element* x, element* y, unsigned char* won, int N, int H, int W, int C, int OH, int OW,
    int KH, int KW, int SH, int SW, int PT, int PL
) {
    const int packs = C / WIDTH;
    ROWS(row, N * OH) {
        const int n = row / OH, i = row % OH;
        const int u0 = max(0, PT - i * SH), u1 = min(KH, H + PT - i * SH);  // the window inside the image
        IN_ROW(t, OW * packs) {
            const int j = t / packs, c = t % packs * WIDTH;
            const int v0 = max(0, PL - j * SW), v1 = min(KW, W + PL - j * SW);
            Reals highest;
            Bytes place;
            NEIGHBOURS(k) highest.at[k] = -INFINITE, place.at[k] = 0;
            for (int u = u0; u < u1; u++)
                for (int v = v0; v < v1; v++) {
                    const offset pixel = ((offset)n * H + i * SH + u - PT) * W + j * SW + v - PL;
                    const Reals candidate = load(x + pixel * C + c);
                    const bool first = u == u0 && v == v0;
                    NEIGHBOURS(k) {
                        const real a = candidate.at[k], b = highest.at[k];
                        // The first NaN stays; the first pixel wins even where it is -infinity.
                        if (first || a > b || (a != a && b == b)) {
                            highest.at[k] = a;
                            place.at[k] = u * KW + v;
                        }
                    }
                }
            const offset output = ((offset)row * OW + j) * C + c;
            store(highest, y + output);
            *(Bytes*)(won + output) = place;
        }
    }
}

// dx[pixel] = the sum of dy over the windows that it won.
extern "C" __global__ void max_pool2d_backward(
    const element* dy, const unsigned char* won, element* dx, int N, int H, int W, int C, int OH, int OW,
    int KH, int KW, int SH, int SW, int PT, int PL
) {
    const int packs = C / WIDTH;
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
                    const offset output = (((offset)n * OH + i) * OW + j) * C + c;
                    const int here = (h + PT - i * SH) * KW + w + PL - j * SW;
                    const Bytes winner = *(const Bytes*)(won + output);
                    const Reals gradient = load(dy + output);
                    NEIGHBOURS(k) if (winner.at[k] == here) sum.at[k] += gradient.at[k];
                }
            store(sum, dx + ((offset)row * W + w) * C + c);
        }
    }
}

// Cell i of OH covers pixels floor(i H / OH) ... ceil((i + 1) H / OH) - 1.
__device__ inline int cell_start(int i, int size, int cells) { return (offset)i * size / cells; }
__device__ inline int cell_stop(int i, int size, int cells) { return ((offset)(i + 1) * size + cells - 1) / cells; }

extern "C" __global__ void adaptive_avg_pool2d_forward(
    const element* x, element* y, int N, int H, int W, int C, int OH, int OW
) {
    const int packs = C / WIDTH;
    ROWS(row, N * OH) {
        const int n = row / OH, i = row % OH;
        const int h0 = cell_start(i, H, OH), h1 = cell_stop(i, H, OH);
        IN_ROW(t, OW * packs) {
            const int j = t / packs, c = t % packs * WIDTH;
            const int w0 = cell_start(j, W, OW), w1 = cell_stop(j, W, OW);
            Reals sum;
            NEIGHBOURS(k) sum.at[k] = 0;
            for (int h = h0; h < h1; h++)
                for (int w = w0; w < w1; w++) {
                    const Reals pixel = load(x + (((offset)n * H + h) * W + w) * C + c);
                    NEIGHBOURS(k) sum.at[k] += pixel.at[k];
                }
            NEIGHBOURS(k) sum.at[k] /= (h1 - h0) * (w1 - w0);
            store(sum, y + ((offset)row * OW + j) * C + c);
        }
    }
}

extern "C" __global__ void adaptive_avg_pool2d_backward(
    const element* dy, element* dx, int N, int H, int W, int C, int OH, int OW
) {
    const int packs = C / WIDTH;
    ROWS(row, N * H) {
        const int n = row / H, h = row % H;
        // The cells that hold pixel h: from the one that it lies in by proportion, as long as they begin before its end.
        const int i0 = cell_start(h, OH, H), i1 = cell_stop(h, OH, H);
        IN_ROW(t, W * packs) {
            const int w = t / packs, c = t % packs * WIDTH;
            const int j0 = cell_start(w, OW, W), j1 = cell_stop(w, OW, W);
            Reals sum;
            NEIGHBOURS(k) sum.at[k] = 0;
            for (int i = i0; i < i1; i++)
                for (int j = j0; j < j1; j++) {
                    const int rows = cell_stop(i, H, OH) - cell_start(i, H, OH);
                    const int columns = cell_stop(j, W, OW) - cell_start(j, W, OW);
                    const Reals gradient = load(dy + (((offset)n * OH + i) * OW + j) * C + c);
                    NEIGHBOURS(k) sum.at[k] += gradient.at[k] / (rows * columns);
                }
            store(sum, dx + ((offset)row * W + w) * C + c);
        }
    }
}
