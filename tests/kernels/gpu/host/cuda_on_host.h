// What CUDA's words mean on a CPU, so that a C++ compiler takes the .cu files as they are.
//
// Blocks run one after another. So do the threads of a block, on one stack, until one of them waits in
// __syncthreads: it is put aside on its stack, and the next thread gets another. When all wait, all go on. A
// thread that reads what another should have written before the barrier finds it missing every time, not
// now and then. `reversed` runs blocks and threads from the last to the first: a result must not change by that.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ucontext.h>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(...)

struct Index {
    unsigned x, y, z;
};
static Index blockIdx, threadIdx, blockDim, gridDim;

using std::max;
using std::min;

inline float __uint_as_float(unsigned bits) {
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}
inline unsigned __float_as_uint(float value) {
    unsigned bits;
    std::memcpy(&bits, &value, 4);
    return bits;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned long long)a * b >> 32; }

namespace host {

constexpr size_t STACK = 256 << 10;

struct Fiber {
    ucontext_t context;
    void* stack = std::malloc(STACK);
    Index thread;  // of the block
};

static ucontext_t scheduler;
static Fiber* current;
static std::vector<Fiber*> idle, waiting;
static unsigned next, count;
static bool backwards;

static void (*invoke)(void (*)(), void**);
static void (*kernel)();
static void** arguments;

inline unsigned nth(unsigned k, unsigned of) { return backwards ? of - 1 - k : k; }

// What a fiber does: threads that nobody has begun, one after another.
static void work() {
    while (next < count) {
        const unsigned t = nth(next++, count);
        threadIdx = {t % blockDim.x, t / blockDim.x, 0};
        invoke(kernel, arguments);
    }
    idle.push_back(current);
}

static void start() {
    if (idle.empty()) idle.push_back(new Fiber);
    current = idle.back();
    idle.pop_back();
    getcontext(&current->context);
    current->context.uc_stack.ss_sp = current->stack;
    current->context.uc_stack.ss_size = STACK;
    current->context.uc_link = &scheduler;
    makecontext(&current->context, work, 0);
    swapcontext(&scheduler, &current->context);
}

// Every thread of a block. Returns whether all of them met at every barrier.
static bool run_block() {
    next = 0;
    while (next < count) start();
    while (!waiting.empty()) {
        if (waiting.size() != count) return waiting.clear(), false;
        std::vector<Fiber*> all;
        all.swap(waiting);
        for (Fiber* fiber : all) {
            current = fiber;
            threadIdx = fiber->thread;
            swapcontext(&scheduler, &fiber->context);
        }
    }
    return true;
}

template <class... P, size_t... I>
void call(void (*function)(P...), void** values, std::index_sequence<I...>) {
    function(*static_cast<std::remove_const_t<P>*>(values[I])...);
}

template <class... P>
int launch(void (*function)(P...), const int* grid, const int* block, void** values, int reversed) {
    kernel = reinterpret_cast<void (*)()>(function);
    invoke = [](void (*f)(), void** v) { call(reinterpret_cast<void (*)(P...)>(f), v, std::index_sequence_for<P...>()); };
    arguments = values;
    backwards = reversed;
    gridDim = {(unsigned)grid[0], (unsigned)grid[1], 1};
    blockDim = {(unsigned)block[0], (unsigned)block[1], 1};
    count = blockDim.x * blockDim.y;
    const unsigned blocks = gridDim.x * gridDim.y;
    for (unsigned k = 0; k < blocks; k++) {
        blockIdx = {nth(k, blocks) % gridDim.x, nth(k, blocks) / gridDim.x, 0};
        if (!run_block()) return 1;
    }
    return 0;
}

}  // namespace host

inline void __syncthreads() {
    host::Fiber* self = host::current;
    self->thread = threadIdx;
    host::waiting.push_back(self);
    swapcontext(&self->context, &host::scheduler);
}

// The door for ctypes, one for each kernel.
#define DOOR(name) \
    extern "C" int launch_##name(const int* grid, const int* block, void** values, int reversed) { \
        return host::launch(name, grid, block, values, reversed); \
    }
