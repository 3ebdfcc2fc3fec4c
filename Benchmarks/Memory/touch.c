// Touches memory once and gives it back: a virtual machine gets a page from its host only when it first writes to it, which costs
// several times as much as the page itself, and would be paid by whatever is measured first.
//
//   touch MIB SECONDS     prints how many MiB were touched, and in how many seconds; stops after SECONDS.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argument_count, char **arguments) {
  if (argument_count != 3) {
    fprintf(stderr, "usage: touch MIB SECONDS\n");
    return 64;
  }
  const size_t step = 64 << 20, page = 4096;
  const long wanted = atol(arguments[1]);
  const double start = now(), limit = atof(arguments[2]);
  long touched = 0;
  for (; touched < wanted && now() - start < limit; touched += (long)(step >> 20)) {
    char *bytes = mmap(NULL, step, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bytes == MAP_FAILED) break;
    // Small pages: zeroing huge ones was measured to take three times as long where the host has none behind them.
    madvise(bytes, step, MADV_NOHUGEPAGE);
    for (size_t at = 0; at < step; at += page) ((volatile char *)bytes)[at] = 1;
  }
  // What was mapped goes back when the process ends.
  printf("%ld %.1f\n", touched, now() - start);
  return 0;
}
