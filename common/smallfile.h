/*
 * The kernel's small files, in /proc and in control groups: read whole, as text. Pure, thread-safe.
 */
#ifndef PMAP_SMALLFILE_H
#define PMAP_SMALLFILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Reads the file `path`, which is below the open folder if it does not begin with '/' (AT_FDCWD: the working
 * directory), as a string: `size` bytes of room with its NUL. Returns its length; -EFBIG where there is more
 * of it than has room, whose beginning is then there; or another negative errno, and "".
 */
ssize_t smallfile_read(int folder, const char *path, char *room, size_t size);

/* What follows `name` at the beginning of a line of the text; NULL: no line begins so. */
const char *smallfile_line(const char *text, const char *name);

/* The number in such a line behind `name` and blanks; UINT64_MAX: there is none. */
uint64_t smallfile_number(const char *text, const char *name);

/*
 * Writes the text, at once, to a file that is there: below the folder, as above. Returns 0 or a negative
 * errno.
 */
int smallfile_write(int folder, const char *path, const char *text);

#endif
