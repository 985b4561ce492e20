/*
 * What pmapc scale has found out; see scaling.h.
 */
#include "client/pmapc/scaling.h"

#include "client/pmapc/grow.h"
#include "client/pmapc/json.h"
#include "client/pmapc/plot.h"
#include "client/pmapc/pmapc.h"
#include "client/pmapc/svg.h"
#include "client/pmapc/tell.h"
#include "client/pmapc/timing.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define OTHERS_MATTER 0.05 /* slots */
#define SHORT_S       2e-3 /* a job below that is mostly the way there and back */

enum { COLUMNS = 80, FILE_MODE = 0666 };

static const char *plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

/*** For people ***/

static void print_table(const struct scaling *s)
{
    printf("%s: %zu item%s, the shortest of %u run%s", s->function, s->items, plural(s->items), s->runs,
           plural(s->runs));
    if (s->loops > 1)
        printf(" of %llu jobs each", (unsigned long long)s->loops);
    printf("\n\nslots        time  speed-up  efficiency  serial\n");
    for (size_t i = 0; i < s->amdahl.count; i++) {
        const struct amdahl_point *point = &s->amdahl.points[i];
        char time[TIMING_ROOM], serial[16] = "     -";
        if (point->slots > 1)
            snprintf(serial, sizeof serial, "%6.3f", point->serial);
        /* ASCII: printf counts bytes, not columns. */
        printf("%5u  %10s  %8.2f  %10.2f  %s\n", point->slots, timing_text(point->time_s, false, time),
               point->speedup, point->efficiency, serial);
    }
    putchar('\n');
}

/* What the fraction that fits means. */
static void print_meaning(const struct amdahl *amdahl)
{
    double f = amdahl->serial;
    printf("serial fraction: %.3f, the f of Amdahl's law 1/S = f + (1-f)/n (least squares)\n  ", f);
    if (f >= 1)
        puts("more slots make it slower");
    else if (f < 0)
        puts("it gains more than the slots account for, by caches or by chance");
    else if (f < 0.0005)
        puts("nothing of it stands in the way of more slots");
    else
        printf("%.1f %% of the time with one slot is not shared: at most %.*f times as fast\n", f * 100,
               f > 0.1 ? 1 : 0, 1 / f);
}

static unsigned terminal_columns(void)
{
    struct winsize size;
    const char *columns = getenv("COLUMNS");
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    unsigned long set = columns ? strtoul(columns, NULL, 10) : 0;
    return set > 0 && set <= UINT16_MAX ? (unsigned)set : COLUMNS;
}

static void tell_doubts(const struct scaling *s)
{
    if (s->slots == 1)
        tell("scale: the pool has one slot only: there is nothing to compare");
    else if (!s->amdahl.fits)
        tell("scale: with one slot only there is nothing to compare");
    if (s->others >= OTHERS_MATTER)
        tell("scale: others used %.1f of the pool's %u slot%s meanwhile: without them it may scale better",
             s->others, s->slots, plural(s->slots));
    if (s->amdahl.fits && s->amdahl.points[0].time_s < SHORT_S)
        tell("scale: a job this short is mostly the way to the daemon and back; more items say more");
}

int scaling_print(const struct scaling *s, bool quiet)
{
    int status = STATUS_DONE;
    print_table(s);
    if (s->amdahl.fits) {
        print_meaning(&s->amdahl);
        printf("recommended: %u slot%s, the most with an efficiency of at least %g\n\n",
               s->amdahl.recommended, plural(s->amdahl.recommended), AMDAHL_WORTH);
        struct grow plot = {.data = NULL};
        if (plot_draw(&s->amdahl, terminal_columns(), tell_utf8(), &plot)) {
            fwrite(plot.data, 1, plot.len, stdout);
        } else {
            tell("out of memory");
            status = STATUS_FAILED;
        }
        grow_free(&plot);
    }
    int finished = tell_finish();
    if (!quiet)
        tell_doubts(s);
    return status != STATUS_DONE ? status : finished;
}

/*** JSON ***/

