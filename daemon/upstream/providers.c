/*
 * The table of providers: the only place that lists them.
 */
#include "upstream/provider.h"

#include <string.h>

static const struct provider_ops *const providers[] = {
    &provider_ollama,
    &provider_openai,
    &provider_mock,
};

const struct provider_ops *provider_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(providers); i++) {
        if (strcmp(providers[i]->name, name) == 0) {
            return providers[i];
        }
    }
    return NULL;
}
