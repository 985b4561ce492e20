/*
 * The thread that talks to the daemon; see feed.h.
 */
#include "client/pmapc/top/feed.h"

#include "client/pmapc/connect.h"
#include "client/pmapc/figures.h"
#include "client/pmapc/tell.h"
#include "common/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum {
    ANSWER_MS = 1000,
    AGAIN_MS = 1000, /* between two attempts at a daemon that is gone */
    STOP_MS = 200,
};

struct feed {
    const struct globals *globals;
    int64_t interval_ns;
    pthread_t thread;
    int fd; /* an eventfd: there is news */
    /* The thread's alone. */
    pmap *pool; /* NULL: there is none now */
    /* Under the lock: */
    pthread_mutex_t lock;
    pthread_cond_t changed; /* any of the next three; its clock is the monotonic one */
    bool stop, wake, ended;
    uint64_t job; /* to be cancelled; 0: none */
    struct news news;
};

static struct timespec timespec_of(int64_t ns)
{
    return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
}

static int look_at(pmap *pool, enum pane pane, struct sample *sample)
{
    static const char *const questions[PANE_COUNT] = {"status", "slots", "jobs"};
    const void *data = NULL;
    size_t size = 0;
    int rc = pmap_query(pool, questions[pane], ANSWER_MS, &data, &size);
    return rc < 0 ? rc : sample_decode(sample, pane, data, size);
}

/* Here and not where it is drawn: a name may come over the network. */
static void name_owners(struct sample *sample)
{
    for (enum pane pane = 0; pane < PANE_COUNT; pane++)
        for (size_t i = 0; i < sample->pane[pane].count; i++) {
            struct row *row = &sample->pane[pane].row[i];
            snprintf(row->user, sizeof row->user, "%s", figures_user(row->uid));
        }
}

int feed_look(pmap *pool, struct sample **out)
{
    struct sample *sample = sample_new((uint32_t)geteuid());
    if (!sample)
        return -ENOMEM;
    sample->instance = pmap_get_info(pool)->instance;
    int rc = look_at(pool, PANE_USERS, sample);
    sample->taken_ns = now_ns();
    for (enum pane pane = PANE_SLOTS; rc == 0 && pane < PANE_COUNT; pane++) {
        rc = look_at(pool, pane, sample);
        /* A daemon that does not know the question, or is too short of memory for its answer, shows the rest.
         */
        if (rc == -EINVAL || rc == -EBADMSG)
            rc = 0;
    }
    if (rc < 0) {
        sample_free(sample);
        return rc;
    }
    name_owners(sample);
    *out = sample;
    return 0;
}

