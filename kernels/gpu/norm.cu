// Local response normalisation. The window around a value is a box, `size` channels or size x size pixels, so that one
// text serves both. One thread a value.

#include "common.h"

struct Box {
    int h0, h1, w0, w1, c0, c1;
};

// The box around (h, w, c), inside the image and the group of channels.
__device__ inline Box box_around(
    int h, int w, int c, int H, int W, int group, int space_before, int space_after, int channels_before,
    int channels_after
) {
    const int start = c / group * group;
    return {max(0, h - space_before),         min(H, h + space_after + 1),
            max(0, w - space_before),         min(W, w + space_after + 1),
            max(start, c - channels_before), min(start + group, c + channels_after + 1)};
}

// s = k + a * the sum of x^2 over the box, and y = x s^-beta.
extern "C" __global__ void local_response_norm_forward(
    const element* x, element* y, real* s, int N, int H, int W, int C, int group, int space_before, int space_after,
    int channels_before, int channels_after, real k, real a, real beta
) {
    ROWS(row, N * H) {
        const int h = row % H;
        const offset image = (offset)(row / H) * H;
        IN_ROW(t, W * C) {
            const Box box = box_around(
                h, t / C, t % C, H, W, group, space_before, space_after, channels_before, channels_after
            );
            real sum = 0;
            for (int i = box.h0; i < box.h1; i++)
                for (int j = box.w0; j < box.w1; j++)
                    for (int c = box.c0; c < box.c1; c++) {
                        const real value = to_real(x[((image + i) * W + j) * C + c]);
                        sum += value * value;
                    }
            const offset here = (offset)row * W * C + t;
            s[here] = k + a * sum;
            to_element(to_real(x[here]) * pow(s[here], -beta), y + here);
        }
    }
}

// dx = dy s^-beta - 2 a beta x * the sum of dy x s^(-beta - 1) over the boxes that hold this value: those around the
// values of the box turned about.
extern "C" __global__ void local_response_norm_backward(
    const element* dy, const element* x, const real* s, element* dx, int N, int H, int W, int C, int group,
    int space_before, int space_after, int channels_before, int channels_after, real a, real beta
) {
    ROWS(row, N * H) {
        const int h = row % H;
        const offset image = (offset)(row / H) * H;
        IN_ROW(t, W * C) {
            const Box box = box_around(
                h, t / C, t % C, H, W, group, space_after, space_before, channels_after, channels_before
            );
            real seen = 0;
            for (int i = box.h0; i < box.h1; i++)
                for (int j = box.w0; j < box.w1; j++)
                    for (int c = box.c0; c < box.c1; c++) {
                        const offset there = ((image + i) * W + j) * C + c;
                        seen += to_real(dy[there]) * to_real(x[there]) * pow(s[there], -beta - 1);
                    }
            const offset here = (offset)row * W * C + t;
            const real direct = to_real(dy[here]) * pow(s[here], -beta);
            to_element(direct - 2 * a * beta * to_real(x[here]) * seen, dx + here);
        }
    }
}
