/* The core under a test; see core_rig.h. */
#include "tests/unit/core_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

const struct owner_limits no_limits = {.weight = 1, .jobs = 1000, .queued_bytes = UINT64_C(1) << 40};

void rig_add_worker(struct rig *rig)
{
    uint32_t i = rig->worker_count++;
    assert_true(i < RIG_WORKERS);
    assert_int_equal(core_worker_add(rig->core, NULL, &rig->workers[i], rig->now_ns, &rig->workers[i]), 0);
    assert_ptr_equal(worker_cookie(rig->workers[i]), &rig->workers[i]);
    rig_settle(rig);
}

void rig_start(struct rig *rig, const struct core_config *config, uint32_t workers)
{
    static const struct core_config standard = {.chunk_target_ns = 10 * MS, .queued_bytes = 1 << 30};
    memset(rig, 0, sizeof *rig);
    rig->core = core_new(config != NULL ? config : &standard);
    assert_non_null(rig->core);
    rig->now_ns = 1000 * MS;
    for (uint32_t i = 0; i < workers; i++)
        rig_add_worker(rig);
}

void rig_end(struct rig *rig)
{
    rig_settle(rig);
    rig_expect_none(rig);
    core_free(rig->core);
}

static size_t copy_text(struct seen *seen, size_t at, const uint8_t *bytes, size_t size)
{
    size_t room = at < sizeof seen->text - 1 ? sizeof seen->text - 1 - at : 0;
    if (size > 0)
        memcpy(seen->text + at, bytes, size < room ? size : room);
    return at + size;
}

static void note_results(struct seen *seen, const struct action *action)
{
    seen->first = action->results.first;
    seen->count = action->results.records;
    seen->blocks = action->results.count;
    seen->more = action->results.more;
    seen->has_done = action->results.has_done;
    if (seen->has_done)
        seen->done = action->results.done;
    for (size_t i = 0; i < action->results.count; i++) {
        const struct batch *b = action->results.blocks[i];
        if (seen->note == 0 && b->note_count > 0) {
            struct note note = note_load(b->notes);
            const uint8_t *text = b->note_text;
            seen->no_slot = note.kind == NOTE_SLOT && note.code == 0 && note.record == 0;
            if (seen->no_slot) {
                text += note.text_len;
                note = note_load(b->notes + NOTE_SIZE);
            }
            seen->note = note.kind;
            if (note.text_len > 0 && note.text_len < sizeof seen->why)
                memcpy(seen->why, text, note.text_len);
        }
        seen->credit += batch_cost(b);
        seen->frames +=
            b->size + 12 * (size_t)b->count + NOTE_SIZE * (size_t)b->note_count + b->note_text_size;
        seen->size = copy_text(seen, seen->size, b->bytes, b->size);
    }
    assert_int_equal(seen->size, action->results.size);
}

static void note_chunk(struct seen *seen, const struct action *action)
{
    const struct slice *items = &action->work.items;
    seen->trace = action->work.trace;
    seen->job = action->work.job;
    seen->credit = action->work.credit;
    seen->first = action->work.first;
    seen->count = items->count;
    size_t size = 0;
    for (uint32_t i = 0; i < items->count; i++)
        size += batch_length(items->batch, items->first + i);
    assert_int_equal(size, items->size);
    seen->size = copy_text(seen, 0, items->batch->bytes + items->offset, items->size);
    for (const struct batch *piece = items->batch->next_piece; piece != NULL; piece = piece->next_piece)
        seen->size = copy_text(seen, seen->size, piece->bytes, piece->size);
}

