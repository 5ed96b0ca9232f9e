#pragma once
/* Frames of one client in both directions. What goes wrong with the connection ends its calls;
 * callers need not look. */
#include "client.h"
#include "proto/frame.h"

/* Queues a request on the next stream. -EMSGSIZE, -EOVERFLOW (no stream ids are left), -ENOBUFS,
 * -ENOMEM. */
int traffic_send_request(sluice_client *client, const struct request_method *method,
                         struct frame_slice payload);

/* Tells the daemon to end a call that this side has given up. Best effort: without memory the
 * daemon finishes it for nobody. */
void traffic_send_cancel(sluice_client *client, sluice_call *call);

/* Sends what the socket takes, and watches it for more. 1: something was sent; 0. */
int traffic_flush(sluice_client *client);

/* Receives, a bounded amount. 1: something happened, maybe the end of the connection; 0. */
int traffic_receive(sluice_client *client);

/* Ends an open call from this side. */
void traffic_end_call(sluice_client *client, sluice_call *call, enum failure_kind by);
