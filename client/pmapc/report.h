/*
 * What a job took, told on stderr at its end: one line, a few lines, or a JSON object.
 */
#ifndef PMAPC_REPORT_H
#define PMAPC_REPORT_H

#include "client/libpmap/pmap.h"

enum report_form { REPORT_NONE, REPORT_LINE, REPORT_TEXT, REPORT_JSON };

/* Prints it. For REPORT_JSON it must be the last thing on stderr. */
void report_print(enum report_form form, const char *function, const struct pmap_report *report);

#endif
