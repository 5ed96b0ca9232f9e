#pragma once
/* What operators are told of models that are loaded, refused and unloaded (daemon/messages.def). */
#include "core/residency.h"

/* Its load is stopped by us; ret_why, for those who wait for it, has the numbers. */
void residency_report_stopped(const struct residency_model *m, enum residency_reason reason,
                              char ret_why[RESIDENCY_TEXT_BYTES]);

/* It is being unloaded, and for what. */
void residency_report_makes_room(const struct residency_action *action);

/* It was not unloaded, although its server was asked. */
void residency_report_stuck(const struct residency_model *m, const char *why);

/* Its load failed, and it is left alone for a while. */
void residency_report_quarantined(const struct residency_model *m, const char *why,
                                  uint64_t now_usec);
