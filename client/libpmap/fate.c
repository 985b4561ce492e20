/*
 * What became of an item; see fate.h. The words for each kind of failure are made here, so that all clients
 * of the library use the same.
 */
#include "client/libpmap/fate.h"

#include "common/batch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS_ROOM = 96 };

void fate_begin(struct fate *fate)
{
    fate->any = fate->failed = fate->timed_out = fate->cancelled = fate->placed = false;
    fate->error = fate->remark = NULL;
    fate->exit_code = fate->signal = fate->attempts = 0;
    fate->usage = (struct usage){0};
    fate->err = NULL;
    fate->err_size = 0;
}

void fate_piece(struct fate *fate)
{
    fate->err = NULL;
    fate->err_size = 0;
}

void fate_free(struct fate *fate)
{
    free(fate->words.data);
    free(fate->remarked.data);
    free(fate->gathered.data);
    fate->words = fate->remarked = fate->gathered = (struct fate_text){0};
    fate_begin(fate);
}

/* Room for `size` bytes; what is there stays. */
static bool make_room(struct fate_text *text, size_t size)
{
    if (size <= text->size)
        return true;
    char *data = realloc(text->data, size);
    if (!data)
        return false;
    text->data = data;
    text->size = size;
    return true;
}

/* `before`, the text and `behind`, NUL-terminated, in memory that is kept. */
static const char *keep(struct fate_text *out, const char *before, const void *text, size_t len,
                        const char *behind)
{
    size_t before_len = strlen(before), behind_len = strlen(behind);
    if (!make_room(out, before_len + len + behind_len + 1))
        return strerror(ENOMEM);
    memcpy(out->data, before, before_len);
    if (len > 0)
        memcpy(out->data + before_len, text, len);
    memcpy(out->data + before_len + len, behind, behind_len + 1);
    return out->data;
}

static const char *keep_or(struct fate_text *out, const void *text, size_t len, const char *otherwise)
{
    return len > 0 ? keep(out, "", text, len, "") : keep(out, otherwise, NULL, 0, "");
}

/* "killed by SIGSEGV", and what the text adds to it. */
static const char *signal_words(struct fate *fate, unsigned number, const void *text, size_t len)
{
    const char *name = number > 0 && number <= INT16_MAX ? sigabbrev_np((int)number) : NULL;
    char words[WORDS_ROOM];
    if (name)
        snprintf(words, sizeof words, "killed by SIG%s%s", name, len > 0 ? " (" : "");
    else
        snprintf(words, sizeof words, "killed by signal %u%s", number, len > 0 ? " (" : "");
    return keep(&fate->words, words, text, len, len > 0 ? ")" : "");
}

/* The first note that fails an item has the words. */
static void fail(struct fate *fate, const struct note *note, const void *text)
{
    char words[WORDS_ROOM];
    switch (note->kind) {
    case NOTE_EXIT:
        snprintf(words, sizeof words, "exited with status %u", note->code);
        fate->error = keep_or(&fate->words, text, note->text_len, words);
        break;
    case NOTE_SIGNAL:
        fate->error = signal_words(fate, note->code, text, note->text_len);
        break;
    case NOTE_TIMEOUT:
        fate->error = keep_or(&fate->words, text, note->text_len, "timed out");
        break;
    case NOTE_CANCELLED:
        fate->error = keep_or(&fate->words, text, note->text_len, "cancelled");
        break;
    default:
        fate->error = keep_or(&fate->words, text, note->text_len, "failed");
    }
    fate->failed = true;
}

/* Several texts lie one behind the other, or are put together. Where memory is short, what is there stays. */
static void add_err(struct fate *fate, const void *text, size_t len)
{
    if (len == 0)
        return;
    if (fate->err_size == 0) {
        fate->err = text;
        fate->err_size = len;
        return;
    }
    if ((const char *)fate->err + fate->err_size == (const char *)text) {
        fate->err_size += len;
        return;
    }
    bool gathered = fate->err == fate->gathered.data;
    if (!make_room(&fate->gathered, fate->err_size + len))
        return;
    if (!gathered)
        memcpy(fate->gathered.data, fate->err, fate->err_size);
    memcpy(fate->gathered.data + fate->err_size, text, len);
    fate->err = fate->gathered.data;
    fate->err_size += len;
}

void fate_note(struct fate *fate, const struct note *note, const void *text)
{
    fate->any = true;
    if (note_fails(note->kind) > 0 && !fate->failed)
        fail(fate, note, text);
    switch (note->kind) {
    case NOTE_CANCELLED:
        fate->cancelled = true;
        break;
    case NOTE_EXIT:
        fate->exit_code = note->code;
        break;
    case NOTE_SIGNAL:
        fate->signal = note->code;
        break;
    case NOTE_TIMEOUT:
        fate->timed_out = true;
        break;
    case NOTE_STDERR:
        add_err(fate, text, note->text_len);
        break;
    case NOTE_USAGE:
        fate->usage = usage_load(text);
        break;
    case NOTE_ATTEMPTS:
        fate->attempts = note->code;
        break;
    case NOTE_SLOT:
        fate->placed = true;
        fate->slot = note->code;
        fate->began_ns = load_u64(text);
        break;
    case NOTE_REMARK:
        if (!fate->remark && note->text_len > 0)
            fate->remark = keep(&fate->remarked, "", text, note->text_len, "");
        break;
    default: /* an error has its words only */
        break;
    }
}