static void note(struct rig *rig, const struct action *action)
{
    assert_true(rig->seen_count < RIG_SEEN);
    struct seen *seen = &rig->seen[rig->seen_count++];
    *seen = (struct seen){.type = action->type,
                          .session = action->session,
                          .worker = action->worker,
                          .ref = action->ref,
                          .chunk = action->chunk,
                          .crew = action->crew};
    switch (action->type) {
    case ACTION_OPENED:
        seen->job = action->opened.job;
        seen->credit = action->opened.credit;
        break;
    case ACTION_CREDIT:
        seen->credit = action->credit.bytes;
        break;
    case ACTION_RESULTS:
        note_results(seen, action);
        break;
    case ACTION_DONE:
        seen->done = action->done;
        break;
    case ACTION_CHUNK:
        note_chunk(seen, action);
        break;
    case ACTION_GRANT:
        seen->credit = action->grant.bytes;
        seen->head = action->grant.head;
        break;
    case ACTION_LEND:
        seen->lent = action->lend.lent;
        seen->back = action->lend.back;
        break;
    case ACTION_DROP:
        seen->client_gone = action->drop.client_gone;
        break;
    case ACTION_OVER:
        seen->job = action->over.job;
        seen->function = action->over.function;
        break;
    case ACTION_YIELD:
    case ACTION_RECALL:
    case ACTION_START:
    case ACTION_STOP:
        break;
    }
}

void rig_settle(struct rig *rig)
{
    if (rig->taken == rig->seen_count)
        rig->taken = rig->seen_count = 0;
    struct action action;
    while (core_next(rig->core, rig->now_ns, &action))
        note(rig, &action);
    const char *wrong = core_check(rig->core, rig->now_ns);
    if (wrong != NULL)
        fail_msg("core_check: %s", wrong);
}

void rig_pass(struct rig *rig, int64_t ns)
{
    rig->now_ns += ns;
    core_tick(rig->core, rig->now_ns);
    rig_settle(rig);
}

const struct seen *rig_take(struct rig *rig, enum action_type type)
{
    assert_true(rig->taken < rig->seen_count);
    const struct seen *seen = &rig->seen[rig->taken++];
    assert_int_equal(seen->type, type);
    return seen;
}

void rig_expect_none(const struct rig *rig)
{
    if (rig->taken < rig->seen_count)
        fail_msg("an action of type %d is left", (int)rig->seen[rig->taken].type);
}

void rig_forget(struct rig *rig)
{
    rig->taken = rig->seen_count;
}

struct session *rig_session(struct rig *rig, uid_t uid, const struct owner_limits *limits)
{
    struct session *session;
    assert_int_equal(core_session_open(rig->core, uid, limits, rig, &session), 0);
    assert_ptr_equal(session_cookie(session), rig);
    rig_settle(rig);
    return session;
}

struct job *rig_open_timed(struct rig *rig, struct session *session, uint64_t ref, struct job_options options,
                           int64_t item_ns)
{
    struct job_request request = {
        .ref = ref, .function = session, .expected_ns = item_ns, .options = options, .credit = 1 << 20};
    struct job *job;
    assert_int_equal(core_job_open(rig->core, session, &request, rig->now_ns, &job), 0);
    assert_ptr_equal(core_job_find(session, ref), job);
    rig_settle(rig);
    const struct seen *seen = rig_take(rig, ACTION_OPENED);
    assert_ptr_equal(seen->session, session);
    assert_int_equal(seen->ref, ref);
    return job;
}

struct job *rig_open(struct rig *rig, struct session *session, uint64_t ref, struct job_options options)
{
    return rig_open_timed(rig, session, ref, options, 0);
}

struct session *rig_process_session(struct rig *rig, uid_t uid, struct crew **crew)
{
    struct session *session = rig_session(rig, uid, &no_limits);
    assert_int_equal(core_crew_new(rig->core, rig, crew), 0);
    assert_ptr_equal(crew_cookie(*crew), rig);
    core_session_crew(rig->core, session, *crew, rig->now_ns);
    rig_settle(rig);
    return session;
}

struct worker *rig_add_process(struct rig *rig, struct crew *crew)
{
    struct worker *worker;
    assert_int_equal(core_worker_add(rig->core, crew, rig, rig->now_ns, &worker), 0);
    rig_settle(rig);
    return worker;
}

struct worker *rig_start_process(struct rig *rig, struct crew *crew)
{
    assert_ptr_equal(rig_take(rig, ACTION_START)->crew, crew);
    return rig_add_process(rig, crew);
}

