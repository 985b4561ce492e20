/*
 * pmapd.conf(5): what each section and key means. The table below is the only place where a key, its kind,
 * its range and its default are written; the form of the file is inifile.c's, the names of [access] are
 * access.c's.
 */
#include "daemon/common/config.h"

#include "daemon/common/access.h"
#include "daemon/common/config_keys.h"
#include "daemon/common/inifile.h"
#include "daemon/common/names.h"
#include "daemon/common/units.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS        (UINT64_C(1000000))
#define S         (1000 * MS)
#define K         (UINT64_C(1) << 10)
#define M         (UINT64_C(1) << 20)
#define SIZE_MOST (UINT64_C(1) << 50)

#define IN_CONFIG(field) offsetof(struct config, field)
#define IN_LIMITS(field) offsetof(struct limits, field)

const struct key config_keys[] = {
    {"daemon", "user", KIND_NAME, IN_CONFIG(user), "pmapd"},
    {"daemon", "endpoint", KIND_ENDPOINTS, IN_CONFIG(endpoints), ENDPOINT_SYSTEM},
    {"daemon", "stop_timeout", KIND_TIME, IN_CONFIG(stop_timeout_ns), "10s", 0, 3600 * S},
    {"daemon", "kill_grace", KIND_TIME, IN_CONFIG(kill_grace_ns), "2s", 0, 600 * S},
    {"daemon", "queued_bytes", KIND_SIZE, IN_CONFIG(queued_bytes), "1G", M, SIZE_MOST},

    {"pool", "slots", KIND_SLOTS, IN_CONFIG(slots), "auto", 1, CONFIG_SLOTS_MAX},
    {"pool", "chunk_target", KIND_TIME, IN_CONFIG(chunk_target_ns), "10ms", MS / 100, 60 * S},
    {"pool", "guarantee", KIND_BOOL, IN_CONFIG(guarantee), "yes"},
    {"pool", "guarantee_after", KIND_TIME, IN_CONFIG(guarantee_after_ns), "100ms", 0, 3600 * S},
    {"pool", "guarantee_max", KIND_COUNT, IN_CONFIG(guarantee_max), "0", 0, CONFIG_SLOTS_MAX},

    {"access", "allow", KIND_LIST, IN_CONFIG(allow), "*"},
    {"access", "deny", KIND_LIST, IN_CONFIG(deny), ""},
    {"access", "admin", KIND_LIST, IN_CONFIG(admin), "root, @adm"},
    {"access", "allow_root", KIND_BOOL, IN_CONFIG(allow_root), "no"},
    {"access", "min_uid", KIND_UID, IN_CONFIG(min_uid), "1000", 0, (uid_t)-2},
    {"access", "same_namespace", KIND_BOOL, IN_CONFIG(same_namespace), "yes"},

    /* Also the keys of [user NAME] and [group NAME]. */
    {"defaults", "weight", KIND_COUNT, IN_LIMITS(weight), "1", 1, 10000},
    {"defaults", "slots", KIND_COUNT, IN_LIMITS(slots), "0", 0, CONFIG_SLOTS_MAX},
    {"defaults", "jobs", KIND_COUNT, IN_LIMITS(jobs), "1000", 1, 1000000},
    {"defaults", "connections", KIND_COUNT, IN_LIMITS(connections), "256", 1, 100000},
    {"defaults", "queued_bytes", KIND_SIZE, IN_LIMITS(queued_bytes), "64M", 64 * K, SIZE_MOST},
    {"defaults", "spool", KIND_SIZE, IN_LIMITS(spool), "10G", 0, SIZE_MOST},
    {"defaults", "memory", KIND_SIZE, IN_LIMITS(memory), "0", M, SIZE_MOST, .or_zero = true},
    {"defaults", "pids", KIND_COUNT, IN_LIMITS(pids), "0", 1, 4194304, .or_zero = true},
};

enum { KEY_COUNT = sizeof(config_keys) / sizeof(config_keys[0]) };
const size_t config_key_count = KEY_COUNT;

_Static_assert(KEY_COUNT <= 32, "config_section.given has a bit for each key");

/* One run of config_read: where complaints go. */
struct reading {
    const char *path;
    char *error; /* CONFIG_ERROR_MAX bytes */
};

