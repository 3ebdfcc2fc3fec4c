// Requests, each in the one version that this server speaks; none of them has the compact encodings.
#include "connection.h"

enum { PRODUCE = 0, FETCH = 1, LIST_OFFSETS = 2, METADATA = 3, API_VERSIONS = 18, CREATE_TOPICS = 19 };
static const struct { int16_t key, version; } served[] = {
  {PRODUCE, 7}, {FETCH, 4}, {LIST_OFFSETS, 1}, {METADATA, 1}, {API_VERSIONS, 0}, {CREATE_TOPICS, 2},
};
enum { SERVED_COUNT = sizeof served / sizeof served[0] };

static const int32_t node_id = 1;
static const size_t answer_count_max = 50 << 20;

static void api_versions(struct writer *w, int16_t version) {
  put16(w, version == 0 ? NO_ERROR : UNSUPPORTED_VERSION);
  put32(w, SERVED_COUNT);
  for (int i = 0; i < SERVED_COUNT; i++) put16(w, served[i].key), put16(w, served[i].version), put16(w, served[i].version);
}

static void metadata(struct reader *r, struct writer *w) {
  put32(w, 1);
  put32(w, node_id);
  put_string(w, (struct slice){(uint8_t *)"127.0.0.1", 9});
  put32(w, listen_port);
  put16(w, -1);
  put32(w, node_id);
  int32_t topic_count = take32(r);
  // The null list would be all topics; nobody asks here.
  put32(w, topic_count < 0 ? 0 : topic_count);
  for (int32_t i = 0; i < topic_count && !r->failed; i++) {
    struct slice name = take_string(r);
    struct topic *topic = find_topic(name);
    put16(w, topic ? NO_ERROR : UNKNOWN_TOPIC_OR_PARTITION);
    put_string(w, name);
    put8(w, 0);
    int32_t partition_count = topic ? topic->partition_count : 0;
    put32(w, partition_count);
    for (int32_t p = 0; p < partition_count; p++) {
      put16(w, NO_ERROR), put32(w, p), put32(w, node_id);
      put32(w, 1), put32(w, node_id);
      put32(w, 1), put32(w, node_id);
    }
  }
}

static void create_topics(struct reader *r, struct writer *w) {
  put32(w, 0);
  int32_t topic_count = take32(r);
  put32(w, topic_count);
  for (int32_t i = 0; i < topic_count && !r->failed; i++) {
    struct slice name = take_string(r);
    int32_t partition_count = take32(r);
    take16(r);
    for (int32_t left = take32(r); left > 0 && !r->failed; left--) {
      take32(r);
      for (int32_t brokers = take32(r); brokers > 0 && !r->failed; brokers--) take32(r);
    }
    for (int32_t left = take32(r); left > 0 && !r->failed; left--) take_string(r), take_string(r);
    if (r->failed) return;
    put_string(w, name);
    put16(w, create_topic(name, partition_count));
    put16(w, -1);
  }
}

// Returns acks: with 0 there is no answer.
static int16_t produce(struct reader *r, struct writer *w) {
  take_string(r);
  int16_t acks = take16(r);
  take32(r);
  int32_t topic_count = take32(r);
  put32(w, topic_count);
  for (int32_t i = 0; i < topic_count && !r->failed; i++) {
    struct slice name = take_string(r);
    struct topic *topic = find_topic(name);
    int32_t partition_count = take32(r);
    put_string(w, name);
    put32(w, partition_count);
    for (int32_t p = 0; p < partition_count && !r->failed; p++) {
      int32_t index = take32(r);
      struct slice batch = take_bytes(r);
      if (r->failed) break;
      struct partition *partition = find_partition(topic, index);
      int64_t base_offset = -1;
      int16_t code = partition ? append(partition, batch, &base_offset) : UNKNOWN_TOPIC_OR_PARTITION;
      put32(w, index), put16(w, code), put64(w, base_offset), put64(w, -1), put64(w, 0);
    }
  }
  put32(w, 0);
  return acks;
}

