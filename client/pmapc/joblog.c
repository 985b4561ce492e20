/*
 * The job log; see joblog.h.
 */
#include "client/pmapc/joblog.h"

#include "client/pmapc/pmapc.h"
#include "client/pmapc/tell.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char header[] = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n";

enum { FIELD_EXIT = 6, FIELD_SIGNAL = 7, RANGES_MOST = 4096 };
/* What is over this was not written by us, and would take a bit each below it. */
#define NUMBER_MOST (UINT64_C(1) << 32)

/*** Reading ***/

/* A bit for each index: is it done? */
struct bits {
    uint64_t *words;
    size_t count; /* of words */
};

static bool bits_put(struct bits *bits, uint64_t index, bool value)
{
    size_t word = (size_t)(index / 64);
    if (word >= bits->count) {
        if (!value)
            return true;
        size_t count = word < 64 ? 64 : 2 * word;
        uint64_t *words = realloc(bits->words, count * sizeof *words);
        if (!words)
            return false;
        memset(words + bits->count, 0, (count - bits->count) * sizeof *words);
        bits->words = words;
        bits->count = count;
    }
    uint64_t bit = UINT64_C(1) << (index % 64);
    bits->words[word] = value ? bits->words[word] | bit : bits->words[word] & ~bit;
    return true;
}

/* A field of a line as a whole number, at least 0; -1 when it is none. */
static int64_t field_number(const char *line, int field)
{
    for (; field > 0; field--) {
        line = strchr(line, '\t');
        if (!line)
            return -1;
        line++;
    }
    char *end;
    errno = 0;
    int64_t value = strtoll(line, &end, 10);
    return end == line || (*end != '\t' && *end != '\0') || value < 0 || errno != 0 ? -1 : value;
}

static int bad_log(const struct joblog *log, uintmax_t line, const char *what)
{
    tell("--joblog: %s, line %ju: %s", log->name, line, what);
    return STATUS_USAGE;
}

static int out_of_memory(void)
{
    tell("out of memory");
    return STATUS_FAILED;
}

static int read_line(const struct joblog *log, uintmax_t number, const char *line, bool failed_too,
                     struct bits *done)
{
    int64_t item = field_number(line, 0);
    if (item < 1 || (uint64_t)item > NUMBER_MOST)
        return bad_log(log, number, "does not begin with an item's number");
    /* parallel tells of a timeout with an exit value of -1. */
    bool went_well = field_number(line, FIELD_EXIT) == 0 && field_number(line, FIELD_SIGNAL) == 0;
    return bits_put(done, (uint64_t)item - 1, !failed_too || went_well) ? 0 : out_of_memory();
}

/* Reads all lines; *end is where the last whole one ends. */
static int read_lines(const struct joblog *log, FILE *file, bool failed_too, struct bits *done, off_t *end)
{
    char *line = NULL;
    size_t room = 0;
    uintmax_t number = 0;
    int status = 0;
    ssize_t len;
    while (status == 0 && (len = getline(&line, &room, file)) > 0) {
        if (line[len - 1] != '\n')
            break; /* the program was killed while it wrote this one */
        number++;
        *end += len;
        line[len - 1] = '\0';
        if (number == 1 && strncmp(line, "Seq\t", 4) != 0)
            status = bad_log(log, number, "is not the header of a job log");
        else if (number > 1)
            status = read_line(log, number, line, failed_too, done);
    }
    if (status == 0 && ferror(file)) {
        tell("cannot read %s: %s", log->name, tell_errno(errno));
        status = STATUS_USAGE;
    }
    free(line);
    return status;
}

static bool is_done(const struct bits *bits, uint64_t index)
{
    return bits->words[index / 64] >> (index % 64) & 1;
}

