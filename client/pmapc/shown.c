/*
 * How an item is shown; see shown.h.
 */
#include "client/pmapc/shown.h"

#include <errno.h>
#include <string.h>

int shown_init(struct shown *shown, const struct pmap_call *call, const char *name, bool shell)
{
    *shown = (struct shown){.name = shell ? NULL : name};
    if (shell)
        return 0;
    if (call->kind == PMAP_PIPE)
        shown->argv = call->argv;
    if (call->kind != PMAP_COMMAND)
        return 0;
    size_t argc = 0;
    while (call->argv[argc])
        argc++;
    /* The template only reads them. */
    shown->template = template_new((char *const *)call->argv, argc, call->placeholder, call->fields);
    return shown->template ? 0 : -ENOMEM;
}

void shown_free(struct shown *shown)
{
    template_free(shown->template);
    arguments_free(&shown->arguments);
    *shown = (struct shown){.name = NULL};
}

/* Adds text, in quotes where a shell would need them. Returns false when memory was short. */
static bool add_quoted(const char *text, size_t len, struct grow *out)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_@%+=:,./-";
    bool needed = len == 0;
    for (size_t i = 0; i < len && !needed; i++)
        needed = text[i] == '\0' || !strchr(plain, text[i]);
    if (!needed)
        return grow_add(out, text, len);
    grow_byte(out, '\'');
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\'')
            grow_add(out, "'\\''", 4);
        else
            grow_byte(out, text[i]);
    }
    return grow_byte(out, '\'');
}

static bool add_words(const char *const *words, struct grow *out)
{
    for (size_t i = 0; words[i]; i++) {
        if (i > 0)
            grow_byte(out, ' ');
        add_quoted(words[i], strlen(words[i]), out);
    }
    return !out->failed;
}

bool shown_add(struct shown *shown, const char *item, size_t len, uint64_t number, struct grow *out)
{
    if (shown->argv)
        return add_words(shown->argv, out);
    if (shown->template) {
        struct arguments *a = &shown->arguments;
        int rc = template_fill(shown->template, (const uint8_t *)item, len, number, 0, a);
        if (rc == 0)
            return add_words((const char *const *)a->argv, out);
        if (rc == -ENOMEM)
            return false;
        /* No command can be made of it, and so none is run. */
    }
    if (shown->name) {
        grow_add(out, shown->name, strlen(shown->name));
        grow_byte(out, ' ');
    }
    return grow_add(out, item, len);
}