static void list_offsets(struct reader *r, struct writer *w) {
  take32(r);
  int32_t topic_count = take32(r);
  put32(w, topic_count);
  for (int32_t i = 0; i < topic_count && !r->failed; i++) {
    struct slice name = take_string(r);
    struct topic *topic = find_topic(name);
    int32_t partition_count = take32(r);
    put_string(w, name);
    put32(w, partition_count);
    for (int32_t p = 0; p < partition_count && !r->failed; p++) {
      int32_t index = take32(r);
      int64_t timestamp = take64(r), end_offset = -1;
      struct partition *partition = find_partition(topic, index);
      struct region nothing;
      if (partition) locate(partition, 0, 0, &nothing, &end_offset);
      put32(w, index), put16(w, partition ? NO_ERROR : UNKNOWN_TOPIC_OR_PARTITION);
      // -2 asks for the earliest; anything else is taken for the latest.
      put64(w, -1), put64(w, timestamp == -2 && partition ? 0 : end_offset);
    }
  }
}

// Answers at once, whatever there is: `apus bench` asks only for what it knows to be there.
static void fetch(struct reader *r, struct connection *c) {
  struct writer *w = &c->output;
  take32(r), take32(r), take32(r);
  int32_t limit = take32(r);
  size_t room = limit < 0 ? 0 : (size_t)limit < answer_count_max ? (size_t)limit : answer_count_max;
  take8(r);
  bool is_empty = true;
  int32_t topic_count = take32(r);
  put32(w, 0);
  put32(w, topic_count);
  for (int32_t i = 0; i < topic_count && !r->failed; i++) {
    struct slice name = take_string(r);
    struct topic *topic = find_topic(name);
    int32_t partition_count = take32(r);
    put_string(w, name);
    put32(w, partition_count);
    for (int32_t p = 0; p < partition_count && !r->failed; p++) {
      int32_t index = take32(r);
      int64_t offset = take64(r), end_offset = -1;
      int32_t count_max = take32(r);
      struct partition *partition = find_partition(topic, index);
      struct region region = {-1, 0, 0};
      int16_t code = UNKNOWN_TOPIC_OR_PARTITION;
      if (partition) {
        size_t most = count_max < 0 ? 0 : (size_t)count_max < room ? (size_t)count_max : room;
        code = locate(partition, offset, most, &region, &end_offset);
      }
      // Only the first batches of an answer may exceed its limit, so that a reader always gets on.
      if (region.count > room && !is_empty) region.count = 0;
      is_empty &= region.count == 0;
      room -= region.count < room ? region.count : room;
      put32(w, index), put16(w, code), put64(w, end_offset), put64(w, end_offset), put32(w, -1);
      put32(w, (int32_t)region.count);
      claim(c, &region);
    }
  }
}

bool answer(struct connection *c, uint8_t *frame, size_t count) {
  struct reader r = {frame, frame + count, false};
  int16_t key = take16(&r), version = take16(&r);
  int32_t correlation_id = take32(&r);
  take_string(&r);
  bool known = false;
  for (int i = 0; i < SERVED_COUNT; i++) known |= served[i].key == key && (served[i].version == version || key == API_VERSIONS);
  if (!known) {
    fprintf(stderr, "reference: API %d in version %d is not served; use `apus bench`\n", key, version);
    return false;
  }
  size_t start = c->output.count, piece_start = c->piece_count;
  put32(&c->output, 0);
  put32(&c->output, correlation_id);
  bool silent = false;
  switch (key) {
    case PRODUCE: silent = produce(&r, &c->output) == 0; break;
    case FETCH: fetch(&r, c); break;
    case LIST_OFFSETS: list_offsets(&r, &c->output); break;
    case METADATA: metadata(&r, &c->output); break;
    case API_VERSIONS: api_versions(&c->output, version); break;
    case CREATE_TOPICS: create_topics(&r, &c->output); break;
  }
  if (r.failed) {
    fprintf(stderr, "reference: a request with API %d is shorter than it says\n", key);
    return false;
  }
  if (silent) c->output.count = start;
  else {
    size_t length = c->output.count - start - 4;
    for (size_t i = piece_start; i < c->piece_count; i++)
      if (c->pieces[i].file >= 0) length += c->pieces[i].count;
    store32(c->output.bytes + start, (int32_t)length);
  }
  return true;
}
