/*
 * Reads an INI file through libini_config (ding-libs 0.6), after a look at each line of our own. Tried, and
 * the reason for that look: the library compares names without case, merges sections given twice, drops what
 * follows a NUL, converts UTF-16, takes control characters, and says EINVAL without a line for '!' in a name
 * and EILSEQ for Latin-1.
 */
#include "daemon/common/inifile.h"

#include "common/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <ini_configobj.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * NAME_LENGTH_MAX: the library takes 1023 bytes; less is enough for "group " and any name. The two numbers:
 * its time grows with their squares (tried: 29000 sections take 42 s, 4096 take 1 s).
 */
enum {
    FILE_SIZE_MAX = 256 << 10,
    LINE_LENGTH_MAX = 4096,
    NAME_LENGTH_MAX = 512,
    SECTION_NUMBER_MAX = 4096,
    KEY_NUMBER_MAX = 256,
};

/* What one reading needs everywhere. */
struct reading {
    const char *path;
    char *error;
    size_t error_size;
    struct inifile file; /* as far as it is known */
    size_t key_number;   /* of the last section, so far */
};

#define COMPLAIN(r, line, ...) inifile_complain((r)->error, (r)->error_size, (r)->path, line, __VA_ARGS__)

int inifile_complain(char *error, size_t error_size, const char *path, unsigned line, const char *format, ...)
{
    char what[512];
    va_list args;

    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    /* The path's beginning is cut rather than the message. */
    if (strlen(path) > 200)
        path += strlen(path) - 200;
    if (line > 0)
        snprintf(error, error_size, "%s:%u: %s", path, line, what);
    else
        snprintf(error, error_size, "%s: %s", path, what);
    return -EINVAL;
}

/* For a failure that is not the text's; returns rc. */
static int fail(struct reading *r, int rc)
{
    COMPLAIN(r, 0, "%s", strerror(-rc));
    return rc;
}

/* Reads what fd gives, at most FILE_SIZE_MAX bytes, into text, a NUL behind it. */
static int read_all(struct reading *r, int fd, char *text, size_t *length)
{
    size_t used = 0;

    for (;;) {
        ssize_t n = read(fd, text + used, FILE_SIZE_MAX + 1 - used);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(r, -errno);
        used += (size_t)n;
        if (used > FILE_SIZE_MAX)
            return COMPLAIN(r, 0, "larger than %d bytes", FILE_SIZE_MAX);
        if (n == 0)
            break;
    }
    text[used] = '\0';
    *length = used;
    return 0;
}

/* The file's text, to be freed, a NUL behind it. */
static int load(struct reading *r, char **text, size_t *length)
{
    struct stat st;
    char *room = NULL;
    int rc;
    /* O_NONBLOCK: opening a FIFO must not wait for its writer. */
    int fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0)
        return fail(r, -errno);
    if (fstat(fd, &st) < 0)
        rc = fail(r, -errno);
    else if (!S_ISREG(st.st_mode))
        rc = COMPLAIN(r, 0, "not a regular file");
    else if ((room = malloc(FILE_SIZE_MAX + 2)) == NULL)
        rc = fail(r, -ENOMEM);
    else
        rc = read_all(r, fd, room, length);
    close(fd);
    if (rc < 0) {
        free(room);
        return rc;
    }
    *text = room;
    return 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* How much of a text a complaint shows, for "%.*s". */
static int shown(size_t length)
{
    return length > 80 ? 80 : (int)length;
}

/* The length of text[0 … length) without blanks at its end. */
static size_t trimmed(const char *text, size_t length)
{
    while (length > 0 && is_blank(text[length - 1]))
        length--;
    return length;
}

/* Only printable UTF-8 and tabs in a line? */
static int check_bytes(struct reading *r, unsigned number, const char *line, size_t length)
{
    for (size_t i = 0; i < length;) {
        size_t n = utf8_length(line + i, length - i);

        if (n == 0)
            return COMPLAIN(r, number, "byte 0x%02x is not UTF-8", (unsigned char)line[i]);
        if (line[i] == '\0')
            return COMPLAIN(r, number, "NUL byte");
        if (((unsigned char)line[i] < 0x20 && line[i] != '\t') || line[i] == 0x7f)
            return COMPLAIN(r, number, "control character 0x%02x", (unsigned char)line[i]);
        i += n;
    }
    return 0;
}

