// What all kernels share: element types, accesses of 16 bytes, indices, sums over a block.
//
// Every .cu file is compiled once for each ELEMENT and WIDTH that is asked for (launch.py):
//
//     ELEMENT   the type of activations in memory: float, double or bfloat16
//     REAL      what sums are computed in: float, or double where ELEMENT is double
//     WIDTH     how many neighbouring channels a thread takes at once: 16 bytes of them, or 1 where that
//               does not divide the channels. Both are the same text.
//
// No header is needed beyond what every CUDA compiler knows by itself: NVRTC has none.

#ifndef COMMON_H
#define COMMON_H

// The upper half of a float32: its range, with 8 bits of precision. Only storage; sums are float32.
struct bfloat16 {
    unsigned short bits;
};

typedef ELEMENT element;
typedef REAL real;

#define INFINITE __uint_as_float(0x7f800000)
#define NOT_A_NUMBER __uint_as_float(0x7fc00000)

__device__ inline float to_real(float x) { return x; }
__device__ inline double to_real(double x) { return x; }
__device__ inline float to_real(bfloat16 x) { return __uint_as_float((unsigned)x.bits << 16); }

__device__ inline void to_element(float x, float* to) { *to = x; }
__device__ inline void to_element(double x, double* to) { *to = x; }
__device__ inline void to_element(float x, bfloat16* to) {
    unsigned bits = __float_as_uint(x);
    bool nan = (bits & 0x7fffffff) > 0x7f800000;
    // To the nearest, of two equally near to the even one; a NaN must not be rounded to infinity.
    to->bits = nan ? (bits >> 16) | 0x40 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

// WIDTH neighbours, moved by one access to memory.
struct alignas(WIDTH * sizeof(element)) Elements {
    element at[WIDTH];
};
struct alignas(WIDTH) Bytes {
    unsigned char at[WIDTH];
};
// WIDTH neighbours, in registers.
struct Reals {
    real at[WIDTH];
};

// for (every neighbour k): the loops vanish in compilation, and registers have no index.
#define NEIGHBOURS(k) _Pragma("unroll") for (int k = 0; k < WIDTH; k++)

__device__ inline Reals load(const element* from) {
    Elements elements = *(const Elements*)from;
    Reals reals;
    NEIGHBOURS(k) reals.at[k] = to_real(elements.at[k]);
    return reals;
}

__device__ inline void store(Reals reals, element* to) {
    Elements elements;
    NEIGHBOURS(k) to_element(reals.at[k], &elements.at[k]);
    *(Elements*)to = elements;
}

// max(x, 0); NaN stays.
__device__ inline real relu(real x) { return x <= 0 ? 0 : x; }

// Grid-stride loops. An array is seen as rows: blockIdx.x takes rows, blockIdx.y and the threads what lies in
// a row. Both counts stay below 2^31, so that indices are divided in 32 bits; where a row begins is a product in 64.
typedef long long offset;

#define ROWS(row, count) for (int row = blockIdx.x; row < (count); row += gridDim.x)
#define IN_ROW(t, count) \
    for (int t = blockIdx.y * blockDim.x + threadIdx.x; t < (count); t += gridDim.y * blockDim.x)
// Arrays that need no coordinates.
#define ALL(t, count) \
    for (offset t = (offset)blockIdx.x * blockDim.x + threadIdx.x; t < (count); t += (offset)gridDim.x * blockDim.x)

// Matrices whose columns get the same treatment in every row: a block is blockDim.y rows by blockDim.x packs of WIDTH
// columns, blockIdx.x takes rows, blockIdx.y columns.
#define TILE_ROWS(r, count) \
    for (offset r = (offset)blockIdx.x * blockDim.y + threadIdx.y; r < (count); r += gridDim.x * blockDim.y)
#define TILE_COLUMN ((int)(blockIdx.y * blockDim.x + threadIdx.x) * WIDTH)

// The sum or the maximum of every thread's value, to every thread. All threads of the block call it, BLOCK of
// them at most and a power of two; always in the same order, so that the result is the same to the bit.
#define BLOCK 256

__device__ inline real block_sum(real value, real* shared) {
    shared[threadIdx.x] = value;
    __syncthreads();
    for (int n = blockDim.x / 2; n > 0; n /= 2) {
        if (threadIdx.x < n) shared[threadIdx.x] += shared[threadIdx.x + n];
        __syncthreads();
    }
    real sum = shared[0];
    __syncthreads();  // all have read it: shared is free again
    return sum;
}

__device__ inline real block_max(real value, real* shared) {
    shared[threadIdx.x] = value;
    __syncthreads();
    for (int n = blockDim.x / 2; n > 0; n /= 2) {
        if (threadIdx.x < n && shared[threadIdx.x] < shared[threadIdx.x + n])
            shared[threadIdx.x] = shared[threadIdx.x + n];
        __syncthreads();
    }
    real max = shared[0];
    __syncthreads();
    return max;
}

#endif
