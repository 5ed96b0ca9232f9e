#pragma once
/*
 * The keys of clients: sluice.keys, the file that sluice.keys_file names, and the credential
 * CONFIG_KEYS_CREDENTIAL. All three are the same list, and add up.
 */
#include "config/config_reader.h"

#define CONFIG_KEYS_CREDENTIAL    "sluice-keys"
#define CONFIG_KEYS_FILE_MAX      (256 * 1024) /* bytes: 256 keys with a dozen models each */
#define CONFIG_KEY_RATE_MAX       UINT64_C(1000000000)
#define CONFIG_KEY_PARALLEL_MAX   65536
#define CONFIG_KEY_WEIGHT_MAX     1000
#define CONFIG_KEY_WEIGHT_DEFAULT 1

/* The value of sluice.keys. */
void config_access_read_list(struct config_reader *r, const struct config_node *at);

/* The value of sluice.keys_file: reads the file. */
void config_access_read_file(struct config_reader *r, const struct config_node *at);

/* The credential, and what only all keys together show. After the sections. */
void config_access_finish(struct config_reader *r);

/* Does the file, or a credential, name any key (usable or not)? Before that too. */
bool config_access_has_keys(const struct config_reader *r);