/* Notes the section that this line, from '[' on, begins. */
static int check_section(struct reading *r, unsigned number, const char *line, size_t length)
{
    struct inifile *f = &r->file;
    struct inifile_section *more;
    const char *name = line + 1;
    size_t size;

    if (length < 2 || line[length - 1] != ']')
        return COMPLAIN(r, number, "'%.*s': a section is a name in [ ], and nothing behind it", shown(length),
                        line);
    size = trimmed(name, length - 2);
    while (size > 0 && is_blank(*name)) {
        name++;
        size--;
    }
    if (size == 0)
        return COMPLAIN(r, number, "a section without a name");
    if (size > NAME_LENGTH_MAX)
        return COMPLAIN(r, number, "the section's name is longer than %d bytes", NAME_LENGTH_MAX);
    for (size_t i = 0; i < size; i++) {
        if (strchr("[]!=", name[i]) != NULL)
            return COMPLAIN(r, number, "'%c' in the name of a section", name[i]);
    }
    for (size_t i = 0; i < f->section_count; i++) {
        const struct inifile_section *s = &f->sections[i];

        if (strncasecmp(s->name, name, size) == 0 && s->name[size] == '\0')
            return COMPLAIN(r, number,
                            "section [%.80s] is in line %u already (capital or small makes no difference)",
                            s->name, s->line);
    }
    if (f->section_count == SECTION_NUMBER_MAX)
        return COMPLAIN(r, number, "more than %d sections", SECTION_NUMBER_MAX);
    more = reallocarray(f->sections, f->section_count + 1, sizeof(*more));
    if (more == NULL)
        return fail(r, -ENOMEM);
    f->sections = more;
    f->sections[f->section_count] = (struct inifile_section){.line = number, .name = strndup(name, size)};
    if (f->sections[f->section_count].name == NULL)
        return fail(r, -ENOMEM);
    f->section_count++;
    r->key_number = 0;
    return 0;
}

/* A line that is neither blank, nor comment, nor section: key = value? */
static int check_entry(struct reading *r, unsigned number, const char *line, size_t length)
{
    const char *equals = memchr(line, '=', length);
    size_t size;

    if (equals == NULL)
        return COMPLAIN(r, number,
                        "'%.*s' is not of the form key = value (a value cannot go on in the next line)",
                        shown(length), line);
    size = trimmed(line, (size_t)(equals - line));
    if (size == 0)
        return COMPLAIN(r, number, "no key before the '='");
    if (size > NAME_LENGTH_MAX)
        return COMPLAIN(r, number, "the key is longer than %d bytes", NAME_LENGTH_MAX);
    for (size_t i = 0; i < size; i++) {
        if (strchr("[]!", line[i]) != NULL)
            return COMPLAIN(r, number, "'%c' in the key '%.*s'", line[i], shown(size), line);
    }
    if (++r->key_number > KEY_NUMBER_MAX)
        return COMPLAIN(r, number, "more than %d keys in a section", KEY_NUMBER_MAX);
    if (r->file.section_count == 0)
        return COMPLAIN(r, number, "key '%.*s' before any section", shown(size), line);
    return 0;
}

/*
 * Checks one line and takes from it, in place, what the library would stumble over: the indentation and
 * comments become blanks at its end. The line is NUL-terminated for the time of the call.
 */
static int check_line(struct reading *r, unsigned number, char *line, size_t length)
{
    size_t indent = 0;
    int rc;

    if (length > LINE_LENGTH_MAX)
        return COMPLAIN(r, number, "the line is longer than %d bytes", LINE_LENGTH_MAX);
    if (length > 0 && line[length - 1] == '\r')
        line[length - 1] = ' '; /* from another system's editor */
    if ((rc = check_bytes(r, number, line, length)) < 0)
        return rc;
    while (indent < length && is_blank(line[indent]))
        indent++;
    memmove(line, line + indent, length - indent);
    memset(line + length - indent, ' ', indent);
    length = trimmed(line, length);
    if (length == 0)
        return 0;
    if (line[0] == '#' || line[0] == ';') {
        memset(line, ' ', length);
        return 0;
    }
    return line[0] == '[' ? check_section(r, number, line, length) : check_entry(r, number, line, length);
}

/* Checks all lines and makes the table of sections, still without entries. */
static int check_text(struct reading *r, char *text, size_t length)
{
    char *line = text, *end = text + length;
    unsigned number = 0;

    if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        memset(text, ' ', 3); /* a byte order mark, which says nothing in UTF-8 */
    while (line < end) {
        char *stop = memchr(line, '\n', (size_t)(end - line));
        int rc;

        if (stop == NULL)
            stop = end;
        *stop = '\0';
        rc = check_line(r, ++number, line, (size_t)(stop - line));
        *stop = stop == end ? '\0' : '\n';
        if (rc < 0)
            return rc;
        line = stop + 1;
    }
    return 0;
}

/* The line of this number (from 1), without the blanks at its end; *length is 0 where there is none. */
static const char *find_line(const char *text, unsigned number, size_t *length)
{
    while (number > 1 && *text != '\0') {
        text += strcspn(text, "\n");
        text += *text == '\n';
        number--;
    }
    *length = trimmed(text, strcspn(text, "\n"));
    return text;
}

/*
 * Turns the library's list of errors ("Error (10) on line 13: Duplicate key is not allowed.") into ours: the
 * one with the lowest line.
 */
