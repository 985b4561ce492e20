/*
 * What tests of libpmap share: how they connect to a fake daemon (fake.h), and what they look at.
 */
#ifndef PMAP_RIG_H
#define PMAP_RIG_H

#include "client/libpmap/pmap.h"
#include "common/protocol.h"

#include <stdint.h>

/* Milliseconds for what happens in any case. */
enum { LONG_MS = 10000 };

/* pmap_connect, as a program "test_pmap" that gives up after so long. */
int connect_to(const char *endpoint, int timeout_ms, pmap **pool);

/* The last error of the pool has these words in it. */
void assert_says(const pmap *pool, const char *words);

/* The job's next result, which must be of this item, have these bytes, and be a piece before others or not.
 */
pmap_result take_result(pmap_job *job, uint64_t index, const char *text, int more);

/* A report of job 42. */
struct job_report report_of(uint64_t items, uint64_t failed);

#endif
