#ifdef __linux__
#define _GNU_SOURCE
#endif

#include "CPosix.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

int apus_reserve(int fd, int64_t offset, int64_t length) {
#ifdef __linux__
  return fallocate(fd, FALLOC_FL_KEEP_SIZE, offset, length);
#else
  (void)fd;
  (void)offset;
  (void)length;
  errno = EOPNOTSUPP;
  return -1;
#endif
}

int apus_sync_data(int fd) {
#ifdef __APPLE__
  // fsync on macOS does not reach the medium; F_FULLFSYNC does.
  if (fcntl(fd, F_FULLFSYNC) == 0) return 0;
  return fsync(fd);
#else
  return fdatasync(fd);
#endif
}

int apus_sync_file_system(int fd) {
#ifdef __linux__
  return syncfs(fd);
#else
  // No call says when all of it is done; a full sync of one file drains the device's queue behind what sync() scheduled.
  sync();
  return apus_sync_data(fd);
#endif
}

int apus_space(const char *path, int64_t *total, int64_t *usable) {
  struct statvfs figures;
  if (statvfs(path, &figures) != 0) return -1;
  *total = (int64_t)figures.f_blocks * (int64_t)figures.f_frsize;
  *usable = (int64_t)figures.f_bavail * (int64_t)figures.f_frsize;
  return 0;
}
