/*
 * Numbers in few columns, for tables: at most UNITS_WIDTH characters each, ASCII. NAN is "-". Pure and
 * thread-safe. All put a NUL-terminated text into out, and return out.
 */
#ifndef PMAPC_TOP_UNITS_H
#define PMAPC_TOP_UNITS_H

enum { UNITS_ROOM = 24, UNITS_WIDTH = 7 };

/* A count or a rate: "0.25", "812", "12.3k", "4.5M". */
const char *units_count(double count, char out[UNITS_ROOM]);

/* Bytes: "812", "12.3K", "4.5M", in powers of 1024. */
const char *units_bytes(double bytes, char out[UNITS_ROOM]);

/* A time: "8ms", "1.2s", "59.9s", "12:34", "1:23:45", "12h34m", "12d03h", "1234d". */
const char *units_seconds(double seconds, char out[UNITS_ROOM]);

/* With one or two digits behind the point where they say something: "0.25", "12", "1.50". */
const char *units_real(double value, char out[UNITS_ROOM]);

#endif
