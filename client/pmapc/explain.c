/*
 * pmapc explain: in sentences, how a job stands, why it waits, who holds the slots, and what it may expect.
 */
#include "client/pmapc/connect.h"
#include "client/pmapc/figures.h"
#include "client/pmapc/json.h"
#include "client/pmapc/options.h"
#include "client/pmapc/pmapc.h"
#include "client/pmapc/query.h"
#include "client/pmapc/state.h"
#include "client/pmapc/tell.h"
#include "client/pmapc/waits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] = "Usage: pmapc explain [--json] JOB\n"
                           "Says how a job of yours stands, by its number ('pmapc jobs' lists them): why\n"
                           "its items wait, who holds the slots, and what it may expect. Root and admins\n"
                           "may ask for anybody's.\n"
                           "\n"
                           "      --json  an object: job, user, text, holders, slots, entitled,\n"
                           "              expected_slots, remaining_s (null where nobody knows),\n"
                           "              guarantee_s (negative: there is none)\n"
                           "      --help  show this\n"
                           "\n"
                           "  pmapc explain 42\n"
                           "  pmapc explain 42 --json | jq .job.waits\n";

enum { OPT_JSON = 256, OPT_HELP, LINE_WIDTH = 79, HOLDERS_SHOWN = 6, SENTENCE_ROOM = 4096 };

/* A user who holds slots. */
struct holder {
    uid_t uid;
    uint64_t slots;
    double longest_s; /* that the oldest of its chunks has run for */
};

struct explained {
    const msgpack_object *job, *status;
    const msgpack_object *all; /* jobs */
    size_t all_count;
    const msgpack_object *owner; /* the job's, in the status; NULL: not there any more */
    const char *user;
    struct holder *holders; /* most slots first */
    size_t holder_count;
    double expected;    /* slots; 0: nobody knows */
    double remaining_s; /* negative: nobody knows */
    json_t *text;       /* an array of the sentences */
};

/* One more sentence, or a few that belong together. */
static void say(struct explained *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct explained *e, const char *format, ...)
{
    char text[SENTENCE_ROOM];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    json_array_append_new(e->text, json_of_text(text, strlen(text)));
}

/*** What is known ***/

static int compare_holders(const void *a, const void *b)
{
    const struct holder *one = a, *two = b;
    if (one->slots != two->slots)
        return one->slots < two->slots ? 1 : -1;
    return (one->uid > two->uid) - (one->uid < two->uid);
}

static bool find_holders(struct explained *e, const msgpack_object *answer)
{
    const msgpack_object *slots;
    size_t count = query_members(answer, NULL, &slots);
    e->holders = calloc(count + 1, sizeof *e->holders);
    if (!e->holders)
        return false;
    for (size_t i = 0; i < count; i++) {
        uid_t uid = (uid_t)query_number(&slots[i], "uid");
        double age_s = query_real(&slots[i], "age_s");
        size_t at = 0;
        while (at < e->holder_count && e->holders[at].uid != uid)
            at++;
        struct holder *holder = &e->holders[at];
        if (at == e->holder_count)
            e->holders[e->holder_count++] = (struct holder){.uid = uid};
        holder->slots++;
        if (age_s > holder->longest_s)
            holder->longest_s = age_s;
    }
    qsort(e->holders, e->holder_count, sizeof *e->holders, compare_holders);
    return true;
}

/* The member whose key has this number; NULL: there is none. */
static const msgpack_object *find_member(const msgpack_object *map, const char *list, const char *key,
                                         uint64_t number)
{
    const msgpack_object *members;
    size_t count = query_members(map, list, &members);
    for (size_t i = 0; i < count; i++) {
        if (query_field(&members[i], key) && query_number(&members[i], key) == number)
            return &members[i];
    }
    return NULL;
}

/* Slots that a job could use now. */
static double usable_slots(const msgpack_object *job)
{
    double running = query_real(job, "running"), most = query_real(job, "slots");
    double could = running + query_real(job, "queued_items");
    return could < most ? could : most;
}

/*
 * Slots that the job may expect: what it has, or an even part of what its owner is due among its jobs of this
 * priority that have something to do, once those of a higher one have all that they could use; no more than
 * it could use.
 */
