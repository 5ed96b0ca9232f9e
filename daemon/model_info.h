#pragma once
/*
 * What the configuration says about its models, in the shapes of LiteLLM's GET /model/info and
 * /model_group/info: for tools that ask a gateway what its models can do.
 */
#include "base/buf.h"
#include "base/macros.h"
#include "base/str.h"
#include "core/access_key.h"

struct config;

/*
 * {"data":[{"model_name","litellm_params","model_info"}]}: every deployment that is listed, or the one
 * with that id, less those of models that the key may not use (NULL: none). 0, -ENOENT: no deployment
 * has that id; -errno of buf.
 */
int model_info_write(const struct config *c, struct str id, const struct access_key *key,
                     struct buf *out) MUST_USE;

/* {"data":[{"model_group","providers",...}]}: one entry for each name. */
int model_info_write_groups(const struct config *c, const struct access_key *key,
                            struct buf *out) MUST_USE;