struct job *rig_open_process(struct rig *rig, struct session *session, uint64_t ref, uint64_t credit,
                             struct job_request more)
{
    more.ref = ref;
    more.function = session;
    more.credit = credit;
    more.process = true;
    struct job *job;
    assert_int_equal(core_job_open(rig->core, session, &more, rig->now_ns, &job), 0);
    rig_settle(rig);
    rig_take(rig, ACTION_OPENED);
    return job;
}

struct batch *rig_batch(uint32_t count, size_t size, char byte, bool more)
{
    struct batch *batch = batch_new(count, count * size);
    char *record = malloc(size + 1);
    assert_non_null(batch);
    assert_non_null(record);
    memset(record, byte, size + 1);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(batch_append(batch, record, size), 0);
    free(record);
    batch->more = more;
    return batch;
}

int rig_items(struct rig *rig, struct job *job, uint32_t count, size_t size, char byte)
{
    struct batch *batch = rig_batch(count, size, byte, false);
    int rc = core_job_items(rig->core, job, core_job_expects(job), batch, rig->now_ns);
    batch_unref(batch);
    rig_settle(rig);
    return rc;
}

int rig_piece(struct rig *rig, struct job *job, size_t size, bool more)
{
    struct batch *batch = rig_batch(1, size, 'p', more);
    int rc = core_job_items(rig->core, job, core_job_expects(job), batch, rig->now_ns);
    batch_unref(batch);
    rig_settle(rig);
    return rc;
}

void rig_finish(struct rig *rig, struct job *job)
{
    assert_int_equal(core_job_end(rig->core, job, core_job_expects(job), rig->now_ns), 0);
    rig_settle(rig);
}

int rig_worked(struct rig *rig, struct worker *worker, uint64_t chunk, uint32_t count, size_t size, bool more,
               bool last, int64_t run_ns)
{
    struct batch *batch = count > 0 ? rig_batch(count, size, 'r', more) : NULL;
    int rc = core_worked(rig->core, worker, chunk, batch, last, run_ns, 0, rig->now_ns);
    batch_unref(batch);
    rig_settle(rig);
    return rc;
}

static void free_note(struct batch *batch)
{
    free(batch);
}

int rig_worked_note(struct rig *rig, const struct seen *chunk, uint16_t kind, uint16_t code, bool last)
{
    struct {
        struct batch batch;
        uint8_t length[4], time[8], note[NOTE_SIZE];
    } *memory = calloc(1, sizeof *memory);
    assert_non_null(memory);
    struct note note = {.kind = kind, .code = code};
    note_store(memory->note, &note);
    const void *frames[] = {memory->length, memory->note, memory->time, memory->note, memory->note};
    const size_t sizes[] = {4, 0, 8, NOTE_SIZE, 0};
    assert_int_equal(results_init(&memory->batch, frames, sizes, 5, false, free_note), 0);
    int rc = core_worked(rig->core, chunk->worker, chunk->chunk, &memory->batch, last, 0, 0, rig->now_ns);
    batch_unref(&memory->batch);
    rig_settle(rig);
    return rc;
}

int rig_parked(struct rig *rig, const struct seen *chunk, uint32_t count, int64_t run_ns)
{
    rig->now_ns += run_ns;
    int rc = core_parked(rig->core, chunk->worker, chunk->chunk, count, run_ns, 0, rig->now_ns);
    rig_settle(rig);
    return rc;
}

int rig_returned(struct rig *rig, const struct seen *chunk, uint64_t tokens)
{
    int rc = core_returned(rig->core, chunk->worker, chunk->chunk, tokens, rig->now_ns);
    rig_settle(rig);
    return rc;
}

void rig_gone(struct rig *rig, struct worker *worker)
{
    core_worker_gone(rig->core, worker, rig->now_ns);
    rig_settle(rig);
}

void rig_work(struct rig *rig, const struct seen *chunk, int64_t run_ns)
{
    struct seen copy = *chunk; /* rig_settle may overwrite it */
    rig->now_ns += run_ns;
    assert_int_equal(rig_worked(rig, copy.worker, copy.chunk, copy.count, 1, false, true, run_ns), 0);
}
