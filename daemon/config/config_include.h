#pragma once
/* include: further files, whose sections become part of the tree. */
#include "config/config_reader.h"

/*
 * Reads the files that r->root names, and those that they name, beside path (NULL: there is no
 * file), and puts what they hold into root. n_bytes: of the file itself. What cannot be read
 * refuses the configuration. Before variables are resolved. 0 or -ENOMEM.
 */
int config_include_read(struct config_reader *r, struct config_node *root, const char *path,
                        size_t n_bytes) MUST_USE;