static int complain_of_library(struct reading *r, const char *text, struct ini_cfgobj *ini, int rc)
{
    char **errors = NULL;
    const char *first = NULL, *line_text;
    unsigned first_line = 0;
    size_t length;

    if (rc == ENOMEM)
        return fail(r, -ENOMEM);
    if (ini_config_error_count(ini) == 0 || ini_config_get_errors(ini, &errors) != 0)
        return COMPLAIN(r, 0, "libini_config cannot read this: %s", strerror(rc));
    for (char **e = errors; *e != NULL; e++) {
        char *at = strchr(*e, ')');
        unsigned long line = 0;

        if (at != NULL && (at = strpbrk(at, "0123456789")) != NULL)
            line = strtoul(at, &at, 10);
        if (first == NULL || line < first_line) {
            first = line > 0 && strncmp(at, ": ", 2) == 0 ? at + 2 : *e;
            first_line = (unsigned)line;
        }
    }
    line_text = find_line(text, first_line, &length);
    rc = COMPLAIN(r, first_line, "'%.*s': %s", shown(length), line_text,
                  first == NULL ? "libini_config cannot read this" : first);
    ini_config_free_errors(errors);
    return rc;
}

/* Copies one entry out of the library's object. Returns 0 or a positive errno, as the library does. */
static int take_entry(struct ini_cfgobj *ini, const char *section, const char *key,
                      struct inifile_entry *entry)
{
    struct value_obj *value = NULL;
    uint32_t line = 0;
    const char *text;
    int rc = ini_get_config_valueobj(section, key, ini, INI_GET_FIRST_VALUE, &value);

    if (rc == 0 && value == NULL)
        rc = EINVAL;
    if (rc == 0)
        rc = value_get_line(value, &line);
    if (rc != 0)
        return rc;
    text = ini_get_const_string_config_value(value, &rc);
    if (text == NULL)
        return rc != 0 ? rc : EINVAL;
    entry->line = line;
    entry->key = strdup(key);
    entry->value = strdup(text);
    return entry->key == NULL || entry->value == NULL ? ENOMEM : 0;
}

/* Copies the entries of one section out of the library's object, in the order of the file. */
static int take_section(struct ini_cfgobj *ini, struct inifile_section *section)
{
    int size = 0, rc = 0;
    char **keys = ini_get_attribute_list(ini, section->name, &size, &rc);

    if (keys == NULL)
        return rc != 0 ? rc : ENOMEM;
    section->entries = calloc(size > 0 ? (size_t)size : 1, sizeof(*section->entries));
    if (section->entries == NULL)
        rc = ENOMEM;
    for (int i = 0; rc == 0 && i < size; i++) {
        section->entry_count++; /* counted first, so that a half-filled one is freed too */
        rc = take_entry(ini, section->name, keys[i], &section->entries[i]);
    }
    ini_free_attribute_list(keys);
    return rc;
}

/* Has the library split the checked text, and fills the sections. */
static int parse_text(struct reading *r, char *text, size_t length)
{
    struct ini_cfgfile *source = NULL;
    struct ini_cfgobj *ini = NULL;
    int rc = ini_config_file_from_mem(text, (uint32_t)length, &source);

    if (rc == 0)
        rc = ini_config_create(&ini);
    if (rc != 0) {
        COMPLAIN(r, 0, "libini_config: %s", strerror(rc));
    } else if ((rc = ini_config_parse(source, INI_STOP_ON_ANY, INI_MS_ERROR | INI_MV1S_ERROR | INI_MV2S_ERROR,
                                      INI_PARSE_NOWRAP | INI_PARSE_NO_C_COMMENTS, ini)) != 0) {
        rc = -complain_of_library(r, text, ini, rc);
    } else {
        for (size_t i = 0; rc == 0 && i < r->file.section_count; i++)
            rc = take_section(ini, &r->file.sections[i]);
        if (rc != 0)
            COMPLAIN(r, 0, "libini_config: %s", strerror(rc));
    }
    ini_config_destroy(ini);
    ini_config_file_destroy(source);
    return rc == 0 ? 0 : rc == ENOMEM ? -ENOMEM : -EINVAL;
}

int inifile_read(const char *path, char *error, size_t error_size, struct inifile *out)
{
    struct reading r = {.path = path, .error_size = error_size};
    char *text = NULL;
    size_t length = 0;
    int rc;

    r.error = error; /* not above: clang-tidy 14 would ask for a const char * */
    rc = load(&r, &text, &length);
    if (rc == 0)
        rc = check_text(&r, text, length);
    if (rc == 0 && r.file.section_count > 0)
        rc = parse_text(&r, text, length);
    free(text);
    if (rc < 0) {
        inifile_free(&r.file);
        return rc;
    }
    *out = r.file;
    return 0;
}

void inifile_free(struct inifile *file)
{
    if (file == NULL)
        return;
    for (size_t i = 0; i < file->section_count; i++) {
        struct inifile_section *s = &file->sections[i];

        for (size_t k = 0; k < s->entry_count; k++) {
            free(s->entries[k].key);
            free(s->entries[k].value);
        }
        free(s->entries);
        free(s->name);
    }
    free(file->sections);
    *file = (struct inifile){0};
}
