// Big-endian bytes: a reader that remembers a failure instead of running over the end, and a growing writer.
#pragma once
#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline int16_t load16(const void *p) { uint16_t v; memcpy(&v, p, 2); return (int16_t)be16toh(v); }
static inline int32_t load32(const void *p) { uint32_t v; memcpy(&v, p, 4); return (int32_t)be32toh(v); }
static inline int64_t load64(const void *p) { uint64_t v; memcpy(&v, p, 8); return (int64_t)be64toh(v); }
static inline void store16(void *p, int16_t v) { uint16_t n = htobe16((uint16_t)v); memcpy(p, &n, 2); }
static inline void store32(void *p, int32_t v) { uint32_t n = htobe32((uint32_t)v); memcpy(p, &n, 4); }
static inline void store64(void *p, int64_t v) { uint64_t n = htobe64((uint64_t)v); memcpy(p, &n, 8); }

// Ends the process: a benchmark that lost something measures nothing.
static inline void *need(void *allocated) {
  if (!allocated) { fprintf(stderr, "reference: out of memory\n"); exit(1); }
  return allocated;
}

struct reader {
  uint8_t *at, *end;
  bool failed;
};

// The next `count` bytes, or NULL if there are fewer; from then on every read fails.
static inline uint8_t *take(struct reader *r, size_t count) {
  if (r->failed || (size_t)(r->end - r->at) < count) { r->failed = true; return NULL; }
  uint8_t *p = r->at;
  r->at += count;
  return p;
}
static inline int8_t take8(struct reader *r) { const uint8_t *p = take(r, 1); return p ? (int8_t)*p : 0; }
static inline int16_t take16(struct reader *r) { const uint8_t *p = take(r, 2); return p ? load16(p) : 0; }
static inline int32_t take32(struct reader *r) { const uint8_t *p = take(r, 4); return p ? load32(p) : 0; }
static inline int64_t take64(struct reader *r) { const uint8_t *p = take(r, 8); return p ? load64(p) : 0; }

// A piece of the frame; `at` is NULL for Kafka's null.
struct slice {
  uint8_t *at;
  int32_t count;
};
static inline struct slice take_slice(struct reader *r, int32_t count) {
  return count < 0 ? (struct slice){NULL, 0} : (struct slice){take(r, (size_t)count), count};
}
static inline struct slice take_string(struct reader *r) { return take_slice(r, take16(r)); }
static inline struct slice take_bytes(struct reader *r) { return take_slice(r, take32(r)); }

struct writer {
  uint8_t *bytes;
  size_t count, capacity;
};
static inline uint8_t *put(struct writer *w, size_t count) {
  if (w->count + count > w->capacity) {
    w->capacity = 2 * (w->count + count);
    w->bytes = need(realloc(w->bytes, w->capacity));
  }
  w->count += count;
  return w->bytes + w->count - count;
}
static inline void put8(struct writer *w, int8_t v) { *put(w, 1) = (uint8_t)v; }
static inline void put16(struct writer *w, int16_t v) { store16(put(w, 2), v); }
static inline void put32(struct writer *w, int32_t v) { store32(put(w, 4), v); }
static inline void put64(struct writer *w, int64_t v) { store64(put(w, 8), v); }
static inline void put_string(struct writer *w, struct slice s) {
  put16(w, s.at ? (int16_t)s.count : -1);
  if (s.count) memcpy(put(w, (size_t)s.count), s.at, (size_t)s.count);
}
