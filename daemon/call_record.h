#pragma once
/*
 * The one log record of a finished call: who asked what of whom, how it ended, how long it took.
 * Never what was said.
 */
#include "core/call.h"

void call_record_write(const struct call *call);
