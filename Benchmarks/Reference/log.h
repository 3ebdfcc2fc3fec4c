// Topics and their partitions: one preallocated file each, and where every batch lies in it.
#pragma once
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

struct entry {
  int64_t offset, position;
};

struct partition {
  pthread_mutex_t lock;
  int file;
  int64_t next_offset, end_position, allocated;
  struct entry *entries;
  size_t count, capacity;
};

struct topic {
  struct topic *next;
  char name[256];
  int32_t partition_count;
  struct partition partitions[];
};

// Kafka's error codes that this server uses.
enum { NO_ERROR = 0, CORRUPT_MESSAGE = 2, UNKNOWN_TOPIC_OR_PARTITION = 3, INVALID_TOPIC = 17, UNSUPPORTED_VERSION = 35,
       TOPIC_ALREADY_EXISTS = 36, INVALID_PARTITIONS = 37, OFFSET_OUT_OF_RANGE = 1 };

void use_directory(const char *path);
int16_t create_topic(struct slice name, int32_t partition_count);
struct topic *find_topic(struct slice name);
// NULL if there is none.
struct partition *find_partition(struct topic *topic, int32_t index);

// Checks the one batch in `batch`, sets its base offset there and appends it. Returns an error code.
int16_t append(struct partition *partition, struct slice batch, int64_t *base_offset);

struct region {
  int file;
  int64_t position;
  size_t count;
};
// Whole batches from the one that holds `offset` on, at least one, else at most `count_max` bytes; none at the end of the log.
int16_t locate(struct partition *partition, int64_t offset, size_t count_max, struct region *region, int64_t *end_offset);