#define COMPLAIN(r, line, ...) inifile_complain((r)->error, CONFIG_ERROR_MAX, (r)->path, line, __VA_ARGS__)

/* Says in `why` what a value should have been. Returns -EINVAL. */
static int say(char *why, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int say(char *why, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(why, CONFIG_ERROR_MAX, format, args);
    va_end(args);
    return -EINVAL;
}

/* Reads a number of the key's kind and checks its range. */
static int read_number(const struct key *key, const char *text, uint64_t *out, char *why)
{
    char low[UNITS_TEXT_MAX], high[UNITS_TEXT_MAX];
    const char *form = "a whole number";
    uint64_t value = 0;
    int64_t ns;
    int rc;

    switch (key->kind) {
    case KIND_SIZE:
        form = "a size: a whole number of bytes, or one with K, M or G behind it,";
        units_size_text(key->min, low);
        units_size_text(key->max, high);
        rc = units_size(text, &value);
        break;
    case KIND_TIME:
        form = "a time: a whole number with its unit (us, ms, s, m or h)";
        units_time_text((int64_t)key->min, low);
        units_time_text((int64_t)key->max, high);
        if ((rc = units_time(text, &ns)) == 0)
            value = (uint64_t)ns;
        break;
    default:
        snprintf(low, sizeof(low), "%llu", (unsigned long long)key->min);
        snprintf(high, sizeof(high), "%llu", (unsigned long long)key->max);
        rc = units_count(text, &value);
        break;
    }
    if (rc < 0 || ((value < key->min || value > key->max) && !(value == 0 && key->or_zero)))
        return say(why, "must be %s%s from %s to %s%s", key->kind == KIND_SLOTS ? "'auto' or " : "", form,
                   low, high, key->or_zero ? ", or 0 for no limit" : "");
    *out = value;
    return 0;
}

static void free_strings(char **strings)
{
    if (strings == NULL)
        return;
    for (char **s = strings; *s != NULL; s++)
        free(*s);
    free(strings);
}

/* Adds an endpoint, if it is one, to a NULL-terminated array; an empty array is NULL. */
static int add_endpoint(const char *word, char ***endpoints, char *why)
{
    size_t count = 0;
    char **more;

    switch (endpoint_check(word)) {
    case 0:
        break;
    case -EPROTONOSUPPORT:
        return say(why, "'%.80s' does not begin with ipc://, the only kind that is served", word);
    case -ENAMETOOLONG:
        return say(why, "the path in '%.120s' is longer than a socket's may be (107 bytes)", word);
    default:
        return say(why, "'%.80s' needs an absolute path behind ipc://", word);
    }
    for (char **e = *endpoints; e != NULL && *e != NULL; e++, count++) {
        if (strcmp(*e, word) == 0)
            return say(why, "'%.120s' is there twice", word);
    }
    more = reallocarray(*endpoints, count + 2, sizeof(*more));
    if (more == NULL)
        return -ENOMEM;
    *endpoints = more;
    more[count + 1] = NULL;
    more[count] = strdup(word);
    return more[count] == NULL ? -ENOMEM : 0;
}

/* Reads endpoints with commas or blanks between them. */
static int read_endpoints(const char *text, char ***out, char *why)
{
    char **endpoints = NULL, *rest = NULL, *copy = strdup(text);
    int rc = copy == NULL ? -ENOMEM : 0;

    for (char *word = copy == NULL ? NULL : strtok_r(copy, ", \t", &rest); word != NULL && rc == 0;
         word = strtok_r(NULL, ", \t", &rest))
        rc = add_endpoint(word, &endpoints, why);
    free(copy);
    if (rc == 0 && endpoints == NULL)
        rc = say(why, "must be at least one endpoint, such as %s", ENDPOINT_SYSTEM);
    if (rc < 0) {
        free_strings(endpoints);
        return rc;
    }
    *out = endpoints;
    return 0;
}

static int read_name(const char *text, char **out, char *why)
{
    if (text[0] == '\0' || strpbrk(text, " \t,") != NULL)
        return say(why, "must be one user's name");
    *out = strdup(text);
    return *out == NULL ? -ENOMEM : 0;
}

/*
 * Puts a value into its field of base, a struct config or struct limits, and frees what was there.
 * skip_unknown: see access_list_read. Returns 0, -EINVAL with `why` set, -ENOMEM; the field is then
 * untouched.
 */
static int set_key(const struct key *key, void *base, const char *text, bool skip_unknown, char *why)
{
    void *field = (char *)base + key->offset;
    uint64_t number = 0;
    struct access_list list = {0};
    char **strings = NULL, *string = NULL;
    int rc;

    switch (key->kind) {
    case KIND_COUNT:
    case KIND_SLOTS:
        if (key->kind == KIND_COUNT || strcmp(text, "auto") != 0)
            rc = read_number(key, text, &number, why);
        else
            rc = 0;
        if (rc == 0)
            *(int *)field = (int)number;
        return rc;
    case KIND_UID:
        if ((rc = read_number(key, text, &number, why)) == 0)
            *(uid_t *)field = (uid_t)number;
        return rc;
    case KIND_SIZE:
        return read_number(key, text, field, why);
    case KIND_TIME:
        if ((rc = read_number(key, text, &number, why)) == 0)
            *(int64_t *)field = (int64_t)number;
        return rc;
    case KIND_BOOL:
        return units_bool(text, field) < 0 ? say(why, "must be 'yes' or 'no'") : 0;
    case KIND_NAME:
        if ((rc = read_name(text, &string, why)) == 0) {
            free(*(char **)field);
            *(char **)field = string;
        }
        return rc;
    case KIND_ENDPOINTS:
        if ((rc = read_endpoints(text, &strings, why)) == 0) {
            free_strings(*(char ***)field);
            *(char ***)field = strings;
        }
        return rc;
    case KIND_LIST:
        if ((rc = access_list_read(text, skip_unknown, &list, why)) == 0) {
            access_list_free(field);
            *(struct access_list *)field = list;
        }
        return rc;
    }
    return say(why, "is of a kind that this program does not know");
}

bool config_key(size_t i, struct config_key *key)
{
    if (i >= KEY_COUNT)
        return false;
    *key = (struct config_key){config_keys[i].section, config_keys[i].name, config_keys[i].initial};
    return true;
}

int config_defaults(struct config *c)
{
    struct config fresh = {0};
    char why[CONFIG_ERROR_MAX];

    for (size_t i = 0; i < KEY_COUNT; i++) {
        void *base = strcmp(config_keys[i].section, "defaults") == 0 ? (void *)&fresh.defaults : &fresh;
        int rc = set_key(&config_keys[i], base, config_keys[i].initial, true, why);

        if (rc < 0) {
            config_free(&fresh);
            return rc;
        }
    }
    *c = fresh;
    return 0;
}

/* How many characters must be changed, added or left out to make b of a, capitals being no change; at
 * most 99. */
static int distance(const char *a, const char *b)
{
    enum { LONGEST = 32 };
    unsigned char row[LONGEST + 1];
    size_t a_length = strlen(a), b_length = strlen(b);

    if (a_length > LONGEST || b_length > LONGEST)
        return 99;
    for (size_t k = 0; k <= b_length; k++)
        row[k] = (unsigned char)k;
    for (size_t i = 0; i < a_length; i++) {
        unsigned char corner = row[0]; /* the cell above and to the left */

        row[0] = (unsigned char)(i + 1);
        for (size_t k = 0; k < b_length; k++) {
            int best = corner + (strncasecmp(a + i, b + k, 1) != 0);

            corner = row[k + 1];
            if (row[k + 1] + 1 < best)
                best = row[k + 1] + 1;
            if (row[k] + 1 < best)
                best = row[k] + 1;
            row[k + 1] = (unsigned char)best;
        }
    }
    return row[b_length];
}

/* Is this near enough to have been meant? At most a third of it is wrong, and better than `best` before. */
static bool nearer(const char *given, const char *known, int *best)
{
    int d = distance(given, known);

    if (d >= *best || d > (int)(strlen(known) + 2) / 3)
        return false;
    *best = d;
    return true;
}

/* Complains of a key that its section does not have: a typo, or the key of another section? */
static int complain_of_key(const struct reading *r, const struct inifile_section *section, const char *table,
                           const struct inifile_entry *entry)
{
    const char *meant = NULL, *elsewhere = NULL;
    int best = 99;

    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (strcmp(config_keys[i].section, table) != 0) {
            if (strcmp(config_keys[i].name, entry->key) == 0)
                elsewhere = config_keys[i].section;
        } else if (nearer(entry->key, config_keys[i].name, &best)) {
            meant = config_keys[i].name;
        }
    }
    if (elsewhere != NULL)
        return COMPLAIN(r, entry->line, "unknown key '%.80s' in [%.80s]; it belongs in [%s]", entry->key,
                        section->name, elsewhere);
    if (meant != NULL)
        return COMPLAIN(r, entry->line, "unknown key '%.80s' in [%.80s]; did you mean '%s'?", entry->key,
                        section->name, meant);
    return COMPLAIN(r, entry->line, "unknown key '%.80s' (= '%.80s') in [%.80s]", entry->key, entry->value,
                    section->name);
}

