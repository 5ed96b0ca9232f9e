#pragma once
/*
 * Between the parts of core/pressure: pressure.c (the level machine), pressure_window.c (what the
 * last two seconds say), pressure_table.c (the cells). Nobody else includes it.
 */
#include "core/pressure.h"

/* Measures what s says with the window before it: figures and swap are new. Remembers s. */
void pressure_measure(struct pressure *p, const struct memory_sample *s);

/*
 * Does a cell of level hold; is_relaxed: at the values that keep a level? PSI (and what stands in
 * for it) apart from the others, as it needs two samples. Only a true one sets ret_cause. Level 0
 * has no cells.
 */
bool pressure_psi_holds(const struct pressure *p, enum pressure_level level, bool is_relaxed,
                        struct pressure_cause *ret_cause);
bool pressure_others_hold(const struct pressure *p, enum pressure_level level, bool is_relaxed,
                          struct pressure_cause *ret_cause);
/* The row of time: what would be, if memory went on falling as it does. */
bool pressure_time_holds(const struct pressure *p, enum pressure_level level, bool is_relaxed,
                         struct pressure_cause *ret_cause);
