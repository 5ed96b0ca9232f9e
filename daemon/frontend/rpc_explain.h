#pragma once
/* Control.Explain: why a call would be admitted, queued or refused now, or where it stands. */
#include "frontend/conn.h"
#include "proto/frame.h"

/* Answers on stream id; nothing else happens by it. */
void rpc_explain_answer(struct conn *c, uint32_t id, const struct frame_request *frame,
                        uint64_t now_usec);
