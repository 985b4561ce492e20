/*
 * --dry-run; see dryrun.h.
 */
#include "client/pmapc/dryrun.h"

#include "client/pmapc/pmapc.h"
#include "client/pmapc/tell.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

/* Prints the items that are at hand. Returns 0, or what items_next said. */
static int print_items(struct items *items, const struct output_options *options, struct writer *writer)
{
    struct grow line = {0};
    const char *data;
    size_t len;
    int rc;
    while ((rc = items_next(items, &data, &len)) > 0) {
        grow_clear(&line);
        if (!shown_add(options->shown, data, len, items_index(items) + 1, &line)) {
            rc = -ENOMEM;
            break;
        }
        writer_put(writer, line.data, line.len);
        writer_put_byte(writer, (char)options->end_of_result);
    }
    grow_free(&line);
    return rc;
}

int dry_run(struct items *items, const struct stream_options *options)
{
    struct writer writer;
    if (writer_init(&writer, STDOUT_FILENO, 0) < 0) {
        tell("out of memory");
        return STATUS_FAILED;
    }
    int rc = 0;
    for (;;) {
        rc = print_items(items, &options->output, &writer);
        if (rc == 0)
            rc = writer_flush(&writer);
        if (rc < 0 || items_finished(items))
            break;
        struct pollfd fd = {.fd = items->reader->fd, .events = POLLIN};
        rc = reader_fill(items->reader);
        if (rc == -EAGAIN)
            poll(&fd, 1, -1);
        else if (rc < 0 && rc != -EINTR)
            break;
    }
    int status = STATUS_DONE;
    if (writer.error == -EPIPE)
        tell_sigpipe();
    if (writer.error < 0) {
        tell("cannot write to stdout: %s", tell_errno(writer.error));
        status = STATUS_FAILED;
    } else if (rc < 0) {
        status = items_broke(items, options->input_name, rc);
    }
    writer_free(&writer);
    return status;
}
