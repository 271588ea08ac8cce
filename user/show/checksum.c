/* Sums up a file with several threads: `checksum FILE BLOCK THREADS`. With T threads, each reads every T-th block.
 * The kernel's share of the time depends on the size of the blocks alone, so this is the example of
 * docs/profiling.md.
 *
 * Run by: `docs/profiling.md`, `docs/smp-guide.md`, `xtask/src/bench/guide.rs`. */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { MOST_THREADS = 64, MOST_BLOCK = 65536 };

static int file;
static long block, threads;

struct part {
	pthread_t thread;
	long first;
	uint32_t sum;
};

static void *sum(void *argument)
{
	struct part *part = argument;
	unsigned char *buffer = malloc(block);
	for (long n = part->first; buffer != NULL; n += threads) {
		ssize_t length = pread(file, buffer, block, n * block);
		if (length <= 0)
			break;
		uint32_t a = 1, b = 0;
		for (ssize_t i = 0; i < length; i++) {
			a += buffer[i];
			b += a ^ (b >> 3);
		}
		part->sum += b;
	}
	free(buffer);
	return NULL;
}

int main(int count, char **words)
{
	static struct part parts[MOST_THREADS];
	if (count == 4) {
		file = open(words[1], O_RDONLY);
		block = strtol(words[2], NULL, 10);
		threads = strtol(words[3], NULL, 10);
	}
	if (count != 4 || file < 0 || block < 1 || block > MOST_BLOCK || threads < 1 || threads > MOST_THREADS) {
		fprintf(stderr, "usage: checksum FILE BLOCK THREADS\n");
		return 2;
	}
	for (long n = 0; n < threads; n++) {
		parts[n].first = n;
		if (pthread_create(&parts[n].thread, NULL, sum, &parts[n]) != 0)
			return 1;
	}
	uint32_t all = 0;
	for (long n = 0; n < threads; n++) {
		pthread_join(parts[n].thread, NULL);
		all += parts[n].sum;
	}
	printf("%08x\n", all);
	return 0;
}
