/*
 * Who is named by a list of [access], and what follows from that.
 */
#include "daemon/common/access.h"

#include "daemon/common/names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Adds an id to one of the two arrays of a list. uid_t and gid_t are one type on Linux. */
static int add_id(id_t **ids, size_t *count, id_t id)
{
    id_t *more = reallocarray(*ids, *count + 1, sizeof(**ids));

    if (more == NULL)
        return -ENOMEM;
    more[(*count)++] = id;
    *ids = more;
    return 0;
}

/* Adds what one word names. Returns 0, -ENOENT, -ENOMEM or what the name service said. */
static int add_word(const char *word, struct access_list *list)
{
    id_t id;
    int rc;

    if (strcmp(word, "*") == 0) {
        list->everyone = true;
        return 0;
    }
    if (word[0] == '@') {
        rc = names_group(word + 1, &id);
        return rc < 0 ? rc : add_id(&list->gids, &list->gid_count, id);
    }
    rc = names_user(word, &id);
    return rc < 0 ? rc : add_id(&list->uids, &list->uid_count, id);
}

/* Says in `why` what is wrong with a word. */
static void explain(const char *word, int rc, char *why)
{
    bool group = word[0] == '@';

    if (rc != -ENOENT)
        snprintf(why, CONFIG_ERROR_MAX, "looking up '%.80s' failed: %s", word, strerror(-rc));
    else if (word[0] == '#' || word[0] == ';')
        snprintf(why, CONFIG_ERROR_MAX, "a comment needs a line of its own");
    else if (group && word[1] == '\0')
        snprintf(why, CONFIG_ERROR_MAX, "'@' without a group's name");
    else
        snprintf(why, CONFIG_ERROR_MAX, "no %s '%.80s' on this machine", group ? "group" : "user",
                 word + group);
}

int access_list_read(const char *text, bool skip_unknown, struct access_list *out, char *why)
{
    struct access_list list = {0};
    char *copy = strdup(text), *rest = NULL;
    int rc = copy == NULL ? -ENOMEM : 0;

    for (char *word = copy == NULL ? NULL : strtok_r(copy, ", \t", &rest); word != NULL && rc == 0;
         word = strtok_r(NULL, ", \t", &rest)) {
        rc = add_word(word, &list);
        if (rc < 0 && rc != -ENOMEM) {
            if (!skip_unknown)
                explain(word, rc, why);
            rc = skip_unknown ? 0 : -EINVAL;
        }
    }
    free(copy);
    if (rc < 0) {
        access_list_free(&list);
        return rc;
    }
    *out = list;
    return 0;
}

void access_list_free(struct access_list *list)
{
    free(list->uids);
    free(list->gids);
    *list = (struct access_list){0};
}

static bool contains(const id_t *ids, size_t count, id_t id)
{
    for (size_t i = 0; i < count; i++) {
        if (ids[i] == id)
            return true;
    }
    return false;
}

/* Is the uid or one of the groups in the list? */
static bool has(const struct access_list *list, uid_t uid, const gid_t *groups, size_t group_count)
{
    if (list->everyone || contains(list->uids, list->uid_count, uid))
        return true;
    for (size_t i = 0; i < group_count; i++) {
        if (contains(list->gids, list->gid_count, groups[i]))
            return true;
    }
    return false;
}

const char *config_keeps_out(const struct config *c, uid_t uid, const gid_t *groups, size_t group_count)
{
    if (has(&c->deny, uid, groups, group_count))
        return "'deny' of [access] in pmapd's configuration names it, or a group of its";
    if (!has(&c->allow, uid, groups, group_count))
        return "'allow' of [access] in pmapd's configuration names neither it nor a group of its";
    return NULL;
}

bool config_is_admin(const struct config *c, uid_t uid, const gid_t *groups, size_t group_count)
{
    return has(&c->admin, uid, groups, group_count);
}
