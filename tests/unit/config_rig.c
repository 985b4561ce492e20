/* See config_rig.h. */
#include "tests/unit/config_rig.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

char rig_error[CONFIG_ERROR_MAX];

int rig_read(const char *bytes, size_t size, struct config *c)
{
    char path[64];
    int rc, fd = memfd_create("pmapd.conf", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    memset(rig_error, 0, sizeof(rig_error));
    rc = config_read(path, c, rig_error);
    close(fd);
    if (rc == 0) {
        assert_string_equal(rig_error, "");
        return 0;
    }
    assert_memory_equal(rig_error, path, strlen(path));
    assert_int_equal(rig_error[strlen(path)], ':');
    memmove(rig_error, rig_error + strlen(path) + 1, strlen(rig_error) - strlen(path));
    return rc;
}

int rig_read_text(const char *text, struct config *c)
{
    return rig_read(text, strlen(text), c);
}

void rig_assert_limits(struct limits a, struct limits b)
{
    assert_int_equal(a.weight, b.weight);
    assert_int_equal(a.slots, b.slots);
    assert_int_equal(a.jobs, b.jobs);
    assert_int_equal(a.connections, b.connections);
    assert_int_equal(a.queued_bytes, b.queued_bytes);
    assert_int_equal(a.spool, b.spool);
    assert_int_equal(a.memory, b.memory);
    assert_int_equal(a.pids, b.pids);
}

/* Are two configurations without sections the same? */
char *rig_installed(void)
{
    FILE *f = fopen(PMAPD_CONF, "re");
    char *text = calloc(1, 65536);

    assert_non_null(f);
    assert_non_null(text);
    assert_in_range(fread(text, 1, 65535, f), 1, 65534);
    fclose(f);
    return text;
}

int rig_uncomment(char *text)
{
    int count = 0;

    for (char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (line[0] == '#' && islower((unsigned char)line[1])) {
            line[0] = ' ';
            count++;
        }
    }
    return count;
}
