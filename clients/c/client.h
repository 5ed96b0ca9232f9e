#pragma once
/* What calls and requests need of their client. */
#include "call.h"
#include "sluice.h"

/* 0, or -ECHILD: this process is a child of the one that made the client. */
int client_check_process(const sluice_client *client);

/* Tells the daemon to end a call that this side has given up. Best effort: without memory the daemon finishes it for nobody. */
void client_send_cancel(sluice_client *client, sluice_call *call);

/* Takes the call off the client; its frames are ignored from now on. */
void client_remove_call(sluice_client *client, sluice_call *call);

/* Makes a waiting client look at is_cancel_wanted. Any thread, signal handlers. */
void client_wake(sluice_client *client);

/* Call states change through call.c; the client counts the open ones. */
void client_call_closed(sluice_client *client, sluice_call *call);
