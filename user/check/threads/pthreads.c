/* What C programs with threads do: mutexes, condition variables, thread-local data, heap, stdio, sorting, floating
 * point. It is built with static glibc, and for some tests with musl.
 *
 * Run by: `tests/tests/boot/programs.rs`, `tests/tests/smp.rs`. */

#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CHECK(condition)                                                               \
    do {                                                                               \
        if (!(condition)) {                                                            \
            printf("pthreads: line %d: not so: %s\n", __LINE__, #condition);           \
            exit(1);                                                                   \
        }                                                                              \
    } while (0)

enum { THREADS = 8, ROUNDS = 5000 };

static pthread_t start(void *(*function)(void *), intptr_t argument)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, function, (void *)argument) == 0);
    return thread;
}

static intptr_t join(pthread_t thread)
{
    void *result;
    CHECK(pthread_join(thread, &result) == 0);
    return (intptr_t)result;
}

/* Runs `function` in all threads; the sum of their results. */
static intptr_t in_all(void *(*function)(void *))
{
    pthread_t threads[THREADS];
    intptr_t sum = 0;
    for (int n = 0; n < THREADS; n++)
        threads[n] = start(function, n);
    for (int n = 0; n < THREADS; n++)
        sum += join(threads[n]);
    return sum;
}

/* Mutex: a counter that loses nothing. */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static long counter;

static void *count(void *argument)
{
    for (int n = 0; n < ROUNDS; n++) {
        CHECK(pthread_mutex_lock(&mutex) == 0);
        counter++;
        CHECK(pthread_mutex_unlock(&mutex) == 0);
    }
    return argument;
}

/* Condition variable: a bounded buffer between producers and consumers. */

static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int buffer[4], filled, next_in, next_out;

static void *produce(void *argument)
{
    for (int n = 1; n <= 1000; n++) {
        pthread_mutex_lock(&mutex);
        while (filled == 4)
            pthread_cond_wait(&changed, &mutex);
        buffer[next_in++ % 4] = n;
        filled++;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&mutex);
    }
    return argument;
}

static void *consume(void *argument)
{
    intptr_t sum = 0;
    (void)argument;
    for (int n = 0; n < 1000; n++) {
        pthread_mutex_lock(&mutex);
        while (filled == 0)
            pthread_cond_wait(&changed, &mutex);
        sum += buffer[next_out++ % 4];
        filled--;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&mutex);
    }
    return (void *)sum;
}

static void check_buffer(void)
{
    pthread_t threads[4] = { start(produce, 0), start(produce, 0), start(consume, 0), start(consume, 0) };
    intptr_t sum = 0;
    for (int n = 0; n < 4; n++)
        sum += join(threads[n]);
    CHECK(sum == 2 * 500500);
    CHECK(filled == 0);

    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 20000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&mutex);
    CHECK(pthread_cond_timedwait(&changed, &mutex, &until) == ETIMEDOUT);
    pthread_mutex_unlock(&mutex);
}

/* Thread-local data: by the compiler, by keys with destructors, and errno. */

static __thread int own = 42;
static __thread char own_zero[1000];
static pthread_key_t key;
static int destroyed;

static void destroy(void *value)
{
    (void)value;
    __atomic_add_fetch(&destroyed, 1, __ATOMIC_SEQ_CST);
}

static void *thread_local_data(void *argument)
{
    CHECK(own == 42 && own_zero[999] == 0);
    own = (int)(intptr_t)argument;
    own_zero[999] = (char)(intptr_t)argument;
    pthread_setspecific(key, &own);
    errno = 1000 + own;
    for (int n = 0; n < 20; n++) {
        sched_yield();
        CHECK(own == (intptr_t)argument && own_zero[999] == (char)own && errno == 1000 + own);
        CHECK(pthread_getspecific(key) == &own);
    }
    return argument;
}

/* Heap: blocks of many sizes, each filled, checked, grown and freed. */

static void *heap(void *argument)
{
    int self = (int)(intptr_t)argument;
    unsigned seed = self + 1;
    unsigned char *blocks[64] = { 0 };
    size_t sizes[64] = { 0 };
    for (int n = 0; n < ROUNDS; n++) {
        seed = seed * 1103515245 + 12345;
        int slot = (seed >> 16) % 64;
        for (size_t at = 0; at < sizes[slot]; at += 97)
            CHECK(blocks[slot][at] == (unsigned char)(slot + self));
        size_t size = (seed >> 8) % (n % 100 == 0 ? 300000 : 2000) + 1;
        blocks[slot] = n % 3 ? realloc(blocks[slot], size) : (free(blocks[slot]), malloc(size));
        CHECK(blocks[slot] != NULL);
        memset(blocks[slot], slot + self, size);
        sizes[slot] = size;
    }
    for (int slot = 0; slot < 64; slot++)
        free(blocks[slot]);
    return NULL;
}

