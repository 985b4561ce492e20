/*
 * Looks names up with getpwnam_r and getgrnam_r, giving them as much room as they ask for.
 */
#include "daemon/common/names.h"

#include "daemon/common/units.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdlib.h>

/* A group of thousands has a long list of members; beyond this something else is wrong. */
enum { ROOM_FIRST = 4096, ROOM_MAX = 16 << 20 };

/* One look-up with this much room. Returns 0, -ENOENT, -ERANGE (more room, please) or another negative errno.
 */
static int look_up(const char *name, bool group, char *room, size_t size, id_t *out)
{
    struct passwd user, *user_found = NULL;
    struct group members, *group_found = NULL;
    int rc = group ? getgrnam_r(name, &members, room, size, &group_found)
                   : getpwnam_r(name, &user, room, size, &user_found);

    if (user_found != NULL || group_found != NULL) {
        *out = group ? group_found->gr_gid : user_found->pw_uid;
        return 0;
    }
    /* getpwnam(3): each of these is some name service's way to say "not found". */
    if (rc == 0 || rc == ENOENT || rc == ESRCH || rc == EBADF || rc == EPERM)
        return -ENOENT;
    return -rc;
}

/* A number as an id; (uid_t)-1 means "leave as it is" to the kernel, so it is nobody's. */
static int number(const char *text, id_t *out)
{
    uint64_t value;

    if (units_count(text, &value) < 0 || value >= (id_t)-1)
        return -ENOENT;
    *out = (id_t)value;
    return 0;
}

static int name_to_id(const char *name, bool group, id_t *out)
{
    int rc = -ERANGE;

    for (size_t size = ROOM_FIRST; rc == -ERANGE && size <= ROOM_MAX; size *= 4) {
        char *room = malloc(size);

        if (room == NULL)
            return -ENOMEM;
        rc = look_up(name, group, room, size, out);
        free(room);
    }
    return rc == -ENOENT ? number(name, out) : rc;
}

int names_user(const char *name, uid_t *out)
{
    return name_to_id(name, false, out);
}

int names_group(const char *name, gid_t *out)
{
    return name_to_id(name, true, out);
}
