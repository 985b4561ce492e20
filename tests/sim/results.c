/*
 * What clients of the simulation take, held against the work that they gave; see results.h.
 */
#include "tests/sim/results.h"

#include <inttypes.h>

static bool record_failed(const struct batch *batch, uint32_t record)
{
    for (uint32_t i = 0; i < batch->note_count; i++) {
        if (note_load(batch->notes + (size_t)NOTE_SIZE * i).record == record)
            return true;
    }
    return false;
}

/* The last piece of a result, or all of it, is there. */
static void take_whole(struct world *world, struct sim_job *job, uint64_t index, bool failed)
{
    uint64_t id = client_job_id(job);
    /* An item fails without its own fault when its worker died in the middle of its result. */
    bool excused = failed && job->excused[index];
    if (!excused && job->part[index] != work_result_length(&job->work, index))
        broken(world, "content", "job %" PRIu64 ": item %" PRIu64 ": %u bytes instead of %u", id, index,
               job->part[index], work_result_length(&job->work, index));
    if (!excused && failed != work_fails(&job->work, index))
        broken(world, "content", "job %" PRIu64 ": item %" PRIu64 " failed: %d", id, index, failed);
    world->bytes_done += job->part[index];
    job->in_piece = false;
    job->seen[index] = 1;
    job->next = index + 1;
    job->taken++;
    int rc = flow_taken(job->flow, index, 1);
    if (rc < 0)
        broken(world, "flow accepts", "job %" PRIu64 ": flow_taken(%" PRIu64 "): %d", id, index, rc);
}

void results_take(struct world *world, struct sim_job *job, const struct packet *packet, uint32_t record,
                  const uint8_t *data, uint32_t size)
{
    uint64_t index = packet->first + record, id = client_job_id(job);
    bool partly = record == packet->verdict.partly;
    if (index >= job->put) {
        broken(world, "one result each", "job %" PRIu64 ": a result of item %" PRIu64 " of %" PRIu64, id,
               index, job->put);
        return;
    }
    if (packet->verdict.filter && flow_is_taken(job->flow, index)) {
        if (!job->seen[index])
            broken(world, "one result each", "job %" PRIu64 ": item %" PRIu64 " was not taken", id, index);
        return;
    }
    if (job->seen[index])
        broken(world, "one result each", "job %" PRIu64 ": a second result of item %" PRIu64, id, index);
    if (!job->options.unordered && index != job->next)
        broken(world, "order", "job %" PRIu64 ": item %" PRIu64 " where %" PRIu64 " is wanted", id, index,
               job->next);
    if (partly && packet->verdict.mismatch) {
        if (!job->excused[index])
            broken(world, "content", "job %" PRIu64 ": item %" PRIu64 " is said to differ", id, index);
        if (!packet->more)
            take_whole(world, job, index, true);
        return;
    }
    if (job->in_piece && job->piece_index != index)
        broken(world, "order", "job %" PRIu64 ": item %" PRIu64 " between the pieces of %" PRIu64, id, index,
               job->piece_index);
    size_t skip = partly ? packet->verdict.skip : 0;
    uint32_t from = job->part[index];
    if (skip > size || !work_result_right(&job->work, index, from, data + skip, size - skip))
        broken(world, "content", "job %" PRIu64 ": item %" PRIu64 ": wrong bytes from %u on, %zu of them", id,
               index, from, size - skip);
    job->part[index] += (uint32_t)(size - skip);
    if (!packet->more) {
        take_whole(world, job, index, record_failed(packet->batch, record));
        return;
    }
    job->in_piece = true;
    job->piece_index = index;
    int rc = flow_taken_piece(job->flow, index, data + skip, size - skip);
    if (rc < 0)
        broken(world, "flow accepts", "job %" PRIu64 ": flow_taken_piece(%" PRIu64 "): %d", id, index, rc);
}

void results_done(struct world *world, struct sim_job *job, const struct job_report *report)
{
    uint64_t id = client_job_id(job);
    if (report->outcome == OUTCOME_CANCELLED) {
        if (!job->cancelled)
            broken(world, "every job ends", "job %" PRIu64 " was cancelled by nobody", id);
        if (report->items > job->work.items || report->failed > report->items)
            broken(world, "counts", "job %" PRIu64 ", cancelled: %" PRIu64 " items, %" PRIu64 " failed", id,
                   report->items, report->failed);
        return;
    }
    if (!job->end_said)
        broken(world, "every job ends", "job %" PRIu64 " was done before its end was said", id);
    if (report->items != job->got || report->failed != job->got_failed || report->bytes_out != job->got_bytes)
        broken(world, "counts",
               "job %" PRIu64 ": DONE says %" PRIu64 " items, %" PRIu64 " failed, %" PRIu64
               " bytes; there came %" PRIu64 ", %" PRIu64 ", %" PRIu64,
               id, report->items, report->failed, report->bytes_out, job->got, job->got_failed,
               job->got_bytes);
    if (!job->cancelled && job->taken != job->work.items)
        broken(world, "one result each",
               "job %" PRIu64 " is done with %" PRIu64 " results of %" PRIu64 " items", id, job->taken,
               job->work.items);
}