static int complain_of_section(const struct reading *r, const struct inifile_section *section)
{
    static const char *const known[] = {"daemon", "pool", "access", "defaults", "user", "group"};
    size_t word = strcspn(section->name, " \t");
    const char *meant = NULL;
    char *first = strndup(section->name, word);
    int best = 99;

    if (first == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (nearer(first, known[i], &best))
            meant = known[i];
    }
    free(first);
    if (meant == NULL)
        return COMPLAIN(r, section->line, "unknown section [%.80s]", section->name);
    return COMPLAIN(r, section->line, "unknown section [%.80s]; did you mean [%s%s]?", section->name, meant,
                    strcmp(meant, "user") == 0 || strcmp(meant, "group") == 0 ? " NAME" : "");
}

/*
 * Applies a section's entries to base by the keys of `table`. *given gets a bit for each key that was there.
 */
static int apply(const struct reading *r, const struct inifile_section *section, const char *table,
                 void *base, uint32_t *given)
{
    for (size_t e = 0; e < section->entry_count; e++) {
        const struct inifile_entry *entry = &section->entries[e];
        char why[CONFIG_ERROR_MAX] = "";
        size_t i = 0;
        int rc;

        while (i < KEY_COUNT &&
               (strcmp(config_keys[i].section, table) != 0 || strcmp(config_keys[i].name, entry->key) != 0))
            i++;
        if (i == KEY_COUNT)
            return complain_of_key(r, section, table, entry);
        rc = set_key(&config_keys[i], base, entry->value, false, why);
        if (rc == -EINVAL)
            return COMPLAIN(r, entry->line, "%s = '%.80s' in [%.80s]: %s", entry->key, entry->value,
                            section->name, why);
        if (rc < 0)
            return rc;
        *given |= UINT32_C(1) << i;
    }
    return 0;
}

