/*
 * pmapd.conf(5): read at start-up, at SIGHUP (by a child of the launcher's: launcher/reading.h) and at
 * --check-config, checked whole, names turned into numbers here, so that nothing later has to look a name up.
 * The parser is libini_config, behind inifile.h; the table of keys with their kinds, ranges and defaults is
 * in config.c, once. Never logs: an error comes back as text with file and line.
 */
#ifndef PMAPD_CONFIG_H
#define PMAPD_CONFIG_H

#include "common/endpoint.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Who a list in [access] names: "*", user names and @groups, resolved. */
struct access_list {
    bool everyone;
    uid_t *uids;
    size_t uid_count;
    gid_t *gids;
    size_t gid_count;
};

/* The system's. */
#define CONFIG_FILE "/etc/pmapd/pmapd.conf"

/* The most slots that a pool may have, in the file and on the command line. */
enum { CONFIG_SLOTS_MAX = 4096 };

/* What an owner may have: [defaults], then the first [group NAME] that fits, then [user NAME], key by key. */
struct limits {
    int weight;            /* 1 … 10000 */
    int slots;             /* most slots at once; 0: no cap */
    int jobs;              /* open jobs */
    int connections;       /* connected clients */
    uint64_t queued_bytes; /* unfinished input and untaken results of all the owner's jobs */
    uint64_t spool;        /* bytes on disk for outputs that wait */
    uint64_t memory;       /* bytes, 0: no limit */
    int pids;              /* 0: no limit */
};

struct config_section; /* a [user …] or [group …]: private to config.c */

struct config {
    /* [daemon] */
    char *user;       /* the broker's own user; only looked at by root's system daemon */
    char **endpoints; /* checked; NULL-terminated, at least one, none twice */
    int64_t stop_timeout_ns;
    int64_t kill_grace_ns;
    uint64_t queued_bytes; /* input and results held for all owners together */
    /* [pool] */
    int slots; /* 0: auto */
    int64_t chunk_target_ns;
    bool guarantee;
    int64_t guarantee_after_ns;
    int guarantee_max; /* 0: as many as slots */
    /* [access] */
    struct access_list allow, deny, admin;
    bool allow_root;
    uid_t min_uid;
    bool same_namespace;
    /* [defaults] and what overrides it */
    struct limits defaults;
    struct config_section *sections; /* in the order of the file */
    size_t section_count;
};

/* Room for any message that config_read gives, its NUL included. */
enum { CONFIG_ERROR_MAX = 512 };

/*
 * Fills *c with the defaults of pmapd.conf(5); of admin's only those that exist on this machine. Returns 0 or
 * -ENOMEM.
 */
int config_defaults(struct config *c);

/*
 * The keys that there are, each with its default as it would stand in the file; those of [defaults] are also
 * those of [user NAME] and [group NAME]. Returns false where i is too large; the strings are static.
 */
struct config_key {
    const char *section, *name, *initial;
};
bool config_key(size_t i, struct config_key *key);

/*
 * Reads `path` over the defaults. error: at least CONFIG_ERROR_MAX bytes, set on failure to one line such as
 * "/etc/pmapd/pmapd.conf:12: unknown key 'slot' in [pool]; did you mean 'slots'?".
 * Checks everything: unknown sections and keys, ranges, units, names that do not exist, a key or section
 * given twice, lines that are too long or not of the form `key = value`. The user of [daemon] is not looked
 * up. Returns 0, -ENOENT or another errno of open(2), -EINVAL (the text is at fault), -ENOMEM. *c need not be
 * initialised: it is overwritten on success, untouched on failure.
 */
int config_read(const char *path, struct config *c, char *error);

/* The same for the file that is named; for CONFIG_FILE where path is NULL, and the defaults where that is not
 * there. */
int config_load(const char *path, struct config *c, char *error);

/* Frees what *c holds. NULL is accepted. */
void config_free(struct config *c);

/* What this owner may have, group overrides judged by the groups given (primary one included). */
struct limits config_limits(const struct config *c, uid_t uid, const gid_t *groups, size_t group_count);

/*
 * Where the file says what this owner may have of a key such as "jobs": "user alice", "group students", as it
 * is written there, or "defaults". Good as long as *c.
 */
const char *config_limit_section(const struct config *c, uid_t uid, const gid_t *groups, size_t group_count,
                                 const char *key);

/* Why this uid may not use the daemon, in words that follow a colon; NULL: it may. deny wins over allow.
 * Static. */
const char *config_keeps_out(const struct config *c, uid_t uid, const gid_t *groups, size_t group_count);

/* May this uid see and cancel everything? */
bool config_is_admin(const struct config *c, uid_t uid, const gid_t *groups, size_t group_count);

#endif
