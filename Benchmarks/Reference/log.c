#define _GNU_SOURCE
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <isa-l/crc.h>
#include <unistd.h>

static const char *directory;
static struct topic *topics;
static pthread_mutex_t topics_lock = PTHREAD_MUTEX_INITIALIZER;

// As Apus reserves: so much at a time, and the file ends where its data does.
static const int64_t allocation_step = 16 << 20;

// A batch of format 2: where its fields lie.
enum { LENGTH_AT = 8, LEADER_EPOCH_AT = 12, MAGIC_AT = 16, CRC_AT = 17, CHECKED_FROM = 21, LAST_OFFSET_DELTA_AT = 23, HEADER_COUNT = 61 };

static void die(const char *what) {
  fprintf(stderr, "reference: %s: %s\n", what, strerror(errno));
  exit(1);
}

void use_directory(const char *path) { directory = path; }

static struct topic *find_topic_locked(struct slice name) {
  for (struct topic *t = topics; t; t = t->next)
    if (strlen(t->name) == (size_t)name.count && !memcmp(t->name, name.at, (size_t)name.count)) return t;
  return NULL;
}

struct topic *find_topic(struct slice name) {
  pthread_mutex_lock(&topics_lock);
  struct topic *found = name.at ? find_topic_locked(name) : NULL;
  pthread_mutex_unlock(&topics_lock);
  return found;
}

struct partition *find_partition(struct topic *topic, int32_t index) {
  return topic && index >= 0 && index < topic->partition_count ? &topic->partitions[index] : NULL;
}

static void open_partition(struct topic *topic, int32_t index) {
  struct partition *p = &topic->partitions[index];
  char path[4096];
  if (snprintf(path, sizeof path, "%s/%s-%d.log", directory, topic->name, index) >= (int)sizeof path) {
    errno = ENAMETOOLONG;
    die(directory);
  }
  p->file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (p->file < 0) die(path);
  pthread_mutex_init(&p->lock, NULL);
}

int16_t create_topic(struct slice name, int32_t partition_count) {
  if (!name.at || name.count == 0 || name.count > 249 || memchr(name.at, '/', (size_t)name.count)) return INVALID_TOPIC;
  if (partition_count < 1 || partition_count > 1000) return INVALID_PARTITIONS;
  pthread_mutex_lock(&topics_lock);
  int16_t code = TOPIC_ALREADY_EXISTS;
  if (!find_topic_locked(name)) {
    struct topic *t = need(calloc(1, sizeof *t + (size_t)partition_count * sizeof t->partitions[0]));
    memcpy(t->name, name.at, (size_t)name.count);
    t->partition_count = partition_count;
    for (int32_t i = 0; i < partition_count; i++) open_partition(t, i);
    t->next = topics;
    topics = t;
    code = NO_ERROR;
  }
  pthread_mutex_unlock(&topics_lock);
  return code;
}

static bool is_whole(struct slice batch) {
  return batch.at && batch.count >= HEADER_COUNT && load32(batch.at + LENGTH_AT) == batch.count - LEADER_EPOCH_AT
    && batch.at[MAGIC_AT] == 2 && load32(batch.at + LAST_OFFSET_DELTA_AT) >= 0
    && (uint32_t)load32(batch.at + CRC_AT) == ~crc32_iscsi(batch.at + CHECKED_FROM, batch.count - CHECKED_FROM, ~0u);
}

static void write_all(int file, const uint8_t *bytes, size_t count, int64_t position) {
  while (count > 0) {
    ssize_t written = pwrite(file, bytes, count, position);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) die("pwrite");
    bytes += written, count -= (size_t)written, position += written;
  }
}

int16_t append(struct partition *p, struct slice batch, int64_t *base_offset) {
  if (!is_whole(batch)) return CORRUPT_MESSAGE;
  pthread_mutex_lock(&p->lock);
  while (p->end_position + batch.count > p->allocated) {
    if (fallocate(p->file, FALLOC_FL_KEEP_SIZE, p->allocated, allocation_step)) die("fallocate");
    p->allocated += allocation_step;
  }
  *base_offset = p->next_offset;
  store64(batch.at, p->next_offset);
  store32(batch.at + LEADER_EPOCH_AT, 0);
  write_all(p->file, batch.at, (size_t)batch.count, p->end_position);
  if (p->count == p->capacity) {
    p->capacity = p->capacity ? 2 * p->capacity : 1024;
    p->entries = need(realloc(p->entries, p->capacity * sizeof p->entries[0]));
  }
  p->entries[p->count++] = (struct entry){p->next_offset, p->end_position};
  p->next_offset += load32(batch.at + LAST_OFFSET_DELTA_AT) + 1;
  p->end_position += batch.count;
  pthread_mutex_unlock(&p->lock);
  return NO_ERROR;
}

// How many entries lie at or before `offset`.
static size_t count_up_to_offset(const struct partition *p, int64_t offset) {
  size_t low = 0, high = p->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (p->entries[middle].offset <= offset) low = middle + 1; else high = middle;
  }
  return low;
}

// Where the entry after `index` begins: the end of the batch at `index`.
static int64_t end_of(const struct partition *p, size_t index) {
  return index + 1 < p->count ? p->entries[index + 1].position : p->end_position;
}

int16_t locate(struct partition *p, int64_t offset, size_t count_max, struct region *region, int64_t *end_offset) {
  int16_t code = NO_ERROR;
  *region = (struct region){p->file, 0, 0};
  pthread_mutex_lock(&p->lock);
  *end_offset = p->next_offset;
  if (offset < 0 || offset > p->next_offset) {
    code = OFFSET_OUT_OF_RANGE;
  } else if (offset < p->next_offset) {
    size_t first = count_up_to_offset(p, offset) - 1, low = first, high = p->count;
    region->position = p->entries[first].position;
    // The last entry whose end is within the limit; the first in any case.
    while (high - low > 1) {
      size_t middle = low + (high - low) / 2;
      if ((size_t)(end_of(p, middle) - region->position) <= count_max) low = middle; else high = middle;
    }
    region->count = (size_t)(end_of(p, low) - region->position);
  }
  pthread_mutex_unlock(&p->lock);
  return code;
}