static json_t *point_json(const struct scaling *s, size_t index)
{
    const struct amdahl_point *point = &s->amdahl.points[index];
    json_t *object = json_object(), *all = json_array();
    for (unsigned run = 0; run < s->runs; run++)
        json_array_append_new(all, json_real(s->runs_s[index * s->runs + run]));
    json_object_set_new(object, "slots", json_of_unsigned(point->slots));
    json_object_set_new(object, "time_s", json_real(point->time_s));
    json_object_set_new(object, "speedup", json_real(point->speedup));
    json_object_set_new(object, "efficiency", json_real(point->efficiency));
    json_object_set_new(object, "serial", point->slots > 1 ? json_real(point->serial) : json_null());
    json_object_set_new(object, "all_s", all);
    return object;
}

int scaling_print_json(const struct scaling *s)
{
    json_t *object = json_object(), *points = json_array();
    for (size_t i = 0; i < s->amdahl.count; i++)
        json_array_append_new(points, point_json(s, i));
    json_object_set_new(object, "function", json_of_text(s->function, strlen(s->function)));
    json_object_set_new(object, "items", json_of_unsigned(s->items));
    json_object_set_new(object, "loops", json_of_unsigned(s->loops));
    json_object_set_new(object, "runs", json_of_unsigned(s->runs));
    json_object_set_new(object, "slots", json_of_unsigned(s->slots));
    json_object_set_new(object, "others", s->others >= 0 ? json_real(s->others) : json_null());
    json_object_set_new(object, "points", points);
    json_object_set_new(object, "serial_fraction",
                        s->amdahl.fits ? json_real(s->amdahl.serial) : json_null());
    json_object_set_new(object, "recommended", json_of_unsigned(s->amdahl.recommended));
    int status = json_print(object, stdout, JSON_INDENT(2));
    int finished = tell_finish();
    return status != STATUS_DONE ? status : finished;
}

/*** The picture ***/

static int cannot(const struct scaling_file *file, const char *what, int error)
{
    tell("--svg: cannot %s %s: %s", what, file->name, tell_errno(error));
    return STATUS_USAGE;
}

int scaling_open(struct scaling_file *file, const char *name)
{
    *file = (struct scaling_file){.name = name, .fd = -1};
    if (!name)
        return 0;
    file->fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
    file->made = file->fd >= 0;
    if (file->fd < 0 && errno == EEXIST)
        file->fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, FILE_MODE);
    return file->fd < 0 ? cannot(file, "open", errno) : 0;
}

/* Puts all of it there. Returns 0 or a negative errno. */
static int put(const struct scaling_file *file, const char *data, size_t len)
{
    if (ftruncate(file->fd, 0) < 0 && errno != EINVAL) /* a pipe has nothing to be cut */
        return -errno;
    while (len > 0) {
        ssize_t n = write(file->fd, data, len);
        if (n < 0 && errno != EINTR)
            return -errno;
        data += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static void add_subtitle(const struct scaling *s, struct grow *out)
{
    grow_format(out, "%zu item%s, shortest of %u run%s, pool of %u slot%s", s->items, plural(s->items),
                s->runs, plural(s->runs), s->slots, plural(s->slots));
    if (s->amdahl.fits)
        grow_format(out, ", serial fraction %.3f", s->amdahl.serial);
    grow_byte(out, '\0');
}

int scaling_save(struct scaling_file *file, const struct scaling *s)
{
    if (!file->name)
        return STATUS_DONE;
    struct grow subtitle = {.data = NULL}, picture = {.data = NULL};
    int rc = -ENOMEM;
    add_subtitle(s, &subtitle);
    if (!subtitle.failed && svg_draw(&s->amdahl, s->function, subtitle.data, &picture)) {
        file->made = false; /* from here on there may be something in it */
        rc = put(file, picture.data, picture.len);
    }
    grow_free(&subtitle);
    grow_free(&picture);
    if (rc < 0) {
        cannot(file, "write", rc);
        return STATUS_FAILED;
    }
    return STATUS_DONE;
}

void scaling_close(struct scaling_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    if (file->made)
        unlink(file->name);
    *file = (struct scaling_file){.fd = -1};
}
