/*
 * See rpc_status_load.h. Callers are named as the table of callers has them, and nothing of their requests
 * is told: who may connect may see who else uses the device, as ps(1) shows it.
 */
#include "frontend/rpc_status_load.h"

#include "base/clock.h"

/* A caller that has nothing waiting or running is told of for as long. */
#define CALLER_RECENT_USEC (60 * USEC_PER_SEC)

static void list_classes(const struct admission *a, bool with_times, uint64_t now_usec,
                         struct rpc_status_load *load)
{
    for (int c = 0; c < _CLASS_MAX; c++) {
        load->classes[c] = (struct rpc_class) {.name = call_class_name((enum call_class) c),
                                               .n_queued = a->fair.n_items[c]};
    }
    list_for_each (l, &a->granted) {
        load->classes[CONTAINER_OF(l, const struct ticket, link)->class].n_running++;
    }
    list_for_each (l, &a->queued) { /* in order of arrival */
        const struct ticket *t = CONTAINER_OF(l, const struct ticket, link);
        struct rpc_class *class = &load->classes[t->class];

        if (with_times && class->oldest_usec == 0) {
            class->oldest_usec = usec_since(now_usec, t->queued_at_usec);
        }
    }
}

static void list_callers(const struct admission *a, bool with_times, uint64_t now_usec,
                         struct rpc_status_load *load)
{
    for (size_t i = 0; i < CALLER_MAX; i++) {
        const struct caller_entry *c = &a->callers.entries[i];
        unsigned n_queued = c->is_used ? caller_entry_n_queued(c) : 0;
        uint64_t idle_usec = usec_since(now_usec, c->seen_at_usec);
        bool is_busy = c->is_used && (n_queued > 0 || c->n_running > 0);
        bool is_recent =
            with_times && c->is_used && c->seen_at_usec > 0 && idle_usec <= CALLER_RECENT_USEC;

        if (!is_busy && !is_recent) {
            continue;
        }
        load->callers[load->n_callers] = (struct rpc_caller) {
            .name = caller_entry_describe(c, load->names[load->n_callers]),
            .n_queued = n_queued,
            .n_running = c->n_running,
            .weight = c->lanes[CLASS_INTERACTIVE].weight,
            .idle_usec = with_times ? idle_usec : 0,
        };
        load->n_callers++;
    }
}

void rpc_status_load_add(const struct frontends *f, bool with_times, uint64_t now_usec,
                         struct rpc_status_load *load, struct rpc_status *status)
{
    list_classes(f->admission, with_times, now_usec, load);
    list_callers(f->admission, with_times, now_usec, load);
    status->classes = load->classes;
    status->n_classes = _CLASS_MAX;
    status->callers = load->callers;
    status->n_callers = load->n_callers;
    if (with_times) {
        status->tokens_in = f->stats->tokens_in;
        status->tokens_out = f->stats->tokens_out;
        status->pieces_out = f->stats->n_pieces;
    }
}
