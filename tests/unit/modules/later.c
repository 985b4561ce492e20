/*
 * A module of an ABI that is not there yet, for test_host.
 */
#include <pmap_module.h>

extern PMAP_MODULE_EXPORT const struct pmap_module pmap_module;
const struct pmap_module pmap_module = {.abi = PMAP_MODULE_ABI + 1};
