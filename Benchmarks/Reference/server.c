// The event loops: one epoll and one thread per processor, connections dealt out in turn.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "connection.h"

int32_t listen_port;
static const size_t input_capacity = 256 << 10, frame_count_max = 128 << 20;

static void die(const char *what) {
  fprintf(stderr, "reference: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void add_piece(struct connection *c, struct piece piece) {
  if (c->piece_count == c->piece_capacity) {
    c->piece_capacity = c->piece_capacity ? 2 * c->piece_capacity : 16;
    c->pieces = need(realloc(c->pieces, c->piece_capacity * sizeof piece));
  }
  c->pieces[c->piece_count++] = piece;
}

void claim(struct connection *c, const struct region *region) {
  if (c->output.count > c->claimed) add_piece(c, (struct piece){-1, (int64_t)c->claimed, c->output.count - c->claimed});
  c->claimed = c->output.count;
  if (region && region->count > 0) add_piece(c, (struct piece){region->file, region->position, region->count});
}

// Sends as much as the socket takes. False: the connection broke.
static bool flush(struct connection *c) {
  claim(c, NULL);
  c->waits_for_room = false;
  while (c->piece_next < c->piece_count) {
    struct piece *piece = &c->pieces[c->piece_next];
    ssize_t sent;
    if (piece->file < 0) {
      int more = c->piece_next + 1 < c->piece_count ? MSG_MORE : 0;
      sent = send(c->socket, c->output.bytes + piece->position, piece->count, MSG_NOSIGNAL | more);
      if (sent > 0) piece->position += sent;
    } else {
      off_t position = piece->position;
      sent = sendfile(c->socket, piece->file, &position, piece->count);
      piece->position = position;
    }
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) return c->waits_for_room = true;
    if (sent <= 0) return false;
    piece->count -= (size_t)sent;
    if (piece->count == 0) c->piece_next++;
  }
  c->output.count = c->claimed = c->piece_count = c->piece_next = 0;
  return true;
}

// Answers every whole frame of the input.
static bool answer_frames(struct connection *c) {
  size_t at = 0;
  while (c->input_count - at >= 4) {
    int32_t length = load32(c->input + at);
    if (length < 8 || (size_t)length > frame_count_max) {
      fprintf(stderr, "reference: a frame of %d bytes\n", length);
      return false;
    }
    size_t whole = 4 + (size_t)length;
    if (c->input_count - at < whole) {
      if (whole > c->input_capacity) {
        c->input = need(realloc(c->input, whole));
        c->input_capacity = whole;
      }
      break;
    }
    if (!answer(c, c->input + at + 4, (size_t)length)) return false;
    at += whole;
  }
  if (at > 0) {
    c->input_count -= at;
    memmove(c->input, c->input + at, c->input_count);
  }
  return true;
}

// One event of one connection: reads once and answers, or goes on sending what did not fit. False: the connection is over.
static bool step(struct connection *c) {
  if (!c->waits_for_room) {
    ssize_t got = recv(c->socket, c->input + c->input_count, c->input_capacity - c->input_count, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    if (got <= 0) return false;
    c->input_count += (size_t)got;
    if (!answer_frames(c)) return false;
  }
  return flush(c);
}

static void close_connection(struct connection *c) {
  close(c->socket);
  free(c->input), free(c->output.bytes), free(c->pieces), free(c);
}

static void *loop(void *argument) {
  int epoll = (int)(intptr_t)argument;
  struct epoll_event events[64];
  for (;;) {
    int count = epoll_wait(epoll, events, 64, -1);
    if (count < 0 && errno != EINTR) die("epoll_wait");
    for (int i = 0; i < count; i++) {
      struct connection *c = events[i].data.ptr;
      bool waited = c->waits_for_room;
      if (!step(c)) {
        close_connection(c);
      } else if (c->waits_for_room != waited) {
        // Nothing more is read from a client that does not take its answers.
        struct epoll_event event = {.events = c->waits_for_room ? EPOLLOUT : EPOLLIN, .data.ptr = c};
        if (epoll_ctl(epoll, EPOLL_CTL_MOD, c->socket, &event)) die("epoll_ctl");
      }
    }
  }
  return NULL;
}

static int listen_somewhere(void) {
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t count = sizeof address;
  if (listener < 0 || bind(listener, (struct sockaddr *)&address, count) || listen(listener, 128)) die("listen");
  if (getsockname(listener, (struct sockaddr *)&address, &count)) die("getsockname");
  listen_port = ntohs(address.sin_port);
  return listener;
}

int main(int argument_count, char **arguments) {
  if (argument_count < 2 || argument_count > 3) {
    fprintf(stderr, "usage: reference DIRECTORY [THREADS]\n");
    return 64;
  }
  long thread_count = argument_count == 3 ? atol(arguments[2]) : sysconf(_SC_NPROCESSORS_ONLN);
  if (thread_count < 1 || thread_count > 256) {
    fprintf(stderr, "reference: between 1 and 256 threads are possible\n");
    return 64;
  }
  use_directory(arguments[1]);
  signal(SIGPIPE, SIG_IGN);
  int epolls[256];
  for (long i = 0; i < thread_count; i++) {
    pthread_t thread;
    epolls[i] = epoll_create1(EPOLL_CLOEXEC);
    if (epolls[i] < 0) die("epoll_create1");
    if ((errno = pthread_create(&thread, NULL, loop, (void *)(intptr_t)epolls[i]))) die("pthread_create");
  }
  int listener = listen_somewhere();
  printf("reference ready listen=127.0.0.1:%d\n", listen_port);
  fflush(stdout);
  for (long turn = 0;; turn++) {
    int accepted = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
    if (accepted < 0) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      die("accept4");
    }
    setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct connection *c = need(calloc(1, sizeof *c));
    c->socket = accepted;
    c->input_capacity = input_capacity;
    c->input = need(malloc(input_capacity));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(epolls[turn % thread_count], EPOLL_CTL_ADD, accepted, &event)) die("epoll_ctl");
  }
}
