// A library for LD_PRELOAD that lets a test set the wall clock of a program in C, such as
// redis-server, as package clockstep does for Go. libfaketime cannot be used: it calls dlsym,
// which calls the malloc of jemalloc, which reads the clock before libfaketime is ready.

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offset; // NULL before begin

__attribute__((constructor)) static void begin(void) {
	const char *path = getenv("TEST_CLOCK_FILE");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0) return;
	void *page = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (page != MAP_FAILED) offset = page;
}

int clock_gettime(clockid_t id, struct timespec *at) {
	int r = syscall(SYS_clock_gettime, id, at);
	if (r == 0 && offset && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) at->tv_sec += *offset;
	return r;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
	(void)zone; // obsolete
	struct timespec now;
	int r = clock_gettime(CLOCK_REALTIME, &now);
	at->tv_sec = now.tv_sec;
	at->tv_usec = now.tv_nsec / 1000;
	return r;
}

time_t time(time_t *at) {
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	if (at) *at = now.tv_sec;
	return now.tv_sec;
}
