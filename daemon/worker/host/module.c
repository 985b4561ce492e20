/*
 * Modules; see module.h. A host is started for each job, so it always loads the file that is there by then.
 */
#include "daemon/worker/host/module.h"

#include "daemon/worker/host/values.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct reason {
    char *text;
    size_t size;
};

__attribute__((format(printf, 3, 4))) static int refuse(struct reason *why, int rc, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why->text, why->size, format, args);
    va_end(args);
    return rc;
}

/* In later versions of the ABI the entries may be longer. */
static const struct pmap_function *entry(const struct module *m, uint32_t i)
{
    return (const struct pmap_function *)((const char *)m->object->functions +
                                          (size_t)i * m->object->function_size);
}

/* Is it as large as it must be, and has each function a name? */
static bool whole(const struct module *m)
{
    if (m->object->size < sizeof *m->object || m->object->function_size < sizeof(struct pmap_function))
        return false;
    for (uint32_t i = 0; i < m->object->function_count; i++) {
        if (!entry(m, i)->name)
            return false;
    }
    return true;
}

static int load(struct module *m, const char *path, struct reason *why)
{
    if (access(path, R_OK) < 0)
        return refuse(why, -errno, "%s: %s", path, strerror(errno));
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        const char *error = dlerror(); /* it mostly begins with the path */
        bool named = strncmp(error, path, strlen(path)) == 0;
        return refuse(why, -ENOEXEC, "%s%s%s", named ? "" : path, named ? "" : ": ", error);
    }
    m->object = dlsym(handle, "pmap_module");
    if (!m->object)
        return refuse(why, -ENOEXEC, "%s is not a module: it has no pmap_module", path);
    if (m->object->abi != PMAP_MODULE_ABI)
        return refuse(why, -ENOEXEC, "%s speaks module ABI %u; this pmapd speaks ABI %d", path,
                      m->object->abi, PMAP_MODULE_ABI);
    if (!whole(m))
        return refuse(why, -ENOEXEC, "%s is not a module: its pmap_module is damaged", path);
    return 0;
}

/* Appends to a list in a message, as far as there is room. */
static void list(char *text, size_t size, const char *name)
{
    size_t len = strlen(text);
    snprintf(text + len, size - len, "%s%s", len > 0 ? ", " : "", name);
}

static bool taken(const struct module *m, uint32_t i)
{
    for (uint32_t k = 0; k < i; k++) {
        if (strcmp(entry(m, k)->name, entry(m, i)->name) == 0)
            return true;
    }
    return false;
}

static int refuse_name(const struct module *m, const char *path, const char *name, struct reason *why)
{
    char names[400] = "";
    const char *meant = NULL;
    size_t nearest = SIZE_MAX;
    for (uint32_t i = 0; i < m->object->function_count; i++) {
        const char *other = entry(m, i)->name;
        size_t away = function_distance(name, strlen(name), other, strlen(other));
        if (away < nearest) {
            nearest = away;
            meant = other;
        }
        if (!taken(m, i))
            list(names, sizeof names, other);
    }
    return refuse(why, -ENOENT, "%s has no function '%s'%s%s%s; it has: %s", path, name,
                  meant ? "; did you mean '" : "", meant ? meant : "", meant ? "'?" : "",
                  names[0] ? names : "none");
}

/* Picks the function of that name that takes values of that type; PMAP_BYTES: items. */
static int choose(struct module *m, const char *path, const char *name, enum pmap_type type,
                  struct reason *why)
{
    char types[200] = "";
    bool known = false, untyped = false;
    for (uint32_t i = 0; i < m->object->function_count; i++) {
        const struct pmap_function *f = entry(m, i);
        if (strcmp(f->name, name) != 0)
            continue;
        known = true;
        if ((f->typed ? f->in : PMAP_BYTES) == type) {
            m->function = f;
            return 0;
        }
        if (f->typed)
            list(types, sizeof types, value_name(f->in) ? value_name(f->in) : "?");
        else
            untyped = true;
    }
    if (!known)
        return refuse_name(m, path, name, why);
    if (type == PMAP_BYTES)
        return refuse(why, -EINVAL, "%s:%s needs --type: %s", path, name, types);
    return refuse(why, -EINVAL, "%s:%s takes %s%s%s, not %s", path, name, types,
                  types[0] && untyped ? ", or " : "", untyped ? "items without --type" : "",
                  value_name(type));
}

/* Exactly one of the three, and types that there are. */
static bool sound(const struct pmap_function *f)
{
    if (!!f->item + !!f->chunk + !!f->typed != 1)
        return false;
    return !f->typed || (value_size(f->in) > 0 && (f->out == PMAP_BYTES || value_size(f->out) > 0));
}

void module_flush(void)
{
    fflush(stdout);
}

static enum function_result map(struct item_function *base, const uint8_t *item, size_t len, struct out *out)
{
    struct module *m = (struct module *)base;
    struct context *x = &m->context;
    context_begin(x, m->channel, CONTEXT_ITEM, m->channel->done, 1, out);
    int rc = m->function->item(&x->base, item, len);
    module_flush();
    return context_failed(x, rc) ? FUNCTION_FAILED : FUNCTION_OK;
}

static int start(struct module *m, const char *path, struct reason *why)
{
    if (!m->object->init)
        return 0;
    context_begin(&m->context, m->channel, CONTEXT_INIT, 0, 0, NULL);
    int rc = m->object->init(&m->context.base);
    module_flush();
    if (context_failed(&m->context, rc))
        return refuse(why, -ECANCELED, "%s cannot start: %s", path, m->context.error);
    return 0;
}

int module_init(struct module *m, const char *path, const char *name, const char *type, bool raw,
                struct channel *channel, char *why_text, size_t why_size)
{
    struct reason why = {why_text, why_size};
    enum pmap_type value = type ? value_type(type) : PMAP_BYTES;
    *m = (struct module){.base.map = map, .channel = channel};
    m->base.error = m->context.error;
    why_text[0] = 0;
    if (type && value == PMAP_BYTES)
        return refuse(&why, -EINVAL, "unknown type '%s'; there are: " VALUE_NAMES, type);
    if (raw && !type)
        return refuse(&why, -EINVAL, "raw values need a --type");
    int rc = load(m, path, &why);
    if (rc == 0)
        rc = choose(m, path, name, value, &why);
    if (rc < 0)
        return rc;
    if (!sound(m->function))
        return refuse(&why, -EINVAL, "%s:%s is damaged: it must have exactly one of item, chunk and typed",
                      path, name);
    return start(m, path, &why);
}

void module_fini(struct module *m)
{
    if (m->object->fini)
        m->object->fini();
}
