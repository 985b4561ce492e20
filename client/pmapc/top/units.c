/*
 * Numbers in few columns; see units.h.
 */
#include "client/pmapc/top/units.h"

#include <math.h>
#include <stdio.h>

static const char *unknown(char out[UNITS_ROOM])
{
    snprintf(out, UNITS_ROOM, "-");
    return out;
}

static const char *scaled(double value, double step, const char *units, char out[UNITS_ROOM])
{
    int i = 0;
    /* What would be rounded up to the next unit is of that unit. */
    while (value >= (i == 0 ? 9999.5 : step - 0.5) && units[i + 1] != '\0') {
        value /= step;
        i++;
    }
    if (i == 0)
        snprintf(out, UNITS_ROOM, "%.0f", value);
    else
        snprintf(out, UNITS_ROOM, value < 99.95 ? "%.1f%c" : "%.0f%c", fmin(value, 99999), units[i]);
    return out;
}

const char *units_count(double count, char out[UNITS_ROOM])
{
    if (isnan(count) || count < 0)
        return unknown(out);
    if (count > 0 && count < 9.95 && fabs(count - round(count)) > 0.005)
        return units_real(count, out);
    return scaled(count, 1000, " kMGTPE", out);
}

const char *units_bytes(double bytes, char out[UNITS_ROOM])
{
    if (isnan(bytes) || bytes < 0)
        return unknown(out);
    return scaled(bytes, 1024, " KMGTPE", out);
}

const char *units_seconds(double seconds, char out[UNITS_ROOM])
{
    if (isnan(seconds) || seconds < 0 || seconds > 9999.0 * 86400)
        return unknown(out);
    if (seconds < 0.0005) {
        snprintf(out, UNITS_ROOM, "0s");
    } else if (seconds < 0.9995) {
        snprintf(out, UNITS_ROOM, "%.0fms", seconds * 1000);
    } else if (seconds < 59.95) {
        snprintf(out, UNITS_ROOM, "%.1fs", seconds);
    } else {
        long whole = lround(seconds), minutes = whole / 60, hours = minutes / 60;
        if (hours < 1)
            snprintf(out, UNITS_ROOM, "%ld:%02ld", minutes, whole % 60);
        else if (hours < 10)
            snprintf(out, UNITS_ROOM, "%ld:%02ld:%02ld", hours, minutes % 60, whole % 60);
        else if (hours < 100)
            snprintf(out, UNITS_ROOM, "%ldh%02ldm", hours, minutes % 60);
        else if (hours < 24000)
            snprintf(out, UNITS_ROOM, "%ldd%02ldh", hours / 24, hours % 24);
        else
            snprintf(out, UNITS_ROOM, "%ldd", hours / 24);
    }
    return out;
}

const char *units_real(double value, char out[UNITS_ROOM])
{
    if (isnan(value) || value < 0)
        return unknown(out);
    if (value < 9.995 && fabs(value - round(value)) > 0.005)
        snprintf(out, UNITS_ROOM, "%.2f", value);
    else if (value < 99.95 && fabs(value - round(value)) > 0.05)
        snprintf(out, UNITS_ROOM, "%.1f", value);
    else
        return scaled(value, 1000, " kMGTPE", out);
    return out;
}