/* Sorting and floating point, in every thread with numbers of its own. */

static int compare(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

static void *numbers(void *argument)
{
    enum { COUNT = 20000 };
    double *values = malloc(COUNT * sizeof *values), sum = 0, sorted = 0;
    for (int n = 0; n < COUNT; n++) {
        values[n] = sin(n * ((intptr_t)argument + 1));
        sum += floor(values[n] * 1e6);
        if (n % 1000 == 0)
            sched_yield();
    }
    qsort(values, COUNT, sizeof *values, compare);
    for (int n = 0; n < COUNT; n++) {
        CHECK(n == 0 || values[n - 1] <= values[n]);
        sorted += floor(values[n] * 1e6);
    }
    CHECK(sum == sorted);
    free(values);

    /* Leibniz's series: a known result, whoever else computes meanwhile. */
    double pi = 0;
    for (int n = 0; n < 1000000; n++)
        pi += (n % 2 ? -4.0 : 4.0) / (2 * n + 1);
    CHECK(fabs(pi - 3.1415916535897743) < 1e-12);
    char text[40];
    snprintf(text, sizeof text, "%.6f %d", pi, (int)(intptr_t)argument);
    CHECK(strncmp(text, "3.141592 ", 9) == 0 && atoi(text + 9) == (intptr_t)argument);
    return argument;
}

/* Once, barrier, semaphore, read-write lock, detached threads, cancellation. */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_barrier_t barrier;
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static sem_t semaphore;
static int times, arrived;

static void only_once(void)
{
    times++;
}

static void *meet(void *argument)
{
    pthread_once(&once, only_once);
    __atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST);
    int last = pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD;
    CHECK(__atomic_load_n(&arrived, __ATOMIC_SEQ_CST) == THREADS);
    pthread_rwlock_rdlock(&lock);
    CHECK(times == 1);
    pthread_rwlock_unlock(&lock);
    (void)argument;
    sem_post(&semaphore);
    return (void *)(intptr_t)last;
}

static void *detached(void *argument)
{
    pthread_detach(pthread_self());
    sem_post(&semaphore);
    return argument;
}

static void check_meetings(void)
{
    CHECK(pthread_barrier_init(&barrier, NULL, THREADS) == 0 && sem_init(&semaphore, 0, 0) == 0);
    CHECK(in_all(meet) == 1);
    for (int n = 0; n < THREADS; n++)
        CHECK(sem_wait(&semaphore) == 0);
    CHECK(sem_trywait(&semaphore) == -1 && errno == EAGAIN);
    for (int n = 0; n < 20; n++) {
        start(detached, n);
        CHECK(sem_wait(&semaphore) == 0);
    }
}

/* stdio: lines of several threads do not mix. */

static void *print(void *argument)
{
    FILE *file = *(FILE **)argument;
    for (int n = 0; n < 200; n++)
        fprintf(file, "%s %d %s\n", "a line that is", n, "whole");
    return NULL;
}

static void check_stdio(void)
{
    FILE *file = fopen("/tmp/pthreads.text", "w+");
    CHECK(file != NULL);
    pthread_t threads[4];
    for (int n = 0; n < 4; n++)
        threads[n] = start(print, (intptr_t)&file);
    for (int n = 0; n < 4; n++)
        join(threads[n]);
    rewind(file);
    char line[100];
    int lines = 0, number;
    while (fgets(line, sizeof line, file)) {
        char end[20];
        CHECK(sscanf(line, "a line that is %d %19s", &number, end) == 2 && strcmp(end, "whole") == 0);
        lines++;
    }
    CHECK(lines == 800);
    CHECK(fclose(file) == 0 && remove("/tmp/pthreads.text") == 0);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    CHECK(in_all(count) == THREADS * (THREADS - 1) / 2);
    CHECK(counter == (long)THREADS * ROUNDS);
    check_buffer();
    CHECK(pthread_key_create(&key, destroy) == 0);
    CHECK(in_all(thread_local_data) == THREADS * (THREADS - 1) / 2);
    CHECK(own == 42 && destroyed == THREADS);
    in_all(heap);
    in_all(numbers);
    check_meetings();
    check_stdio();
    printf("ok pthreads: %d threads\n", THREADS);
    return 0;
}