static double expected_slots(const struct explained *e)
{
    uint64_t uid = query_number(e->job, "uid"), peers = 0;
    int64_t priority = query_signed(e->job, "priority");
    double due = e->owner ? query_real(e->owner, "entitled") : 0;
    for (size_t i = 0; i < e->all_count; i++) {
        const msgpack_object *other = &e->all[i];
        if (query_number(other, "uid") != uid)
            continue;
        int64_t its = query_signed(other, "priority");
        double could = usable_slots(other);
        if (its > priority)
            due -= could;
        peers += its == priority && could > 0;
    }
    double part = due > 0 && peers > 0 ? due / (double)peers : 0;
    double has = query_real(e->job, "running"), most = query_real(e->job, "slots");
    double expected = part > has ? part : has;
    return expected < most ? expected : most;
}

/*** Sentences ***/

static void say_progress(struct explained *e)
{
    char name[1024], done[FIGURE_ROOM], come[FIGURE_ROOM], failed[FIGURE_ROOM], age[FIGURE_ROOM],
        wait[FIGURE_ROOM];
    const msgpack_object *job = e->job;
    uint64_t failures = query_number(job, "failed");
    say(e, "Job %" PRIu64 ", %s, of %s: %s of %s%s done, %s failed.", query_number(job, "job"),
        query_text(job, "function", name, sizeof name), e->user,
        tell_count(query_real(job, "finished"), done), figures_of(query_number(job, "items"), "item", come),
        query_flag(job, "ended") ? "" : " that have come so far",
        failures > 0 ? tell_count((double)failures, failed) : "none");
    figures_age(query_real(job, "age_s"), age);
    figures_age(query_real(job, "wait_s"), wait);
    bool begun = query_number(job, "finished") > 0 || query_number(job, "running") > 0 ||
                 query_real(job, "run_s") > 0 || query_real(job, "wait_s") < query_real(job, "age_s");
    if (begun)
        say(e, "It was opened %s ago and waited %s for its first slot.", age, wait);
    else
        say(e, "It was opened %s ago, and nothing of it has begun yet.", age);
}

static void say_running(struct explained *e)
{
    uint64_t running = query_number(e->job, "running"), slots = query_number(e->job, "slots");
    char now[FIGURE_ROOM];
    if (running > 0)
        say(e, "It runs on %s now, of %" PRIu64 " that it could use.", figures_of(running, "slot", now),
            slots);
    else
        say(e, "Nothing of it runs now. It could use %s.", figures_of(slots, "slot", now));
}

/* Open jobs of its owner's that wait for slots and have a higher priority. */
static uint64_t jobs_ahead(const struct explained *e)
{
    uint64_t uid = query_number(e->job, "uid"), ahead = 0;
    for (size_t i = 0; i < e->all_count; i++)
        ahead += query_number(&e->all[i], "uid") == uid && query_is(&e->all[i], "waits", "turn") &&
                 query_signed(&e->all[i], "priority") > query_signed(e->job, "priority");
    return ahead;
}

static void say_why(struct explained *e)
{
    char waits[32], text[WAITS_SENTENCE_ROOM];
    const msgpack_object *job = e->job, *limits = query_field(e->status, "limits");
    bool own = limits && query_number(limits, "uid") == query_number(job, "uid");
    uint64_t in_use = e->owner ? query_number(e->owner, "running") : 0;
    struct waits_facts facts = {
        .waits = query_text(job, "waits", waits, sizeof waits),
        .items = query_number(job, "items"),
        .finished = query_number(job, "finished"),
        .queued = query_number(job, "queued_items"),
        .running = query_number(job, "running"),
        .slots = query_number(job, "slots"),
        .client = query_number(job, "client"),
        .ahead = jobs_ahead(e),
        .pool = query_number(e->status, "slots"),
        .busy = query_number(e->status, "busy"),
        .cap = own ? query_number(limits, "slots") : in_use,
        .user = e->user,
    };
    if (waits_sentence(&facts, text, sizeof text))
        say(e, "%s", text);
    else if (facts.queued > 0)
        say(e, "%s.", figures_of(facts.queued, "waiting item", text));
}

/* Does it wait for something that others have? */
static bool waits_for_others(const msgpack_object *job)
{
    return query_is(job, "waits", "turn") || query_is(job, "waits", "owner_slots");
}

