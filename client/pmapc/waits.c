/*
 * What a job's `waits` means; see waits.h. A sentence that is about some items begins with their number.
 */
#include "client/pmapc/waits.h"

#include "client/pmapc/figures.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct sentence {
    const struct waits_facts *facts;
    char waiting[FIGURE_ROOM + 16]; /* "3 items wait" */
    char client[FIGURE_ROOM];       /* " (process 42)", or nothing where it is not known */
    char *out;
    size_t room;
};

static void say(const struct sentence *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(const struct sentence *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(s->out, s->room, format, args);
    va_end(args);
}

static void say_nothing(const struct sentence *s)
{
    if (s->facts->running > 0)
        say(s, "All its items have come, and workers have them: nothing waits.");
    else if (s->facts->finished < s->facts->items)
        say(s, "All its items have been run; the results that are missing are on their way.");
    else
        say(s, "All its items are done; what is left is for its client to read.");
}

static void say_items(const struct sentence *s)
{
    if (s->facts->items == 0)
        say(s, "No item has come yet; its client%s may send some.", s->client);
    else
        say(s, "Workers have all the items that have come; its client%s may send more.", s->client);
}

static void say_chunk(const struct sentence *s)
{
    say(s,
        "%s: fewer than a whole chunk of this job's must have. It is begun when more come, or when its "
        "client%s "
        "has no more.",
        s->waiting, s->client);
}

static void say_turn(const struct sentence *s)
{
    char ahead[FIGURE_ROOM];
    if (s->facts->ahead > 0)
        say(s, "%s for their turn: %s of %s's %s a higher priority.", s->waiting,
            figures_of(s->facts->ahead, "job", ahead), s->facts->user, s->facts->ahead == 1 ? "has" : "have");
    else if (s->facts->busy >= s->facts->pool)
        say(s, "%s for a slot: all %" PRIu64 " are in use.", s->waiting, s->facts->pool);
    else
        say(s, "%s for their turn: others are to be served first.", s->waiting);
}

static void say_job_slots(const struct sentence *s)
{
    say(s, "%s: the job uses as many slots as it asked for (-j, --slots), %" PRIu64 ".", s->waiting,
        s->facts->slots);
}

static void say_owner_slots(const struct sentence *s)
{
    char cap[FIGURE_ROOM] = "";
    if (s->facts->cap > 0)
        snprintf(cap, sizeof cap, ", %" PRIu64, s->facts->cap);
    say(s, "%s: %s has as many slots in use as the daemon's configuration allows this user%s.", s->waiting,
        s->facts->user, cap);
}

static void say_process(const struct sentence *s)
{
    say(s, "%s for a process of %s's, which is being started.", s->waiting, s->facts->user);
}

static void say_start(const struct sentence *s)
{
    say(s,
        "%s for a process of %s's. The last one could not be started; that is tried again, after pauses that "
        "grow to some seconds. The daemon's log says why it failed.",
        s->waiting, s->facts->user);
}

static void say_reader(const struct sentence *s)
{
    say(s, "Its client%s has not taken the results that are ready for it. Until it does, %s.", s->client,
        s->facts->queued > 0 ? "no further item is begun" : "no further item comes");
}

static void say_paused(const struct sentence *s)
{
    say(s, "Its client%s holds it (Ctrl-Z does that): no further item is begun until it goes on.", s->client);
}

static void say_halted(const struct sentence *s)
{
    say(s, "An item has failed, and --halt says that nothing more is begun then.");
}

static const struct meaning {
    const char *waits, *word;
    bool though_running; /* the word says more than that it runs */
    void (*say)(const struct sentence *s);
} meanings[] = {
    {"nothing", "ending", false, say_nothing},     {"items", "no items", false, say_items},
    {"chunk", "few items", false, say_chunk},      {"turn", "queued", false, say_turn},
    {"job_slots", "own -j", false, say_job_slots}, {"owner_slots", "user's cap", false, say_owner_slots},
    {"process", "starting", false, say_process},   {"start", "start fails", false, say_start},
    {"reader", "not read", true, say_reader},      {"paused", "paused", true, say_paused},
    {"halted", "halted", true, say_halted},
};

static const struct meaning *find_meaning(const char *waits)
{
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if (strcmp(meanings[i].waits, waits) == 0)
            return &meanings[i];
    }
    return NULL;
}

const char *waits_word(const char *waits, bool running)
{
    const struct meaning *meaning = find_meaning(waits);
    if (meaning && (!running || meaning->though_running))
        return meaning->word;
    return running ? "running" : "waiting"; /* for something that a later daemon knows */
}

bool waits_sentence(const struct waits_facts *facts, char *out, size_t room)
{
    struct sentence s = {.facts = facts, .out = out, .room = room};
    char items[FIGURE_ROOM];
    const struct meaning *meaning = find_meaning(facts->waits);
    out[0] = '\0';
    if (!meaning)
        return false;
    snprintf(s.waiting, sizeof s.waiting, "%s wait%s", figures_of(facts->queued, "item", items),
             facts->queued == 1 ? "s" : "");
    if (facts->client > 0)
        snprintf(s.client, sizeof s.client, " (process %" PRIu64 ")", facts->client);
    meaning->say(&s);
    return true;
}