/* Applies a [user NAME] or [group NAME]; name is what stands behind the word. */
static int apply_override(const struct reading *r, const struct inifile_section *section, bool group,
                          const char *name, struct config *c)
{
    struct config_section made = {.group = group, .line = section->line}, *more;
    const char *what = group ? "group" : "user";
    int rc;

    if (*name == '\0')
        return COMPLAIN(r, section->line, "[%s] needs a name: [%s NAME]", what, what);
    rc = group ? names_group(name, &made.id) : names_user(name, &made.id);
    if (rc == -ENOENT)
        return COMPLAIN(r, section->line, "[%.80s]: no %s '%.80s' on this machine", section->name, what,
                        name);
    if (rc < 0 && rc != -ENOMEM)
        return COMPLAIN(r, section->line, "[%.80s]: looking it up failed: %s", section->name, strerror(-rc));
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < c->section_count; i++) {
        if (c->sections[i].group == group && c->sections[i].id == made.id)
            return COMPLAIN(r, section->line, "[%.80s] is the same %s as in line %u", section->name, what,
                            c->sections[i].line);
    }
    if ((rc = apply(r, section, "defaults", &made.limits, &made.given)) < 0)
        return rc;
    more = reallocarray(c->sections, c->section_count + 1, sizeof(*more));
    if (more == NULL)
        return -ENOMEM;
    c->sections = more;
    if ((made.name = strdup(section->name)) == NULL)
        return -ENOMEM;
    more[c->section_count++] = made;
    return 0;
}