static int make_ranges(struct joblog *log, const struct bits *bits)
{
    uint64_t end = 64 * (uint64_t)bits->count;
    log->done = malloc(RANGES_MOST * sizeof *log->done);
    if (!log->done)
        return out_of_memory();
    for (uint64_t i = 0; i < end;) {
        if (!is_done(bits, i)) {
            i += i % 64 == 0 && bits->words[i / 64] == 0 ? 64 : 1;
            continue;
        }
        uint64_t from = i;
        while (i < end && is_done(bits, i))
            i++;
        if (log->done_count == RANGES_MOST) {
            tell("--resume: %s has more than %d gaps; run the items that are missing as a job of their own",
                 log->name, RANGES_MOST);
            return STATUS_USAGE;
        }
        log->done[log->done_count++] = (struct pmap_range){from, i};
    }
    return 0;
}

static int read_log(struct joblog *log, bool failed_too, off_t *end)
{
    struct bits bits = {0};
    int fd = dup(log->fd);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
    if (!file) {
        tell("cannot read %s: %s", log->name, tell_errno(errno));
        if (fd >= 0)
            close(fd);
        return STATUS_USAGE;
    }
    int status = read_lines(log, file, failed_too, &bits, end);
    fclose(file);
    if (status == 0)
        status = make_ranges(log, &bits);
    free(bits.words);
    return status;
}

int joblog_read(struct joblog *log, const char *name, enum joblog_mode mode)
{
    off_t end = 0;
    *log = (struct joblog){.name = name};
    log->fd = mode == JOBLOG_NEW ? -1 : open(name, O_RDONLY | O_CLOEXEC);
    if (mode == JOBLOG_NEW || (log->fd < 0 && errno == ENOENT))
        return 0;
    if (log->fd < 0) {
        tell("cannot read %s: %s", name, tell_errno(errno));
        return STATUS_USAGE;
    }
    return read_log(log, mode == JOBLOG_RESUME_FAILED, &end);
}

/*** Writing ***/

static int cannot_write(const struct joblog *log, int error)
{
    tell("--joblog: cannot write to %s: %s", log->name, tell_errno(error));
    return STATUS_USAGE;
}

int joblog_open(struct joblog *log, const char *name, enum joblog_mode mode)
{
    int flags = O_RDWR | O_CREAT | O_CLOEXEC | (mode == JOBLOG_NEW ? O_TRUNC : 0);
    off_t end = 0;
    *log = (struct joblog){.name = name};
    log->fd = open(name, flags, 0666);
    if (log->fd < 0)
        return cannot_write(log, errno);
    int status = mode == JOBLOG_NEW ? 0 : read_log(log, mode == JOBLOG_RESUME_FAILED, &end);
    if (status != 0)
        return status;
    if (mode != JOBLOG_NEW && (ftruncate(log->fd, end) < 0 || lseek(log->fd, end, SEEK_SET) < 0))
        return cannot_write(log, errno);
    if (writer_init(&log->writer, log->fd, 0) < 0)
        return out_of_memory();
    if (end == 0)
        writer_put(&log->writer, header, sizeof header - 1);
    int rc = writer_flush(&log->writer);
    return rc < 0 ? cannot_write(log, rc) : 0;
}

void joblog_close(struct joblog *log)
{
    writer_free(&log->writer);
    if (log->fd >= 0)
        close(log->fd);
    log->fd = -1;
    free(log->done);
    log->done = NULL;
    log->done_count = 0;
}

int joblog_add(struct joblog *log, const struct joblog_entry *entry)
{
    char line[160];
    int len = snprintf(line, sizeof line, "%" PRIu64 "\t:\t%.3f\t%10.3f\t%" PRIu64 "\t%" PRIu64 "\t%d\t%d\t",
                       entry->number, entry->started_s, entry->took_s, entry->sent, entry->received,
                       entry->exit_code, entry->signal);
    writer_put(&log->writer, line, (size_t)len);
    /* Newlines would be lines of the log; parallel writes NUL for them, too. */
    const char *at = entry->command, *end = at + entry->command_len;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *to = newline ? newline : end;
        writer_put(&log->writer, at, (size_t)(to - at));
        if (newline)
            writer_put_byte(&log->writer, '\0');
        at = newline ? newline + 1 : end;
    }
    return writer_put_byte(&log->writer, '\n');
}

int joblog_flush(struct joblog *log)
{
    return writer_flush(&log->writer);
}
