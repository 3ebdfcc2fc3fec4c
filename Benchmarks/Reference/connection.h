// What a connection has read and what it has still to send.
#pragma once
#include "bytes.h"
#include "log.h"

// A stretch of an answer: of the connection's own bytes if `file` is -1, else of that file.
struct piece {
  int file;
  int64_t position;
  size_t count;
};

struct connection {
  int socket;
  uint8_t *input;
  size_t input_count, input_capacity;
  struct writer output;
  struct piece *pieces;
  size_t piece_count, piece_capacity, piece_next;
  // Bytes of `output` that are already in a piece.
  size_t claimed;
  bool waits_for_room;
};

// Makes what was written to `output` since the last call the next piece, and `region` (if it is not empty) the one after it.
void claim(struct connection *c, const struct region *region);

// Answers one request; the frame's bytes may be changed. False: the connection cannot go on.
bool answer(struct connection *c, uint8_t *frame, size_t count);
extern int32_t listen_port;
