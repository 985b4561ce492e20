/*
 * Batches and slices, and results (a batch with times and notes): what is accepted, what is refused, who
 * frees what.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/batch.h"
#include "common/protocol.h"

enum { RECORDS = 1000 };

static unsigned released;

static void count_release(struct batch *batch)
{
    (void)batch;
    released++;
}

static void init_checks_lengths(void **state)
{
    (void)state;
    uint8_t lengths[1 + 12], bytes[7] = "abcdefg";
    uint8_t *unaligned = lengths + 1;
    store_u32(unaligned, 3);
    store_u32(unaligned + 4, 0);
    store_u32(unaligned + 8, 4);
    struct batch batch, untouched;
    memset(&batch, 0x5a, sizeof batch);
    untouched = batch;
    assert_int_equal(batch_init(&batch, unaligned, 0, bytes, 0, count_release), -EPROTO);
    assert_int_equal(batch_init(&batch, unaligned, 11, bytes, 7, count_release), -EPROTO);
    assert_int_equal(batch_init(&batch, unaligned, 12, bytes, 6, count_release), -EPROTO);
    assert_int_equal(batch_init(&batch, unaligned, 12, bytes, 8, count_release), -EPROTO);
    assert_int_equal(batch_init(&batch, unaligned, 8, bytes, 7, count_release), -EPROTO);
    assert_memory_equal(&batch, &untouched, sizeof batch);

    released = 0;
    assert_int_equal(batch_init(&batch, unaligned, 12, bytes, 7, count_release), 0);
    assert_int_equal(batch.count, 3);
    assert_int_equal(batch.size, 7);
    assert_int_equal(batch_length(&batch, 0), 3);
    assert_int_equal(batch_length(&batch, 1), 0);
    assert_int_equal(batch_length(&batch, 2), 4);
    assert_int_equal(batch_cost(&batch), 7 + 3 * RECORD_COST);
    assert_int_equal(batch_append(&batch, "x", 1), -ENOSPC); /* nobody writes into received frames */
    assert_ptr_equal(batch_ref(&batch), &batch);
    batch_unref(&batch);
    assert_int_equal(released, 0);
    batch_unref(&batch);
    assert_int_equal(released, 1);
}

/* Lengths whose sum is right only modulo 2^32 must not pass. */
static void init_sums_in_64_bits(void **state)
{
    (void)state;
    uint8_t lengths[4 * 17], byte = 0;
    for (size_t i = 0; i < 16; i++)
        store_u32(lengths + 4 * i, UINT32_C(1) << 28);
    store_u32(lengths + sizeof lengths - 4, 1);
    struct batch batch;
    assert_int_equal(batch_init(&batch, lengths, sizeof lengths, &byte, 1, NULL), -EPROTO);
    store_u32(lengths, UINT32_MAX);
    store_u32(lengths + 4, 2);
    assert_int_equal(batch_init(&batch, lengths, 8, &byte, 1, NULL), -EPROTO);
    /* And a sum of any count comes out exactly, so that no lane of a vectorised loop is lost. */
    static uint8_t many[4 * 67];
    size_t sum = 0;
    for (uint32_t i = 0; i < 67; i++) {
        store_u32(many + 4 * (size_t)i, i * i + 1);
        sum += i * i + 1;
        uint8_t *bytes = malloc(sum);
        assert_non_null(bytes);
        assert_int_equal(batch_init(&batch, many, 4 * (size_t)(i + 1), bytes, sum, NULL), 0);
        assert_int_equal(batch_init(&batch, many, 4 * (size_t)(i + 1), bytes, sum - 1, NULL), -EPROTO);
        free(bytes);
    }
}

