/*
 * An INI file, read strictly: sections and their `key = value` lines with line numbers, in the order of the
 * file. The splitting is libini_config's. What it would take in silence or refuse without a line number
 * (lines without form, other encodings, control characters, a section given twice) is found before it sees
 * the text. What sections, keys and values mean is the caller's business.
 *
 * Form: a line is blank, a comment (its first character that is no blank is '#' or ';'), [section] or key =
 * value. Indentation means nothing; a value never goes on in the next line. At most 4096 bytes a line, 256
 * KiB in all, UTF-8.
 */
#ifndef PMAPD_INIFILE_H
#define PMAPD_INIFILE_H

#include <stddef.h>

struct inifile_entry {
    unsigned line;
    char *key;
    char *value; /* without blanks around it; may be empty */
};

struct inifile_section {
    unsigned line;
    char *name; /* without blanks around it */
    struct inifile_entry *entries;
    size_t entry_count;
};

struct inifile {
    struct inifile_section *sections;
    size_t section_count;
};

/*
 * error: at least error_size bytes, set on failure to one line, "PATH:LINE: what".
 * Returns 0, a negative errno of open(2) or read(2), -EINVAL (the text is at fault), -ENOMEM. Free with
 * inifile_free.
 */
int inifile_read(const char *path, char *error, size_t error_size, struct inifile *out);

void inifile_free(struct inifile *file);

/* Writes "PATH:LINE: " (no line where line is 0) and the message into error; returns -EINVAL, so that it can
 * be returned. */
int inifile_complain(char *error, size_t error_size, const char *path, unsigned line, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

#endif
