/*
 * A real pmap-launcher on a leash: its tests play the broker, at the other end of its socket, and the
 * clients, whose processes they fork. Every wait has a limit and fails the test.
 */
#ifndef LAUNCHER_RIG_H
#define LAUNCHER_RIG_H

#include "daemon/launcher/records.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { RIG_OWNERS = 4, RIG_CLIENTS = 16, RIG_LIMIT_MS = 20000, RIG_REPORT_MAX = 16384 };

/* Two users that exist nowhere. */
enum { ALICE = 54321, BOB = 54322 };

struct rig {
    char folder[64], launcher[96], worker[96], clients[96];
    int broker; /* our end of the launcher's socket */
    int listener;
    pid_t pid; /* the launcher */
    uid_t uid; /* that the launcher has */
    uint32_t token;
    struct rig_owner {
        uid_t uid;
        int fd;
        char path[RECORD_TEXT_MAX];
    } owners[RIG_OWNERS];
    size_t owner_count;
    pid_t client_pids[RIG_CLIENTS];
    size_t client_count;
};

/* What lets all have processes who may have them at all. */
#define RIG_OPEN "[access]\nallow = *\n"

/* Skips the test, saying so, where we are not root. */
#define RIG_NEEDS_ROOT(what)                                                                                 \
    do {                                                                                                     \
        if (geteuid() != 0) {                                                                                \
            print_message("%s takes root\n", what);                                                          \
            skip();                                                                                          \
        }                                                                                                    \
    } while (0)

/* A test for cmocka which may start this rig, and need not have stopped it when it fails. */
#define RIG_TEST(test, rig) cmocka_unit_test_prestate_setup_teardown(test, rig_setup, rig_teardown, rig)
int rig_setup(void **rig);
int rig_teardown(void **rig);

/*
 * Starts a launcher: the system's with this configuration, which takes root, or with NULL a private one, of
 * ALICE's when we are root.
 */
void rig_start(struct rig *rig, const char *config);

/* Ends the broker's end, and checks that the launcher goes and leaves nothing. */
void rig_stop(struct rig *rig);

/* Ends the rig however far it got, for a test that failed; nothing after rig_stop. */
void rig_abort(struct rig *rig);

/*
 * A client's process, which calls prepare(arg) (false: it cannot, and -1 is returned) before it connects and
 * then waits until it is killed. Returns our end of its connection.
 */
int rig_client(struct rig *rig, bool (*prepare)(const void *arg), const void *arg);

/* A client of this uid, gid the same, without other groups. */
int rig_client_of(struct rig *rig, uid_t uid);

/* Starts the kind of launcher that we may start, and returns a client whom it serves, who is rig_any_uid. */
int rig_start_any(struct rig *rig);
uid_t rig_any_uid(void);

/* Kills and waits for the client that was made last. */
void rig_client_end(struct rig *rig);

/* Sends a request with a new token, which is returned. */
uint32_t rig_send(struct rig *rig, enum record_type type, int fd);
void rig_kill(struct rig *rig, uint32_t worker);

/* The next record that is not LISTENING; those are taken note of. False when the launcher has gone. */
bool rig_next(struct rig *rig, struct record *record);

/* The next one, which must be of this type and, but for EXITED, have this token. */
struct record rig_expect(struct rig *rig, enum record_type type, uint32_t token);

/* A refusal with this error, and these words for the client. */
void rig_refused(struct rig *rig, uint32_t token, int error, const char *words);

/* START and its STARTED. */
struct record rig_start_worker(struct rig *rig, int client);

/* The connection of this owner's next worker, and its report. */
int rig_accept(struct rig *rig, uid_t uid, char report[RIG_REPORT_MAX]);

/* The worker does this and has done it. */
void rig_tell(int connection, char command);

/* Waits until nothing holds the worker's end any more. */
void rig_await_end(int connection);

/* What the report says behind this word, up to the end of the line. */
const char *rig_word(const char *report, const char *word, char out[256]);

size_t rig_descriptors(const struct rig *rig);
bool rig_has_children(const struct rig *rig);

#endif