static void append_fills_what_was_asked_for(void **state)
{
    (void)state;
    struct batch *batch = batch_new(3, 5);
    assert_non_null(batch);
    assert_int_equal(batch->count, 0);
    assert_int_equal(batch_append(batch, "abc", 3), 0);
    struct slice early = slice_all(batch);
    assert_int_equal(batch_append(batch, "xyz", 3), -ENOSPC);
    assert_int_equal(batch_append(batch, NULL, 0), 0);
    assert_int_equal(batch_append(batch, "de", 2), 0);
    assert_int_equal(batch_append(batch, NULL, 0), -ENOSPC);
    assert_int_equal(batch->count, 3);
    assert_int_equal(batch->size, 5);
    assert_memory_equal(batch->bytes, "abcde", 5);
    assert_int_equal(batch_length(batch, 1), 0);
    assert_int_equal(batch_length(batch, 2), 2);
    assert_int_equal(early.count, 1);
    assert_int_equal(early.size, 3);
    batch_unref(batch);

    batch = batch_new(0, 0);
    assert_non_null(batch);
    assert_int_equal(batch_append(batch, NULL, 0), -ENOSPC);
    batch_unref(batch);
    batch_unref(NULL);
    assert_null(batch_new(UINT32_MAX, SIZE_MAX));
    assert_null(batch_new(1, SIZE_MAX - 64));

    batch = batch_new(2, 8);
    assert_non_null(batch);
    assert_int_equal(batch_append(batch, "x", (size_t)UINT32_MAX + 2), -ENOSPC);
    assert_int_equal(batch->count, 0);
    batch_unref(batch);
}

static struct batch *piece(const char *data)
{
    struct batch *batch = batch_new(1, strlen(data));
    assert_non_null(batch);
    assert_int_equal(batch_append(batch, data, strlen(data)), 0);
    return batch;
}

static void a_slice_of_pieces_costs_them_all(void **state)
{
    (void)state;
    struct batch *batch = piece("abc");
    batch->next_piece = piece("de");
    batch->next_piece->next_piece = piece("");
    struct slice slice = slice_all(batch);
    assert_int_equal(slice_cost(&slice), 5 + 3 * RECORD_COST);
    assert_int_equal(batch_cost(batch), 3 + RECORD_COST);
    struct slice cut = slice_cut(&slice, 10, 1);
    assert_int_equal(slice_cost(&cut), 5 + 3 * RECORD_COST);
    assert_int_equal(slice.count, 0);
    assert_int_equal(slice_cost(&slice), 0);
    batch_unref(batch);
}

/* A chain as long as the largest record may have is freed without one stack frame a piece; a shared tail
 * stays. */
static void unref_of_a_long_chain(void **state)
{
    (void)state;
    enum { PIECES = 300000 };
    struct batch *tail = batch_ref(piece("tail")), *head = tail;
    for (int i = 0; i < PIECES; i++) {
        struct batch *batch = batch_new(1, 0);
        assert_non_null(batch);
        assert_int_equal(batch_append(batch, NULL, 0), 0);
        batch->next_piece = head;
        head = batch;
    }
    batch_unref(head);
    assert_int_equal(atomic_load(&tail->refs), 1);
    assert_memory_equal(tail->bytes, "tail", 4);
    batch_unref(tail);
}

static void *drop_many(void *arg)
{
    for (int i = 0; i < 100000; i++)
        batch_unref(batch_ref(arg));
    batch_unref(arg);
    return NULL;
}

static void references_are_atomic(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    uint8_t length[4] = {0};
    struct batch batch;
    assert_int_equal(batch_init(&batch, length, 4, NULL, 0, count_release), 0);
    released = 0;
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, drop_many, batch_ref(&batch)), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(released, 0);
    assert_int_equal(atomic_load(&batch.refs), 1);
    batch_unref(&batch);
    assert_int_equal(released, 1);
}

