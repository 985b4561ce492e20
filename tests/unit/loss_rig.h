/*
 * What tests of libpmap over the loss of its daemon share: the client's part, and parts of scripts (fake.h).
 */
#ifndef LOSS_RIG_H
#define LOSS_RIG_H

#include "common/batch.h"
#include "tests/unit/fake.h"
#include "tests/unit/pmap_rig.h"

/* A daemon that runs the script, and a connection to it that lasts so long. */
struct fake *start(fake_script *script, int reconnect_ms, pmap **pool);
void stop(struct fake *fake, pmap *pool);

/* A job whose items are the characters of `items`; with `end` they are all. */
pmap_job *open_job(pmap *pool, const struct pmap_job_options *options, const char *items, bool end);
/* The next result, of which `error` is a part of its error; NULL: it has not failed. */
void assert_result(pmap_job *job, uint64_t index, const char *text, int more, const char *error);
/* The job has nothing more, and has ended so. */
void assert_end(pmap_job *job, enum pmap_taken end);
/* The daemon goes, and the library sees it. */
void lose(struct fake *fake, pmap *pool);

/*** For scripts ***/

/* Answers the next PING. */
bool pong(struct fake *fake);
/* Gives the results "0", "1" … of [first, first + count), the last of them with the report where `done`. */
void answer(struct fake *fake, uint64_t ref, uint64_t first, unsigned count, bool done);
/* An OPEN with these items from `first` on, whole; *ref: its number. False: it is another one. */
bool opens(struct fake *fake, uint64_t first, const char *items, uint64_t *ref);
/* ERROR with that code, of the job or (NULL) of the session. */
void refuse(struct fake *fake, const uint64_t *ref, unsigned code);
/* The daemon dies when the client has got what it was told, and another one comes up. */
bool another(struct fake *fake);

#endif
