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

/* A report of job 42. */
struct job_report report_of(uint64_t items, uint64_t failed);

#endif
