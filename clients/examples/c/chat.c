/*
 * The smallest useful program with libsluice: asks a model and prints the answer as it comes.
 *
 *     cc chat.c $(pkg-config --cflags --libs libsluice) -o chat && ./chat tinyllama "Why is the sky blue?"
 */
#include <sluice.h>

#include <stdio.h>
#include <string.h>

/* Takes the events of one answer. 0: it is complete. */
static int print_answer(sluice_call *call)
{
    int event;

    while ((event = sluice_call_next(call)) > 0) {
        if (event == SLUICE_EVENT_TEXT && sluice_call_channel(call) != SLUICE_CHANNEL_THINKING) {
            size_t n;
            const char *text = sluice_call_text(call, &n);

            fwrite(text, 1, n, stdout);
            fflush(stdout);
        }
        if (event == SLUICE_EVENT_FAILED) {
            fprintf(stderr, "\n%s (%s)\n", sluice_call_error_message(call),
                    sluice_call_error_code(call));
        }
    }
    putchar('\n');
    return sluice_call_event(call) == SLUICE_EVENT_DONE ? 0 : 1;
}

int main(int argc, char **argv)
{
    sluice_client *client = NULL;
    sluice_request *request = NULL;
    sluice_call *call = NULL;
    int status = 1;
    int r;

    if (argc != 3) {
        fprintf(stderr, "usage: %s MODEL PROMPT\n", argv[0]);
        return 2;
    }
    r = sluice_connect(NULL, &client);
    if (r < 0) {
        fprintf(stderr, "cannot connect: %s\n", sluice_connect_error());
        return 1;
    }
    r = sluice_chat_new(argv[1], &request);
    if (r == 0) {
        r = sluice_request_add_message(request, SLUICE_ROLE_USER, argv[2], strlen(argv[2]));
    }
    if (r == 0) {
        r = sluice_call_start(client, request, &call);
    }
    if (r == 0) {
        status = print_answer(call);
    } else {
        fprintf(stderr, "cannot ask: %s\n", strerror(-r));
    }
    sluice_call_free(call);
    sluice_request_free(request);
    sluice_client_free(client);
    return status;
}
