/*
 * The answer to a query, as it is put together: one MessagePack value of maps and arrays whose members need
 * not be counted beforehand. Short of memory, what follows is dropped and answer_take says so. Not
 * thread-safe.
 */
#ifndef PMAPD_ANSWER_H
#define PMAPD_ANSWER_H

#include <msgpack.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ANSWER_DEPTH = 4 };

struct answer {
    msgpack_sbuffer buffer;
    msgpack_packer packer;
    bool failed;
    unsigned depth; /* maps and arrays that are open */
    struct {
        size_t at; /* where its count stands */
        uint32_t count;
    } open[ANSWER_DEPTH];
};

void answer_init(struct answer *a);

/* The bytes, from malloc; all that was opened must be closed. Returns 0 or -ENOMEM. Ends *a. */
int answer_take(struct answer *a, char **data, size_t *size);

/* Ends *a without it. */
void answer_drop(struct answer *a);

/* key: NULL for a member of an array, or for the whole answer. All that follows until answer_close is in it.
 */
void answer_map(struct answer *a, const char *key);
void answer_array(struct answer *a, const char *key);
void answer_close(struct answer *a);

void answer_text(struct answer *a, const char *key, const char *text);
void answer_count(struct answer *a, const char *key, uint64_t value);
void answer_number(struct answer *a, const char *key, int64_t value);
void answer_real(struct answer *a, const char *key, double value);
void answer_seconds(struct answer *a, const char *key, int64_t ns);
void answer_flag(struct answer *a, const char *key, bool value);

/* Has it become so large that an array should end? There is room for a map or two of what comes behind. */
bool answer_is_full(const struct answer *a);

#endif
