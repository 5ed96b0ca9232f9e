#pragma once
/* What sluice counts of itself, as Prometheus reads it (text format 0.0.4). */
#include "base/buf.h"
#include "frontend/frontend.h"

/* 0 or -errno of buf. */
int http_metrics_write(const struct frontends *f, struct buf *out) MUST_USE;
