/*
 * The table of keys, for the files of the configuration only: config.c has it, and reads; config_pack.c goes
 * through it to pack a configuration. Who adds a kind sees to both.
 */
#ifndef PMAPD_CONFIG_KEYS_H
#define PMAPD_CONFIG_KEYS_H

#include "daemon/common/config.h"

enum kind {
    KIND_COUNT,     /* int */
    KIND_SLOTS,     /* int; "auto" is 0 */
    KIND_UID,       /* uid_t, as a number */
    KIND_SIZE,      /* uint64_t, bytes */
    KIND_TIME,      /* int64_t, ns */
    KIND_BOOL,      /* bool */
    KIND_NAME,      /* char *, not looked up */
    KIND_ENDPOINTS, /* char **, NULL-terminated */
    KIND_LIST,      /* struct access_list */
};

/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): the table's rows read best in this order */
struct key {
    const char *section;
    const char *name;
    enum kind kind;
    size_t offset;       /* in struct config; for [defaults] in struct limits */
    const char *initial; /* the default, as it would stand in the file */
    uint64_t min, max;   /* of numbers, in the field's unit */
    bool or_zero;        /* 0 is allowed too: it means "no limit" or the like */
};

extern const struct key config_keys[];
extern const size_t config_key_count;

/* A [user NAME] or [group NAME]. */
struct config_section {
    bool group;
    id_t id;
    unsigned line;
    char *name;     /* as in the file: "user alice" */
    uint32_t given; /* a bit for each of config_keys that the section has */
    struct limits limits;
};

#endif
