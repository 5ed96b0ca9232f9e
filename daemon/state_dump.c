/* See state_dump.h. */
#include "state_dump.h"

#include "base/clock.h"
#include "base/log.h"
#include "core/residency.h"

static void dump_call(const struct call *call, uint64_t now_usec)
{
    log_printf(LOG_LEVEL_NOTICE,
               "state: call %s %s model=%.*s deployment=%s attempts=%u fallbacks=%u "
               "age_usec=%llu%s",
               call->request->id, call_state_name(call->state), STR_ARG(call->request->model),
               call->deployment_id[0] ? call->deployment_id : "-", call->attempts.n,
               call->attempts.n_fallbacks,
               (unsigned long long) usec_since(now_usec, call->arrived_at_usec),
               call->is_full ? " paused" : "");
}

static void dump_deployment(const struct deployment *d, uint64_t now_usec)
{
    const char *version = deployment_server_version(d);
    char text[DEPLOYMENT_TEXT_BYTES];
    const char *pause = deployment_describe_pause(d, true, now_usec, text);
    uint64_t latency_usec = latency_expected(&d->latency, now_usec);

    log_printf(LOG_LEVEL_NOTICE,
               "state: deployment %s in_use=%u/%u order=%u weight=%g first_content_usec=%llu "
               "loaded=%s server_version=%s%s%s",
               d->id, d->in_use, d->slots, (unsigned) d->terms->order, d->terms->weight,
               (unsigned long long) latency_usec,
               deployment_is_loaded(d, NULL, now_usec) ? "yes" : "no", version[0] ? version : "-",
               d->off_reason || pause ? " no calls: " : "",
               d->off_reason ? d->off_reason
               : pause       ? pause
                             : "");
}

static void dump_residency(const struct residency *r, uint64_t now_usec)
{
    log_printf(LOG_LEVEL_NOTICE,
               "state: memory total=%llu available=%llu reserve=%llu reserved=%llu loads=%llu "
               "evictions=%llu stopped=%llu stuck=%llu",
               (unsigned long long) r->memory.total_bytes,
               (unsigned long long) r->memory.available_bytes,
               (unsigned long long) residency_reserve_soft(r),
               (unsigned long long) residency_reserved_bytes(r), (unsigned long long) r->n_loads,
               (unsigned long long) r->n_evictions, (unsigned long long) r->n_aborts,
               (unsigned long long) r->n_stuck);
    list_for_each (l, &r->models) {
        const struct residency_model *m = CONTAINER_OF(l, struct residency_model, link);
        struct footprint_need need = residency_need(r, m);

        log_printf(
            LOG_LEVEL_NOTICE,
            "state: model %s at %s: %s for %llu us, needs=%llu (%s) load_usec=%llu held=%llu "
            "reserved=%llu waiting=%u",
            m->name, m->server, residency_state_name(m->state),
            (unsigned long long) usec_since(now_usec, m->since_usec),
            (unsigned long long) need.bytes, footprint_source_name(need.source),
            (unsigned long long) need.load_usec, (unsigned long long) m->held_bytes,
            (unsigned long long) m->reserved_bytes, m->wants.n);
    }
}

void state_dump(const struct frontends *f, uint64_t now_usec)
{
    log_printf(
        LOG_LEVEL_NOTICE,
        "state: generation=%llu level=%d connections=%zu queued=%zu granted=%zu calls=%zu buffered_bytes=%zu "
        "completed=%llu failed=%llu cancelled=%llu refused=%llu retries=%llu fallbacks=%llu",
        (unsigned long long) f->config_generation, f->pressure->level, f->n_conns,
        f->admission->n_queued, f->admission->n_granted, f->registry->n_calls, f->buffered_bytes,
        (unsigned long long) f->stats->n_completed, (unsigned long long) f->stats->n_failed,
        (unsigned long long) f->stats->n_cancelled, (unsigned long long) f->stats->n_refused,
        (unsigned long long) f->stats->n_retries, (unsigned long long) f->stats->n_fallbacks);
    list_for_each (l, &f->registry->running) {
        dump_call(CONTAINER_OF(l, struct call, link), now_usec);
    }
    list_for_each (l, &f->registry->waiting) {
        dump_call(CONTAINER_OF(l, struct call, link), now_usec);
    }
    list_for_each (l, &f->router->deployments) {
        dump_deployment(CONTAINER_OF(l, struct deployment, link), now_usec);
    }
    if (f->router->residency) {
        dump_residency(f->router->residency, now_usec);
    }
}
