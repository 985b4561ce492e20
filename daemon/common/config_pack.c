/* Configurations from process to process, by the table of keys; see config_pack.h. */
#include "daemon/common/config_pack.h"

#include "daemon/common/access.h"
#include "daemon/common/config_keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    COUNT_MAX = 1 << 20, /* of anything: the file that it comes from is smaller */
    END_MARK = 0x70636f6e,
};

/* A stream over a descriptor of its own. NULL: errno says why. */
static FILE *open_stream(int fd, const char *mode)
{
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    FILE *file = own < 0 ? NULL : fdopen(own, mode);
    if (file == NULL && own >= 0)
        close(own);
    return file;
}

/* The size of a field that is all in itself; 0: it is not. */
static size_t plain_size(enum kind kind)
{
    switch (kind) {
    case KIND_COUNT:
    case KIND_SLOTS:
        return sizeof(int);
    case KIND_UID:
        return sizeof(uid_t);
    case KIND_SIZE:
        return sizeof(uint64_t);
    case KIND_TIME:
        return sizeof(int64_t);
    case KIND_BOOL:
        return sizeof(bool);
    case KIND_NAME:
    case KIND_ENDPOINTS:
    case KIND_LIST:
        break;
    }
    return 0;
}

static size_t offset_of(const struct key *key)
{
    bool limit = strcmp(key->section, "defaults") == 0;
    return key->offset + (limit ? offsetof(struct config, defaults) : 0);
}

/*** Packing ***/

static void put(FILE *file, const void *data, size_t size)
{
    if (size > 0)
        (void)fwrite(data, 1, size, file); /* the stream remembers what failed */
}

static void put_count(FILE *file, size_t count)
{
    uint32_t number = (uint32_t)count;
    put(file, &number, sizeof number);
}

static void put_string(FILE *file, const char *string)
{
    put_count(file, strlen(string));
    put(file, string, strlen(string));
}

static void put_endpoints(FILE *file, char *const *endpoints)
{
    size_t count = 0;
    while (endpoints[count] != NULL)
        count++;
    put_count(file, count);
    for (size_t i = 0; i < count; i++)
        put_string(file, endpoints[i]);
}

static void put_list(FILE *file, const struct access_list *list)
{
    put(file, &list->everyone, sizeof list->everyone);
    put_count(file, list->uid_count);
    put(file, list->uids, list->uid_count * sizeof *list->uids);
    put_count(file, list->gid_count);
    put(file, list->gids, list->gid_count * sizeof *list->gids);
}

static void put_section(FILE *file, const struct config_section *section)
{
    put(file, &section->group, sizeof section->group);
    put(file, &section->id, sizeof section->id);
    put(file, &section->line, sizeof section->line);
    put_string(file, section->name);
    put(file, &section->given, sizeof section->given);
    put(file, &section->limits, sizeof section->limits); /* numbers, all of it */
}

int config_pack(const struct config *c, int fd)
{
    FILE *file = open_stream(fd, "wb");
    if (file == NULL)
        return -errno;
    for (size_t i = 0; i < config_key_count; i++) {
        const void *field = (const char *)c + offset_of(&config_keys[i]);
        if (config_keys[i].kind == KIND_NAME)
            put_string(file, *(char *const *)field);
        else if (config_keys[i].kind == KIND_ENDPOINTS)
            put_endpoints(file, *(char *const *const *)field);
        else if (config_keys[i].kind == KIND_LIST)
            put_list(file, field);
        else
            put(file, field, plain_size(config_keys[i].kind));
    }
    put_count(file, c->section_count);
    for (size_t i = 0; i < c->section_count; i++)
        put_section(file, &c->sections[i]);
    put_count(file, END_MARK);
    int rc = fflush(file) != 0 || ferror(file) ? -EIO : 0;
    return fclose(file) != 0 ? -EIO : rc;
}

/*** Unpacking ***/

/* What is read, and the first thing that went wrong with it: a negative errno. */
struct unpack {
    FILE *file;
    int rc;
};

static bool get(struct unpack *u, void *data, size_t size)
{
    if (u->rc == 0 && size > 0 && fread(data, 1, size, u->file) != size)
        u->rc = -EPROTO;
    return u->rc == 0;
}

static size_t get_count(struct unpack *u)
{
    uint32_t number = 0;
    if (get(u, &number, sizeof number) && number > COUNT_MAX)
        u->rc = -EPROTO;
    return u->rc == 0 ? number : 0;
}

/* From malloc, with room for `count` things of that size and one more that is 0. NULL: u->rc says so. */
static void *get_room(struct unpack *u, size_t count, size_t size)
{
    void *room = u->rc == 0 ? calloc(count + 1, size) : NULL;
    if (room == NULL && u->rc == 0)
        u->rc = -ENOMEM;
    return room;
}

static char *get_string(struct unpack *u)
{
    size_t length = get_count(u);
    char *string = get_room(u, length, 1);
    if (string != NULL)
        (void)get(u, string, length);
    return string;
}

static char **get_endpoints(struct unpack *u)
{
    size_t count = get_count(u);
    char **endpoints = get_room(u, count, sizeof(char *));
    for (size_t i = 0; i < count && u->rc == 0; i++)
        endpoints[i] = get_string(u);
    return endpoints;
}

static id_t *get_ids(struct unpack *u, size_t *count)
{
    size_t n = get_count(u);
    id_t *ids = get_room(u, n, sizeof *ids);
    if (ids != NULL && get(u, ids, n * sizeof *ids))
        *count = n;
    return ids;
}

static void get_list(struct unpack *u, struct access_list *list)
{
    (void)get(u, &list->everyone, sizeof list->everyone);
    list->uids = get_ids(u, &list->uid_count);
    list->gids = get_ids(u, &list->gid_count);
}

static void get_sections(struct unpack *u, struct config *c)
{
    size_t count = get_count(u);
    c->sections = get_room(u, count, sizeof *c->sections);
    for (size_t i = 0; i < count && u->rc == 0; i++) {
        struct config_section *section = &c->sections[i];
        c->section_count = i + 1;
        (void)get(u, &section->group, sizeof section->group);
        (void)get(u, &section->id, sizeof section->id);
        (void)get(u, &section->line, sizeof section->line);
        section->name = get_string(u);
        (void)get(u, &section->given, sizeof section->given);
        (void)get(u, &section->limits, sizeof section->limits);
    }
}

static void get_key(struct unpack *u, const struct key *key, struct config *c)
{
    void *field = (char *)c + offset_of(key);
    if (key->kind == KIND_NAME)
        *(char **)field = get_string(u);
    else if (key->kind == KIND_ENDPOINTS)
        *(char ***)field = get_endpoints(u);
    else if (key->kind == KIND_LIST)
        get_list(u, field);
    else
        (void)get(u, field, plain_size(key->kind));
}

int config_unpack(int fd, struct config *c)
{
    struct config made = {0};
    uint32_t mark = 0;
    if (lseek(fd, 0, SEEK_SET) < 0)
        return -errno;
    struct unpack u = {.file = open_stream(fd, "rb")};
    if (u.file == NULL)
        return -errno;
    for (size_t i = 0; i < config_key_count && u.rc == 0; i++)
        get_key(&u, &config_keys[i], &made);
    get_sections(&u, &made);
    if (get(&u, &mark, sizeof mark) && mark != END_MARK)
        u.rc = -EPROTO;
    (void)fclose(u.file); /* it was only read */
    if (u.rc < 0)
        config_free(&made);
    else
        *c = made;
    return u.rc;
}
