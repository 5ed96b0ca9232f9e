#pragma once
/* What sluice says of itself over RPC: GetInfo, ListModels, Status. 0 or -errno of buf. */
#include "base/buf.h"
#include "frontend/frontend.h"

int rpc_info_encode_info(const struct frontends *f, uint64_t high_water_bytes,
                         struct buf *out) MUST_USE;
int rpc_info_encode_models(const struct frontends *f, struct buf *out) MUST_USE;
int rpc_info_encode_status(const struct frontends *f, uint64_t now_usec, struct buf *out) MUST_USE;

/* A status without what passes by itself (uptime, idle times): equal bytes, nothing has changed. */
int rpc_info_encode_comparable(const struct frontends *f, uint64_t now_usec,
                               struct buf *out) MUST_USE;
