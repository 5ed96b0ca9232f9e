#pragma once
/*
 * What operators are told of the daemon's own life: one function for each message, with its level,
 * its text and its fields (docs/ARCHITECTURE.md, "The log").
 */
#include <stddef.h>
#include <stdint.h>

#include "core/pressure.h"

void announce_started(const char *config_path);
/* why: a sentence without a full stop */
void announce_not_started(const char *config_path, const char *why);
/* listens: "http on 127.0.0.1:4000, ..." */
void announce_ready(const char *config_path, size_t n_models, const char *listens);
void announce_reloaded(const char *config_path, size_t n_models, uint64_t generation);
/* what is wrong with the file */
void announce_degraded(const char *config_path, const char *why);
void announce_reload_refused(const char *config_path, const char *why);
void announce_draining(size_t n_calls, uint64_t drain_usec);
void announce_drain_cut(size_t n_calls);
/* why: as above */
void announce_idle_exit(const char *why);
void announce_level(const struct pressure *p, enum pressure_level from, enum pressure_level to);
/* n_closed: idle connections of clients */
void announce_memory_relief(size_t n_closed);
void announce_records_dropped(void);
