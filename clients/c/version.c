/* Which library runs. The numbers come from the build; the interface's from the header. */
#include <stdlib.h>

#include "macros.h"
#include "sluice.h"

EXPORT const char *sluice_version_string(void)
{
    return SLUICE_VERSION;
}

EXPORT uint32_t sluice_version(void)
{
    const char *at = SLUICE_VERSION;
    uint32_t packed = 0;

    for (int i = 0; i < 3; i++) {
        char *end;

        packed = packed << 8 | (uint32_t) (strtoul(at, &end, 10) & 0xff);
        at = *end == '.' ? end + 1 : end;
    }
    return packed;
}

EXPORT uint32_t sluice_abi(void)
{
    return (uint32_t) SLUICE_ABI_MAJOR << 16 | SLUICE_ABI_MINOR;
}