static int apply_section(const struct reading *r, const struct inifile_section *section, struct config *c)
{
    size_t word = strcspn(section->name, " \t");
    const char *name = section->name + word + strspn(section->name + word, " \t");
    uint32_t given = 0;

    if (strncmp(section->name, "user", word) == 0 && word == 4)
        return apply_override(r, section, false, name, c);
    if (strncmp(section->name, "group", word) == 0 && word == 5)
        return apply_override(r, section, true, name, c);
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (strcmp(section->name, config_keys[i].section) == 0)
            return apply(r, section, section->name,
                         strcmp(section->name, "defaults") == 0 ? (void *)&c->defaults : c, &given);
    }
    return complain_of_section(r, section);
}

int config_read(const char *path, struct config *c, char *error)
{
    const struct reading r = {.path = path, .error = error};
    struct inifile file;
    struct config fresh;
    int rc = inifile_read(path, error, CONFIG_ERROR_MAX, &file);

    if (rc < 0)
        return rc;
    rc = config_defaults(&fresh);
    if (rc == 0) {
        for (size_t i = 0; rc == 0 && i < file.section_count; i++)
            rc = apply_section(&r, &file.sections[i], &fresh);
        if (rc < 0)
            config_free(&fresh);
    }
    inifile_free(&file);
    if (rc == -ENOMEM)
        COMPLAIN(&r, 0, "%s", strerror(ENOMEM));
    if (rc == 0)
        *c = fresh;
    return rc;
}

int config_load(const char *path, struct config *c, char *error)
{
    int rc = config_read(path ? path : CONFIG_FILE, c, error);
    if (rc == -ENOENT && !path && (rc = config_defaults(c)) < 0)
        snprintf(error, CONFIG_ERROR_MAX, "%s", strerror(-rc));
    return rc;
}

void config_free(struct config *c)
{
    if (c == NULL)
        return;
    free(c->user);
    free_strings(c->endpoints);
    access_list_free(&c->allow);
    access_list_free(&c->deny);
    access_list_free(&c->admin);
    for (size_t i = 0; i < c->section_count; i++)
        free(c->sections[i].name);
    free(c->sections);
    *c = (struct config){0};
}

/* Copies the fields that the section gives. */
static void overlay(const struct config_section *section, struct limits *limits)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        size_t size = config_keys[i].kind == KIND_SIZE ? sizeof(uint64_t) : sizeof(int);

        if (section->given & UINT32_C(1) << i)
            memcpy((char *)limits + config_keys[i].offset,
                   (const char *)&section->limits + config_keys[i].offset, size);
    }
}

/* The sections that override the defaults for this owner, each NULL where there is none. */
static void find_sections(const struct config *c, uid_t uid, const gid_t *groups, size_t group_count,
                          const struct config_section **user, const struct config_section **group)
{
    *user = *group = NULL;
    for (size_t i = 0; i < c->section_count; i++) {
        const struct config_section *s = &c->sections[i];

        if (!s->group && s->id == uid)
            *user = s;
        for (size_t k = 0; s->group && *group == NULL && k < group_count; k++) {
            if (s->id == groups[k])
                *group = s;
        }
    }
}

struct limits config_limits(const struct config *c, uid_t uid, const gid_t *groups, size_t group_count)
{
    const struct config_section *user, *group;
    struct limits limits = c->defaults;

    find_sections(c, uid, groups, group_count, &user, &group);
    if (group != NULL)
        overlay(group, &limits);
    if (user != NULL)
        overlay(user, &limits);
    return limits;
}

/* Has the section this key of [defaults]? */
static bool gives(const struct config_section *section, const char *key)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (strcmp(config_keys[i].section, "defaults") == 0 && strcmp(config_keys[i].name, key) == 0)
            return (section->given & UINT32_C(1) << i) != 0;
    }
    return false;
}

const char *config_limit_section(const struct config *c, uid_t uid, const gid_t *groups, size_t group_count,
                                 const char *key)
{
    const struct config_section *user, *group;

    find_sections(c, uid, groups, group_count, &user, &group);
    if (user != NULL && gives(user, key))
        return user->name;
    return group != NULL && gives(group, key) ? group->name : "defaults";
}
