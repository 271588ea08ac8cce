/* Every thread keeps its own floating-point and vector registers.
 *
 * Threads put different contents into XMM0 to XMM15, into the upper halves of the YMM registers if there are such,
 * onto the x87 stack, into MXCSR and into the x87 control word. They take turns, by yielding and by time slices, and
 * compare all of it after each turn.
 *
 * Run by: `tests/tests/boot/machines.rs`, `tests/tests/boot/programs.rs`, `tests/tests/smp.rs`. */

#define _GNU_SOURCE
#include <cpuid.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

enum { THREADS = 4, ROUNDS = 2000, REGISTERS = 16, LANE = 32 };

struct state {
    uint8_t vectors[REGISTERS][LANE];
    uint32_t mxcsr;
    uint16_t control;
    double x87;
};

static int have_avx(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_AVX))
        return 0;
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & 6) == 6;
}

#define ALL(DO) \
    DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11) DO(12) DO(13) DO(14) DO(15)
#define CLOBBERS \
    "rax", "rcx", "rdx", "r11", "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", \
        "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"

/* Loads everything, lets others run (by the call `number`, or by counting down `spin`), and stores
 * everything again, with nothing in between that the compiler could put there. */
#define TURN(NAME, LOAD, STORE)                                                                         \
    static void NAME(const struct state *in, struct state *out, long number, long spin)                 \
    {                                                                                                   \
        __asm__ volatile("ldmxcsr %c[mxcsr](%[in])\n fldcw %c[control](%[in])\n fldl %c[x87](%[in])\n"  \
                         ALL(LOAD)                                                                      \
                         "mov %[number], %%rax\n syscall\n"                                             \
                         "mov %[spin], %%rax\n 1: sub $1, %%rax\n jg 1b\n"                              \
                         ALL(STORE)                                                                     \
                         "fstpl %c[x87](%[out])\n fnstcw %c[control](%[out])\n stmxcsr %c[mxcsr](%[out])\n" \
                         :                                                                              \
                         : [in] "r"(in), [out] "r"(out), [number] "r"(number), [spin] "r"(spin),        \
                           [mxcsr] "i"(offsetof(struct state, mxcsr)),                                  \
                           [control] "i"(offsetof(struct state, control)),                              \
                           [x87] "i"(offsetof(struct state, x87))                                       \
                         : CLOBBERS);                                                                   \
    }

#define LOAD_SSE(N) "movdqu " #N "*32(%[in]), %%xmm" #N "\n"
#define STORE_SSE(N) "movdqu %%xmm" #N ", " #N "*32(%[out])\n"
#define LOAD_AVX(N) "vmovdqu " #N "*32(%[in]), %%ymm" #N "\n"
#define STORE_AVX(N) "vmovdqu %%ymm" #N ", " #N "*32(%[out])\n"

TURN(turn_sse, LOAD_SSE, STORE_SSE)
TURN(turn_avx, LOAD_AVX, STORE_AVX)

static int avx;

static void fail(int thread, int round, const char *what)
{
    printf("fpu: thread %d, round %d: %s changed\n", thread, round, what);
    exit(1);
}

static void *run(void *argument)
{
    int self = (int)(intptr_t)argument;
    /* Rounding modes and precision as no other thread has them; all exceptions masked. */
    struct state in = { .mxcsr = 0x1f80 | (unsigned)self << 13, .control = (uint16_t)(0x037f ^ self << 10) };
    for (int round = 0; round < ROUNDS; round++) {
        for (int n = 0; n < REGISTERS; n++)
            for (int byte = 0; byte < LANE; byte++)
                in.vectors[n][byte] = (uint8_t)(self * 61 + n * 17 + byte * 3 + round);
        in.x87 = self + round / 1024.0;
        struct state out;
        memset(&out, 0, sizeof out);
        /* Most turns yield; every 64th is long enough for a time slice to end within. */
        long spin = round % 64 == self ? 4000000 : 1;
        (avx ? turn_avx : turn_sse)(&in, &out, SYS_sched_yield, spin);
        for (int n = 0; n < REGISTERS; n++)
            if (memcmp(in.vectors[n], out.vectors[n], avx ? LANE : LANE / 2) != 0)
                fail(self, round, "a vector register");
        if (in.mxcsr != (out.mxcsr & ~0x3fu))
            fail(self, round, "MXCSR");
        if (in.control != out.control)
            fail(self, round, "the x87 control word");
        if (in.x87 != out.x87)
            fail(self, round, "the x87 stack");
    }
    return NULL;
}

/* A program begins with what the ABI says: everything masked, rounding to nearest. */
static void check_start(void)
{
    uint32_t mxcsr;
    uint16_t control;
    __asm__ volatile("stmxcsr %0\n fnstcw %1" : "=m"(mxcsr), "=m"(control));
    if ((mxcsr & ~0x3fu) != 0x1f80 || control != 0x037f) {
        printf("fpu: begins with MXCSR %#x, control word %#x\n", mxcsr, control);
        exit(1);
    }
}

int main(void)
{
    check_start();
    avx = have_avx();
    pthread_t threads[THREADS];
    for (int n = 0; n < THREADS; n++)
        if (pthread_create(&threads[n], NULL, run, (void *)(intptr_t)n) != 0)
            return 2;
    for (int n = 0; n < THREADS; n++)
        pthread_join(threads[n], NULL);
    printf("ok fpu: %d threads, %d turns each, %s registers\n", THREADS, ROUNDS, avx ? "AVX" : "SSE");
    return 0;
}