static void tell_ui(struct feed *feed)
{
    uint64_t one = 1;
    while (write(feed->fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

static void publish_sample(struct feed *feed, struct sample *sample)
{
    pthread_mutex_lock(&feed->lock);
    struct sample *old = feed->news.sample;
    feed->news.sample = sample;
    feed->news.lost = false;
    pthread_mutex_unlock(&feed->lock);
    sample_free(old);
    tell_ui(feed);
}

static void publish_lost(struct feed *feed, const char *why)
{
    pthread_mutex_lock(&feed->lock);
    if (!feed->news.lost)
        feed->news.lost_ns = now_ns();
    feed->news.lost = true;
    snprintf(feed->news.why, sizeof feed->news.why, "%s", why);
    pthread_mutex_unlock(&feed->lock);
    tell_ui(feed);
}

static void publish_message(struct feed *feed, uint64_t job, const char *text)
{
    pthread_mutex_lock(&feed->lock);
    snprintf(feed->news.message, sizeof feed->news.message, "Job %" PRIu64 " %s", job, text);
    pthread_mutex_unlock(&feed->lock);
    tell_ui(feed);
}

/* What a call of libpmap has failed with; the connection is given up where it has ended. */
static void lose(struct feed *feed, int error)
{
    if (error == -ETIMEDOUT) {
        publish_lost(feed, "it does not answer");
        return;
    }
    const char *said = pmap_error(feed->pool);
    publish_lost(feed, *said ? said : tell_errno(error));
    pmap_disconnect(feed->pool);
    feed->pool = NULL;
}

static void cancel(struct feed *feed, uint64_t job)
{
    int rc = feed->pool ? pmap_abort(feed->pool, job, ANSWER_MS) : -ECONNRESET;
    if (rc == 0)
        publish_message(feed, job, "is cancelled.");
    else if (rc == -ENOENT)
        publish_message(feed, job, "is not there any more, or not yours.");
    else
        publish_message(feed, job, "could not be cancelled: the daemon does not answer.");
    if (rc < 0 && rc != -ENOENT && feed->pool)
        lose(feed, rc);
}

static void look(struct feed *feed)
{
    if (!feed->pool) {
        int status = connect_pool(feed->globals, CONNECT_QUIET, &feed->pool);
        if (status != 0) {
            publish_lost(feed, status == STATUS_REFUSED ? "it refuses this user" : "nobody listens");
            return;
        }
    }
    struct sample *sample = NULL;
    int rc = feed_look(feed->pool, &sample);
    if (rc == 0)
        publish_sample(feed, sample);
    else
        lose(feed, rc);
}

static int64_t next_ns(const struct feed *feed, int64_t began_ns)
{
    int64_t interval_ns = feed->interval_ns;
    if (!feed->pool && interval_ns > AGAIN_MS * INT64_C(1000000))
        interval_ns = AGAIN_MS * INT64_C(1000000);
    return began_ns + interval_ns;
}

static void *run(void *cookie)
{
    struct feed *feed = cookie;
    int64_t due_ns = now_ns();
    pthread_mutex_lock(&feed->lock);
    while (!feed->stop) {
        uint64_t job = feed->job;
        bool due = feed->wake || now_ns() >= due_ns;
        if (!due && job == 0) {
            struct timespec until = timespec_of(due_ns);
            pthread_cond_timedwait(&feed->changed, &feed->lock, &until);
            continue;
        }
        feed->job = 0;
        feed->wake = false;
        pthread_mutex_unlock(&feed->lock);
        if (job != 0)
            cancel(feed, job);
        int64_t began_ns = now_ns();
        look(feed);
        due_ns = next_ns(feed, began_ns);
        pthread_mutex_lock(&feed->lock);
    }
    pthread_mutex_unlock(&feed->lock);
    pmap_disconnect(feed->pool);
    pthread_mutex_lock(&feed->lock);
    feed->ended = true;
    pthread_cond_signal(&feed->changed);
    pthread_mutex_unlock(&feed->lock);
    return NULL;
}

static void feed_free(struct feed *feed)
{
    if (feed->fd >= 0)
        close(feed->fd);
    sample_free(feed->news.sample);
    pthread_cond_destroy(&feed->changed);
    pthread_mutex_destroy(&feed->lock);
    free(feed);
}

int feed_start(const struct globals *globals, pmap *pool, double interval_s, struct feed **out)
{
    struct feed *feed = calloc(1, sizeof *feed);
    int rc = -ENOMEM;
    if (feed) {
        *feed = (struct feed){.globals = globals, .interval_ns = (int64_t)(interval_s * 1e9), .pool = pool};
        pthread_mutex_init(&feed->lock, NULL);
        pthread_condattr_t monotonic;
        pthread_condattr_init(&monotonic);
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        pthread_cond_init(&feed->changed, &monotonic);
        pthread_condattr_destroy(&monotonic);
        feed->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        rc = feed->fd < 0 ? -errno : -pthread_create(&feed->thread, NULL, run, feed);
    }
    if (rc == 0) {
        *out = feed;
        return 0;
    }
    pmap_disconnect(pool);
    if (feed)
        feed_free(feed);
    return rc;
}

int feed_fd(const struct feed *feed)
{
    return feed->fd;
}

void feed_take(struct feed *feed, struct news *news)
{
    uint64_t count;
    while (read(feed->fd, &count, sizeof count) < 0 && errno == EINTR)
        ;
    pthread_mutex_lock(&feed->lock);
    *news = feed->news;
    feed->news.sample = NULL;
    feed->news.message[0] = '\0';
    pthread_mutex_unlock(&feed->lock);
}

void feed_wake(struct feed *feed)
{
    pthread_mutex_lock(&feed->lock);
    feed->wake = true;
    pthread_cond_signal(&feed->changed);
    pthread_mutex_unlock(&feed->lock);
}

void feed_cancel(struct feed *feed, uint64_t job)
{
    pthread_mutex_lock(&feed->lock);
    feed->job = job;
    pthread_cond_signal(&feed->changed);
    pthread_mutex_unlock(&feed->lock);
}

bool feed_stop(struct feed *feed)
{
    pthread_mutex_lock(&feed->lock);
    feed->stop = true;
    pthread_cond_signal(&feed->changed);
    struct timespec until = timespec_of(now_ns() + STOP_MS * INT64_C(1000000));
    int rc = 0;
    while (!feed->ended && rc == 0)
        rc = pthread_cond_timedwait(&feed->changed, &feed->lock, &until);
    bool ended = feed->ended;
    pthread_mutex_unlock(&feed->lock);
    if (!ended) {
        pthread_detach(feed->thread);
        return false;
    }
    pthread_join(feed->thread, NULL);
    feed_free(feed);
    return true;
}
