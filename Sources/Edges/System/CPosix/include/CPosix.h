#pragma once

#include <stdint.h>

/// Reserves blocks for `length` bytes from `offset` without changing the file's size. 0, or -1 with errno;
/// errno is EOPNOTSUPP where the system has no such call.
int apus_reserve(int fd, int64_t offset, int64_t length);

/// Makes a file's contents durable, and its size with them: fdatasync, or what is as strong. 0, or -1 with errno.
int apus_sync_data(int fd);

/// Makes everything written to the file system that holds the open file `fd` durable. 0, or -1 with errno.
int apus_sync_file_system(int fd);

/// Bytes that the file system which holds `path` has in all, and those an unprivileged process can still write. 0, or -1 with errno.
int apus_space(const char *path, int64_t *total, int64_t *usable);
