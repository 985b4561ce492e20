/*
 * Writes BYTES bytes of lines that look like a text (words of letters, lines of 0 to 80 bytes, one in
 * thirteen empty) to stdout, as fast as a pipe takes them, and their number to stderr as JSON. The last byte
 * is a newline.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 1 << 20 };

/* xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators"): the same text every
 * time. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717U;
}

static void fill(char *block, size_t size)
{
    uint64_t state = 88172645463325252U;
    size_t at = 0;
    while (at < size) {
        uint64_t random = next_random(&state) >> 16;
        size_t length = random % 13 == 0 ? 0 : random / 13 % 81;
        for (size_t i = 0; i < length && at < size; i++) {
            random = next_random(&state) >> 32;
            block[at++] = random % 6 == 0 ? ' ' : (char)('a' + random / 6 % 26);
        }
        if (at < size) {
            block[at++] = '\n';
        }
    }
    block[size - 1] = '\n';
}

static uint64_t count_lines(const char *bytes, size_t size)
{
    uint64_t lines = 0;
    for (const char *end = bytes + size; (bytes = memchr(bytes, '\n', (size_t)(end - bytes))); bytes++) {
        lines++;
    }
    return lines;
}

/* Returns 0, or a negative errno. */
static int write_all(const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t written = write(STDOUT_FILENO, bytes, size);
        if (written < 0 && errno != EINTR) {
            return -errno;
        }
        if (written > 0) {
            bytes += written;
            size -= (size_t)written;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    char *end = NULL;
    errno = 0;
    long long total = argc == 2 ? strtoll(argv[1], &end, 10) : -1;
    if (argc != 2 || errno || *end || end == argv[1] || total < 0) {
        fputs("usage: lines BYTES\n", stderr);
        return 2;
    }
    char *block = malloc(BLOCK);
    if (!block) {
        perror("lines");
        return 1;
    }
    fill(block, BLOCK);
    uint64_t lines_in_block = count_lines(block, BLOCK);
    uint64_t lines = 0;
    int rc = 0;
    for (long long left = total; left > 0 && rc == 0;) {
        size_t size = left < BLOCK ? (size_t)left : BLOCK;
        if (size < BLOCK) {
            block[size - 1] = '\n';
        }
        lines += size < BLOCK ? count_lines(block, size) : lines_in_block;
        left -= (long long)size;
        rc = write_all(block, size);
    }
    free(block);
    if (rc < 0) {
        fprintf(stderr, "lines: %s\n", strerror(-rc));
        return 1;
    }
    fprintf(stderr, "{\"bytes\": %lld, \"lines\": %" PRIu64 "}\n", total, lines);
    return 0;
}
