/*
 * What pmapc says to its user beside the results: messages on stderr, tables and JSON on stdout.
 */
#ifndef PMAPC_TELL_H
#define PMAPC_TELL_H

#include <stdarg.h>
#include <stdbool.h>

/*
 * One line on stderr, "pmapc: " before it, in a single write(2) so that lines of several programs do not mix.
 * Control characters are shown as \xHH: a text may come from an item. Lines of more than about 8 KiB are cut.
 */
void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What is to be done before each message from now on; NULL: nothing. */
void tell_before(void (*act)(void));

/* The text of an error number (of either sign) as the rest of a sentence: "connection refused". Not
 * thread-safe. */
const char *tell_errno(int error);

/*
 * Writes out what stdio holds for stdout.
 * Returns STATUS_DONE, or STATUS_FAILED having told why; with a closed pipe it does not return (see
 * tell_sigpipe).
 */
int tell_finish(void);

/* Ends the program by SIGPIPE, also where that signal was inherited as ignored. */
_Noreturn void tell_sigpipe(void);

/* May what is printed have more than ASCII in it: does the user's locale, by its name, write UTF-8? */
bool tell_utf8(void);

enum { TELL_ROOM = 32 };
/* A duration in a unit that suits it ("85 us", "1.25 s"), a count ("812", "81.2 k"), into out. Return out. */
const char *tell_duration(double seconds, char out[TELL_ROOM]);
const char *tell_count(double count, char out[TELL_ROOM]);

#endif
