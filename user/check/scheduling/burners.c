/* Two threads that let the kernel execute instructions, in all for much longer than a time slice. Only between the
 * calls are they in user mode: the timer interrupts the kernel at level 1, and the slice ends after the call.
 *
 * Run by: `tests/tests/boot/statistics.rs`. */
#include <pthread.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { BURN = 0x1005, CALLS = 30 };

static void *burn(void *argument)
{
    long failed = 0;
    for (int call = 0; call < CALLS; call++)
        failed += syscall(BURN, 10000000UL) != 0;
    *(long *)argument = failed;
    return NULL;
}

int main(void)
{
    pthread_t threads[2];
    long failed[2];
    for (int n = 0; n < 2; n++)
        if (pthread_create(&threads[n], NULL, burn, &failed[n]) != 0)
            return 2;
    for (int n = 0; n < 2; n++)
        pthread_join(threads[n], NULL);
    if (failed[0] != 0 || failed[1] != 0)
        return 1;
    printf("ok burners: %d calls\n", 2 * CALLS);
    return 0;
}