/* Every record is cut once, in order, and every cut is as large as it may be and no larger. */
static void cuts_cover_the_batch(void **state)
{
    (void)state;
    struct batch *batch = batch_new(RECORDS, (size_t)RECORDS * 100);
    assert_non_null(batch);
    static const uint8_t data[100];
    uint32_t seed = 12345;
    for (int i = 0; i < RECORDS; i++) {
        seed = seed * 1664525 + 1013904223;
        assert_int_equal(batch_append(batch, data, seed >> 24 & 1 ? seed >> 25 & 63 : 0), 0);
    }
    static const uint32_t counts[] = {1, 2, 3, 7, 64, RECORDS - 1, RECORDS, UINT32_MAX};
    static const size_t sizes[] = {0, 1, 10, 63, 64, 1000, 20000, SIZE_MAX};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            struct slice rest = slice_all(batch);
            uint32_t next = 0;
            size_t offset = 0;
            while (rest.count > 0) {
                struct slice cut = slice_cut(&rest, counts[c], sizes[s]);
                assert_ptr_equal(cut.batch, batch);
                assert_int_equal(cut.first, next);
                assert_int_equal(cut.offset, offset);
                assert_in_range(cut.count, 1, counts[c]);
                size_t size = 0;
                for (uint32_t i = 0; i < cut.count; i++)
                    size += batch_length(batch, next + i);
                assert_int_equal(cut.size, size);
                assert_true(cut.count == 1 || size <= sizes[s]);
                next += cut.count;
                offset += size;
                if (rest.count > 0) /* one more would have been too many or too much */
                    assert_true(cut.count == counts[c] || batch_length(batch, next) + size > sizes[s]);
                assert_int_equal(rest.first, next);
                assert_int_equal(rest.offset, offset);
                assert_int_equal(rest.size, batch->size - offset);
                assert_int_equal(slice_cost(&cut), size + (uint64_t)RECORD_COST * cut.count);
            }
            assert_int_equal(next, RECORDS);
        }
    }
    batch_unref(batch);
}

/*** Results ***/

/* Frames of results with three records; a test spoils one thing in them. */
struct frames {
    uint8_t lengths[12], bytes[6], times[24], notes[3 * NOTE_SIZE], texts[8];
    const void *frame[5];
    size_t size[5];
};

static void set_note(struct frames *f, int i, uint32_t record, uint16_t kind, uint32_t text_len)
{
    note_store(f->notes + (size_t)NOTE_SIZE * i, &(struct note){record, kind, 7, text_len});
}

static void good_frames(struct frames *f)
{
    memset(f, 0, sizeof *f);
    store_u32(f->lengths, 1);
    store_u32(f->lengths + 4, 2);
    store_u32(f->lengths + 8, 3);
    memcpy(f->bytes, "abbccc", 6);
    store_u64(f->times, 0);
    store_u64(f->times + 8, INT64_MAX);
    store_u64(f->times + 16, 5);
    set_note(f, 0, 0, NOTE_ERROR, 3);
    set_note(f, 1, 2, NOTE_ERROR, 0);
    set_note(f, 2, 2, NOTE_CANCELLED, 5);
    memcpy(f->texts, "badworse", 8);
    const void *frame[] = {f->lengths, f->bytes, f->times, f->notes, f->texts};
    const size_t size[] = {sizeof f->lengths, sizeof f->bytes, sizeof f->times, sizeof f->notes,
                           sizeof f->texts};
    memcpy(f->frame, frame, sizeof frame);
    memcpy(f->size, size, sizeof size);
}

static void refuse(const struct frames *f, size_t count, bool more)
{
    struct batch batch, untouched;
    memset(&batch, 0x5a, sizeof batch);
    untouched = batch;
    assert_int_equal(results_init(&batch, f->frame, f->size, count, more, count_release), -EPROTO);
    assert_memory_equal(&batch, &untouched, sizeof batch);
}