static void say_holders(struct explained *e)
{
    char list[SENTENCE_ROOM / 2] = "", age[FIGURE_ROOM], slots[FIGURE_ROOM];
    size_t at = 0, shown = e->holder_count < HOLDERS_SHOWN ? e->holder_count : HOLDERS_SHOWN;
    for (size_t i = 0; i < shown; i++) {
        const struct holder *holder = &e->holders[i];
        at += (size_t)snprintf(list + at, sizeof list - at, "%s%s holds %s, %s for %s", i > 0 ? "; " : "",
                               figures_user(holder->uid), figures_of(holder->slots, "slot", slots),
                               holder->slots > 1 ? "the longest" : "and that",
                               figures_age(holder->longest_s, age));
    }
    if (shown < e->holder_count)
        snprintf(list + at, sizeof list - at, "; and %zu other users hold some", e->holder_count - shown);
    if (shown > 0)
        say(e, "%s.", list);
}

/* When an owner of whom nothing runs has a slot. */
static void say_guarantee(struct explained *e)
{
    char age[FIGURE_ROOM], above[FIGURE_ROOM];
    const msgpack_object *most = query_field(e->status, "guarantee_slots");
    double after_s = query_field(e->status, "guarantee_s") ? query_real(e->status, "guarantee_s") : -1;
    if (after_s < 0)
        say(e, "There is no guarantee here: the next one comes when a chunk of others ends.");
    else if (most && query_number(e->status, "above") >= query_number(e->status, "guarantee_slots"))
        say(e,
            "The guarantee has given all that it may, %s above the pool's number, so the next one comes when "
            "a "
            "chunk of others ends.",
            figures_of(query_number(e->status, "above"), "slot", above));
    else
        say(e,
            "Nothing of %s's runs, so the guarantee gives a slot above the pool's number within %s at the "
            "latest%s.",
            e->user, figures_age(after_s, age), most ? "" : ", unless too many are above it already");
}

/* What is due to its owner, and when the next slot is. */
static void say_dues(struct explained *e)
{
    if (!e->owner)
        return;
    uint64_t slots = query_number(e->status, "slots"), weight = query_number(e->owner, "weight");
    say(e,
        "%s is due %.2f of the pool's %" PRIu64 " slots now (weight %" PRIu64 ") and has used %.2f of late.",
        e->user, query_real(e->owner, "entitled"), slots, weight, query_real(e->owner, "used"));
    if (!query_is(e->job, "waits", "turn"))
        return;
    if (jobs_ahead(e) > 0)
        say(e, "This job's next one comes when those of a higher priority leave some of that.");
    else if (query_number(e->owner, "running") > 0)
        say(e, "The next one comes as soon as a chunk ends and it is %s's turn.", e->user);
    else
        say_guarantee(e);
}

static void say_remaining(struct explained *e)
{
    char item[FIGURE_ROOM], left[FIGURE_ROOM];
    double item_s = query_real(e->job, "item_s");
    if (query_number(e->job, "finished") >= query_number(e->job, "items"))
        return;
    if (e->remaining_s < 0)
        say(e, "How long it will take is not known%s.", item_s > 0 ? "" : ": no item of it has ended yet");
    else
        say(e, "At %s an item and %.2f slots, %s about %s.", figures_age(item_s, item), e->expected,
            query_flag(e->job, "ended") ? "the rest takes" : "what has come so far takes",
            figures_age(e->remaining_s, left));
}

static void say_all(struct explained *e)
{
    say_progress(e);
    say_running(e);
    say_why(e);
    if (waits_for_others(e->job)) {
        say_holders(e);
        say_dues(e);
    }
    say_remaining(e);
}

/*** Printing ***/

/* A text in lines of whole words. */
static void print_wrapped(const char *text)
{
    size_t column = 0;
    while (*text) {
        size_t len = strcspn(text, " ");
        if (column > 0 && column + 1 + len > LINE_WIDTH) {
            putchar('\n');
            column = 0;
        } else if (column > 0) {
            putchar(' ');
            column++;
        }
        printf("%.*s", (int)len, text);
        column += len;
        text += len;
        text += *text == ' ';
    }
    putchar('\n');
}

static void print_text(const struct explained *e)
{
    size_t i;
    json_t *sentence;
    json_array_foreach(e->text, i, sentence) print_wrapped(json_string_value(sentence));
}

