// Preloaded into a broker: once the file that FAILING_DISK_TRIGGER names is there, syncs of the files of partitions fail with EIO, as on a
// disk that is broken. Those of the metadata log go on, so that the node's controller does not fail first.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is_broken(int fd) {
  const char *trigger = getenv("FAILING_DISK_TRIGGER");
  if (!trigger || access(trigger, F_OK) != 0) return 0;
  char name[64], path[4096];
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(name, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return strstr(path, ".log") && !strstr(path, "__cluster_metadata");
}

int fdatasync(int fd) {
  static int (*real)(int);
  if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  if (is_broken(fd)) { errno = EIO; return -1; }
  return real(fd);
}

int fsync(int fd) {
  static int (*real)(int);
  if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  if (is_broken(fd)) { errno = EIO; return -1; }
  return real(fd);
}
