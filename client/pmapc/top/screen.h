/*
 * The terminal: taken, given back, and what comes from it and from the kernel on its behalf. Signals are
 * blocked while it is taken, and arrive through a descriptor, so that whatever ends the program gives the
 * terminal back first. There is one terminal, hence the globals behind this. For one thread.
 */
#ifndef PMAPC_TOP_SCREEN_H
#define PMAPC_TOP_SCREEN_H

#include <stdbool.h>

enum screen_event {
    SCREEN_TIME, /* the time has passed */
    SCREEN_KEYS, /* screen_key has something */
    SCREEN_NEWS, /* the descriptor is readable */
    SCREEN_DRAW, /* it has another size, or was suspended: all is to be drawn anew */
    SCREEN_END,  /* a signal, or the terminal is gone */
};

/*
 * Blocks the signals that screen_wait brings: before any thread is made that might get them.
 * Returns 0 or a negative errno.
 */
int screen_signals(void);

/* Takes the terminal. Returns 0, or -ENOTTY (its type is unknown) or -ENOTSUP (it cannot place a cursor). */
int screen_start(void);

/* Gives the terminal back as it was. May be called again, and where it was never taken. */
void screen_stop(void);

/* Waits for what comes next; timeout_ms: at most so long. news: a descriptor. */
enum screen_event screen_wait(int news, int timeout_ms);

/* The next key, or false when there is none. *special: it is one of ncurses' KEY_ numbers, else a character.
 */
bool screen_key(unsigned *key, bool *special);

/* Draws the whole screen with the next refresh, whatever is believed to be on it. */
void screen_redraw(void);

/*
 * After SCREEN_END and screen_stop: ends by the signal that came, as if nothing had caught it; returns
 * STATUS_INTERRUPTED where it was Ctrl-C, and STATUS_FAILED where the terminal is gone.
 */
int screen_status(void);

#endif