static int print_json(const struct explained *e)
{
    json_t *object = json_object(), *holders = json_array();
    for (size_t i = 0; i < e->holder_count; i++) {
        json_t *holder = json_object();
        json_object_set_new(holder, "uid", json_integer(e->holders[i].uid));
        json_object_set_new(holder, "user", json_string(figures_user(e->holders[i].uid)));
        json_object_set_new(holder, "slots", json_of_unsigned(e->holders[i].slots));
        json_object_set_new(holder, "longest_s", json_real(e->holders[i].longest_s));
        json_array_append_new(holders, holder);
    }
    json_object_set_new(object, "job", json_of_msgpack(e->job));
    json_object_set_new(object, "user", json_string(e->user));
    json_object_set(object, "text", e->text);
    json_object_set_new(object, "holders", holders);
    json_object_set_new(object, "slots", json_of_unsigned(query_number(e->status, "slots")));
    json_object_set_new(object, "entitled", json_real(e->owner ? query_real(e->owner, "entitled") : 0));
    json_object_set_new(object, "expected_slots", json_real(e->expected));
    json_object_set_new(object, "remaining_s", e->remaining_s >= 0 ? json_real(e->remaining_s) : json_null());
    json_object_set_new(object, "guarantee_s", json_real(query_real(e->status, "guarantee_s")));
    return json_print(object, stdout, JSON_INDENT(2));
}

static int explain(const msgpack_object *job, const struct reply *jobs, const struct reply *slots,
                   const struct reply *status, bool json)
{
    struct explained e = {.job = job, .status = status->value, .text = json_array()};
    uint64_t uid = query_number(job, "uid");
    e.user = figures_user((uid_t)uid);
    e.owner = find_member(status->value, "owners", "uid", uid);
    e.all_count = query_members(jobs->value, NULL, &e.all);
    int rc = STATUS_DONE;
    if (!e.text || !find_holders(&e, slots->value)) {
        tell("out of memory");
        rc = STATUS_FAILED;
    } else {
        e.expected = expected_slots(&e);
        e.remaining_s = state_remaining(job, e.expected);
        say_all(&e);
        if (json)
            rc = print_json(&e);
        else
            print_text(&e);
    }
    free(e.holders);
    json_decref(e.text);
    return rc;
}

/* Asks all three, one behind the other: what changes between them makes the sentences a little uneven, no
 * more. */
static int ask_and_explain(pmap *pool, uint64_t number, bool json)
{
    struct reply jobs, slots = {.data = NULL}, status = {.data = NULL};
    msgpack_unpacked_init(&slots.unpacked);
    msgpack_unpacked_init(&status.unpacked);
    int rc = query_ask(pool, "jobs", &jobs);
    const msgpack_object *job = rc == 0 ? find_member(jobs.value, NULL, "job", number) : NULL;
    if (rc == 0 && (!job || !state_is_full(job))) {
        tell("explain: job %" PRIu64 ": no such job", number);
        rc = STATUS_FAILED;
    }
    if (rc == 0)
        rc = query_ask(pool, "slots", &slots);
    if (rc == 0)
        rc = query_ask(pool, "status", &status);
    if (rc == 0)
        rc = explain(job, &jobs, &slots, &status, json);
    query_free(&jobs);
    query_free(&slots);
    query_free(&status);
    return rc;
}

int command_explain(const struct globals *globals, int argc, char **argv)
{
    static const struct option longs[] = {
        {"json", no_argument, NULL, OPT_JSON}, {"help", no_argument, NULL, OPT_HELP}, {NULL, 0, NULL, 0}};
    bool json = false;
    options_begin();
    int option;
    while ((option = getopt_long(argc, argv, ":", longs, NULL)) != -1) {
        if (option == OPT_HELP) {
            fputs(help, stdout);
            return tell_finish();
        }
        if (option != OPT_JSON)
            return options_bad(option, argv, argv[0], longs);
        json = true;
    }
    if (optind == argc) {
        tell("explain: which job? (see 'pmapc jobs')");
        return STATUS_USAGE;
    }
    if (optind + 1 < argc)
        return options_extra(argv[0], argv[optind + 1]);
    int64_t number = 0;
    int status = options_number("explain", argv[optind], 1, INT64_MAX, &number);
    if (status != 0)
        return status;
    pmap *pool = NULL;
    status = connect_pool(globals, CONNECT_ONLY, &pool);
    if (status != 0)
        return status;
    status = ask_and_explain(pool, (uint64_t)number, json);
    pmap_disconnect(pool);
    int finished = tell_finish();
    return status != 0 ? status : finished;
}