static void results_with_and_without_notes(void **state)
{
    (void)state;
    struct frames f;
    good_frames(&f);
    struct batch batch;
    assert_int_equal(results_init(&batch, f.frame, f.size, 5, false, count_release), 0);
    assert_int_equal(batch.count, 3);
    assert_int_equal(batch.note_count, 3);
    assert_int_equal(batch.note_text_size, 8);
    assert_ptr_equal(batch.times, f.times);
    assert_false(batch.more);
    assert_int_equal(results_failed(&batch), 2);
    struct note note = note_load(batch.notes + (size_t)NOTE_SIZE * 2);
    assert_int_equal(note.record, 2);
    assert_int_equal(note.kind, NOTE_CANCELLED);
    assert_int_equal(note.code, 7);
    assert_int_equal(note.text_len, 5);
    released = 0;
    batch_unref(&batch);
    assert_int_equal(released, 1);

    assert_int_equal(results_init(&batch, f.frame, f.size, 3, false, NULL), 0);
    assert_int_equal(results_failed(&batch), 0);
    assert_null(batch.notes);
    for (size_t count = 0; count < 8; count++)
        if (count != 3 && count != 5)
            refuse(&f, count, false);

    refuse(&f, 5, true); /* a piece is one record */
    store_u32(f.lengths, 6);
    f.size[0] = 4;
    f.size[2] = 8;
    assert_int_equal(results_init(&batch, f.frame, f.size, 3, true, NULL), 0);
    assert_true(batch.more);
}

static void a_note_on_the_wire(void **state)
{
    (void)state;
    static const uint8_t bytes[NOTE_SIZE] = {0x78, 0x56, 0x34, 0x12, 0xbc, 0x9a,
                                             0xf0, 0xde, 0x04, 0x03, 0x02, 0x01};
    struct note note = note_load(bytes);
    assert_int_equal(note.record, 0x12345678);
    assert_int_equal(note.kind, 0x9abc);
    assert_int_equal(note.code, 0xdef0);
    assert_int_equal(note.text_len, 0x01020304);
    uint8_t again[NOTE_SIZE];
    note_store(again, &note);
    assert_memory_equal(again, bytes, NOTE_SIZE);
}

static void bad_results_are_refused(void **state)
{
    (void)state;
    struct frames f;
#define REFUSE(spoil)                                                                                        \
    do {                                                                                                     \
        good_frames(&f);                                                                                     \
        spoil;                                                                                               \
        refuse(&f, 5, false);                                                                                \
    } while (0)
    REFUSE(store_u32(f.lengths, 2));
    REFUSE(f.size[0] = 11);
    REFUSE(f.size[0] = 0);
    REFUSE(f.size[1] = 5);
    REFUSE(f.size[2] = 16);
    REFUSE(f.size[2] = 23);
    REFUSE(f.size[2] = 0);
    REFUSE(store_u64(f.times + 16, (uint64_t)INT64_MAX + 1));
    REFUSE(store_u64(f.times, UINT64_MAX));
    REFUSE(f.size[3] = 0);
    REFUSE(f.size[3] = 0; f.size[4] = 0);
    REFUSE(f.size[3] -= NOTE_SIZE);
    REFUSE(f.size[3] -= 1);
    REFUSE(f.size[4] -= 1);
    REFUSE(set_note(&f, 0, 1, NOTE_ERROR, 4));
    REFUSE(set_note(&f, 2, 3, NOTE_ERROR, 5));
    REFUSE(set_note(&f, 2, UINT32_MAX, NOTE_ERROR, 5));
    REFUSE(set_note(&f, 2, 1, NOTE_ERROR, 5)); /* behind one of record 2 */
    REFUSE(set_note(&f, 0, 0, 0, 3));
    REFUSE(set_note(&f, 0, 0, 999, 3));
    /* The texts' sum is right only modulo 2^32. */
    REFUSE(set_note(&f, 0, 0, NOTE_ERROR, UINT32_MAX); set_note(&f, 1, 2, NOTE_ERROR, 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(init_checks_lengths),
        cmocka_unit_test(init_sums_in_64_bits),
        cmocka_unit_test(append_fills_what_was_asked_for),
        cmocka_unit_test(a_slice_of_pieces_costs_them_all),
        cmocka_unit_test(unref_of_a_long_chain),
        cmocka_unit_test(references_are_atomic),
        cmocka_unit_test(cuts_cover_the_batch),
        cmocka_unit_test(results_with_and_without_notes),
        cmocka_unit_test(a_note_on_the_wire),
        cmocka_unit_test(bad_results_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
