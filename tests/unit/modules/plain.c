/*
 * A shared object that is no module, for test_host.
 */
int plain_function(void);

__attribute__((visibility("default"))) int plain_function(void)
{
    return 0;
}
