/* rpc_msg: answers, read back with protobuf-c. */
#include "support.h"

#include <errno.h>

#include "sluice.pb-c.h"
#include "wire/rpc_msg.h"

static Sluice__V1__Event *read_event(const struct buf *b)
{
    Sluice__V1__Event *m = sluice__v1__event__unpack(NULL, b->len, (const uint8_t *) buf_ptr(b));

    ck_assert_ptr_nonnull(m);
    return m;
}

START_TEST(encodes_results)
{
    struct rpc_stream s = {0};
    Sluice__V1__Event *m;
    struct buf out;
    struct event ev = {.type = EVENT_RESULT,
                       .result = {7, -0.5, STR_LIT("{\"label\":\"\xc3\xa9\"}")}};

    buf_init(&out, 4096);
    ck_assert_int_eq(rpc_encode_event(&s, &ev, "call-1", NULL, &out), 0);
    m = read_event(&out);
    ck_assert_int_eq(m->kind_case, SLUICE__V1__EVENT__KIND_RESULT);
    ck_assert_uint_eq(m->seq, 1);
    ck_assert_uint_eq(m->result->index, 7);
    ck_assert(m->result->score == -0.5);
    ck_assert_str_eq(m->result->json, "{\"label\":\"\xc3\xa9\"}");
    sluice__v1__event__free_unpacked(m, NULL);
    buf_done(&out);
}
END_TEST

START_TEST(encodes_a_stream)
{
    const struct rpc_timings timings = {1, 22, 333};
    const float values[] = {0.5F, -1, 0};
    const enum finish_reason reasons[] = {FINISH_STOP, FINISH_LENGTH, FINISH_TOOL_CALLS,
                                          FINISH_CONTENT_FILTER};
    struct rpc_stream s = {0};
    Sluice__V1__Event *m;
    struct buf out;
    const struct event events[] = {
        {.type = EVENT_QUEUED, .queued = {3}},
        {.type = EVENT_STARTED, .started = {.model = STR_LIT("tiny"), .deployment = STR_LIT("d1")}},
        {.type = EVENT_TEXT, .text = {1, CHANNEL_THINKING, STR_LIT("a\0\xc3"), STR_LIT("{}")}},
        {.type = EVENT_TOOL_CALL, .tool_call = {0, 2, STR_LIT("id"), STR_LIT("f"), STR_LIT("{")}},
        {.type = EVENT_TOOL_CALL, .tool_call = {0, 2, STR_NONE, STR_NONE, STR_LIT("}")}},
        {.type = EVENT_EMBEDDING, .embedding = {7, values, 3}},
        {.type = EVENT_USAGE, .usage = {10, 4, 6, 5}},
        {.type = EVENT_END, .end = {reasons, 4}},
    };

    buf_init(&out, 4096);
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        buf_clear(&out);
        ck_assert_int_eq(rpc_encode_event(&s, &events[i], "call-1", &timings, &out), 0);
        if (events[i].type == EVENT_USAGE) {
            ck_assert_uint_eq(out.len, 0);
            continue;
        }
        m = read_event(&out);
        ck_assert_uint_eq(m->seq, i < 6 ? i + 1 : 7);
        switch (i) {
        case 0:
            ck_assert_int_eq(m->kind_case, SLUICE__V1__EVENT__KIND_QUEUED);
            ck_assert_uint_eq(m->queued->position, 3);
            break;
        case 1:
            ck_assert_str_eq(m->started->request_id, "call-1");
            ck_assert_str_eq(m->started->model, "tiny");
            ck_assert_str_eq(m->started->deployment, "d1");
            break;
        case 2:
            ck_assert_uint_eq(m->text->text.len, 3);
            ck_assert_mem_eq(m->text->text.data, "a\0\xc3", 3);
            ck_assert_int_eq(m->text->channel, SLUICE__V1__CHANNEL__CHANNEL_THINKING);
            ck_assert_uint_eq(m->text->choice, 1);
            ck_assert_str_eq(m->text->logprobs_json, "{}");
            break;
        case 3:
            ck_assert_str_eq(m->tool_call->id, "id");
            ck_assert_str_eq(m->tool_call->name, "f");
            ck_assert_uint_eq(m->tool_call->index, 2);
            ck_assert_str_eq(m->tool_call->arguments_json, "{");
            break;
        case 4:
            ck_assert_str_eq(m->tool_call->id, "");
            ck_assert_str_eq(m->tool_call->arguments_json, "}");
            break;
        case 5:
            ck_assert_uint_eq(m->embedding->index, 7);
            ck_assert_uint_eq(m->embedding->n_values, 3);
            ck_assert_mem_eq(m->embedding->values, values, sizeof values);
            break;
        default:
            ck_assert_int_eq(m->kind_case, SLUICE__V1__EVENT__KIND_DONE);
            ck_assert_uint_eq(m->done->n_finish_reasons, 4);
            for (unsigned k = 0; k < 4; k++) {
                ck_assert_uint_eq(m->done->finish_reasons[k], k + 1);
            }
            ck_assert_uint_eq(m->done->usage->input_tokens, 10);
            ck_assert_uint_eq(m->done->usage->cached_input_tokens, 4);
            ck_assert_uint_eq(m->done->usage->output_tokens, 6);
            ck_assert_uint_eq(m->done->usage->reasoning_output_tokens, 5);
            ck_assert_uint_eq(m->done->timings->queue_usec, 1);
            ck_assert_uint_eq(m->done->timings->first_token_usec, 22);
            ck_assert_uint_eq(m->done->timings->total_usec, 333);
            break;
        }
        sluice__v1__event__free_unpacked(m, NULL);
    }
    buf_done(&out);
}
END_TEST

START_TEST(each_channel_has_its_number)
{
    static const enum event_channel channels[] = {CHANNEL_ANSWER, CHANNEL_THINKING,
                                                  CHANNEL_REFUSAL};
    const struct rpc_timings timings = {0};
    struct rpc_stream s = {0};
    struct buf out;

    buf_init(&out, 4096);
    for (size_t i = 0; i < ARRAY_LEN(channels); i++) {
        const struct event ev = {.type = EVENT_TEXT,
                                 .text = {.channel = channels[i], .bytes = STR_LIT("a")}};

        buf_clear(&out);
        ck_assert_int_eq(rpc_encode_event(&s, &ev, NULL, &timings, &out), 0);

        Sluice__V1__Event *m = read_event(&out);

        ck_assert_uint_eq(m->text->channel, i); /* as sluice.proto has them */
        sluice__v1__event__free_unpacked(m, NULL);
    }
    buf_done(&out);
}
END_TEST

START_TEST(done_without_usage_has_none)
{
    const enum finish_reason reason = FINISH_STOP;
    const struct event ev = {.type = EVENT_END, .end = {&reason, 1}};
    const struct rpc_timings timings = {0};
    struct rpc_stream s = {0};
    struct buf out;

    buf_init(&out, 4096);
    ck_assert_int_eq(rpc_encode_event(&s, &ev, NULL, &timings, &out), 0);

    Sluice__V1__Event *m = read_event(&out);

    ck_assert_ptr_null(m->done->usage);
    sluice__v1__event__free_unpacked(m, NULL);
    buf_done(&out);
}
END_TEST

START_TEST(failed_is_no_event)
{
    const struct event ev = {.type = EVENT_FAILED, .failed = {.code = ERRCODE_INTERNAL}};
    struct rpc_stream s = {0};
    struct buf out;

    buf_init(&out, 4096);
    ck_assert_int_eq(rpc_encode_event(&s, &ev, NULL, NULL, &out), 0);
    ck_assert_uint_eq(out.len, 0);
    ck_assert_uint_eq(s.seq, 0);
    buf_done(&out);
}
END_TEST

/* A model server's bad byte must not make a strict client refuse the message. */
START_TEST(strings_are_mended)
{
    const struct event ev = {.type = EVENT_TOOL_CALL,
                             .tool_call = {0, 0, STR_LIT("a\0b"), STR_LIT("\xffg\xc3\xa9\xc3"),
                                           STR_LIT("{\xf0\x9f\x92\xa9}")}};
    struct rpc_stream s = {0};
    struct buf out;

    buf_init(&out, 4096);
    ck_assert_int_eq(rpc_encode_event(&s, &ev, NULL, NULL, &out), 0);

    Sluice__V1__Event *m = read_event(&out);

    ck_assert_str_eq(m->tool_call->id, "a?b");
    ck_assert_str_eq(m->tool_call->name, "?g\xc3\xa9?");
    ck_assert_str_eq(m->tool_call->arguments_json, "{\xf0\x9f\x92\xa9}");
    sluice__v1__event__free_unpacked(m, NULL);
    buf_done(&out);
}
END_TEST

START_TEST(a_full_buffer_takes_nothing)
{
    const struct event ev = {.type = EVENT_TEXT,
                             .text = {0, CHANNEL_ANSWER, STR_LIT("0123456789"), STR_NONE}};
    struct rpc_stream s = {0};
    struct buf out;

    buf_init(&out, 20);
    ck_assert_int_eq(rpc_encode_event(&s, &ev, NULL, NULL, &out), 0);
    size_t n = out.len;

    ck_assert_int_eq(rpc_encode_event(&s, &ev, NULL, NULL, &out), -ENOBUFS);
    ck_assert_uint_eq(out.len, n);
    ck_assert_uint_eq(s.seq, 1);
    buf_done(&out);
}
END_TEST

/* The hot path: with room in the buffer there is nothing to fail. */
START_TEST(text_needs_no_allocation)
{
    const struct event ev = {.type = EVENT_TEXT,
                             .text = {0, CHANNEL_ANSWER, STR_LIT("token"), STR_NONE}};
    struct rpc_stream s = {0};
    struct buf out;
    int r = 0;

    buf_init(&out, 4096);
    ck_assert_ptr_nonnull(buf_reserve(&out, 4000));
    fail_allocation(1);
    for (int i = 0; i < 100;
         i++) { /* nothing of Check in here: it may be linked statically, and allocates */
        r = r < 0 ? r : rpc_encode_event(&s, &ev, NULL, NULL, &out);
    }

    bool failed = allocation_failed();

    fail_allocation(0);
    ck_assert_int_eq(r, 0);
    ck_assert(!failed);
    ck_assert_uint_eq(s.seq, 100);
    buf_done(&out);
}
END_TEST

START_TEST(encodes_error_detail)
{
    struct buf out;

    buf_init(&out, 4096);
    ck_assert_int_eq(
        rpc_encode_error_detail(ERRCODE_QUEUE_FULL, 5000000, STR_LIT("p"), STR_LIT("id"), &out), 0);

    Sluice__V1__ErrorDetail *m =
        sluice__v1__error_detail__unpack(NULL, out.len, (const uint8_t *) buf_ptr(&out));

    ck_assert_ptr_nonnull(m);
    ck_assert_str_eq(m->code, "queue_full");
    ck_assert_uint_eq(m->http_status, 503);
    ck_assert_uint_eq(m->retry_after_usec, 5000000);
    ck_assert_str_eq(m->param, "p");
    ck_assert_str_eq(m->request_id, "id");
    sluice__v1__error_detail__free_unpacked(m, NULL);
    buf_done(&out);
}
END_TEST

START_TEST(encodes_info)
{
    const struct rpc_limits limits = {4194304, 262144, 30000000, 64};
    struct buf out;

    buf_init(&out, 65536);
    ck_assert_int_eq(rpc_encode_info(&limits, &out), 0);

    Sluice__V1__GetInfoResponse *m =
        sluice__v1__get_info_response__unpack(NULL, out.len, (const uint8_t *) buf_ptr(&out));

    ck_assert_ptr_nonnull(m);
    ck_assert_str_eq(m->version, SLUICE_VERSION);
    ck_assert_uint_ge(m->api_level, 1);
    ck_assert_uint_eq(m->limits->frame_bytes, 4194304);
    ck_assert_uint_eq(m->limits->calls_per_connection, 64);
    ck_assert_uint_eq(m->limits->output_high_water_bytes, 262144);
    ck_assert_uint_eq(m->limits->stalled_reader_usec, 30000000);
    ck_assert_uint_eq(m->limits->messages, REQUEST_MAX_MESSAGES);
    ck_assert_uint_eq(m->limits->inputs, REQUEST_MAX_INPUTS);
    ck_assert_uint_ge(m->n_features, 4);
    ck_assert_str_eq(m->features[0], "chat");
    /* FileDescriptorSet.file = 1, FileDescriptorProto.name = 1 */
    ck_assert_uint_gt(m->file_descriptor_set.len, 1000);
    ck_assert_uint_eq(m->file_descriptor_set.data[0], 0x0a);
    ck_assert_ptr_nonnull(
        memmem(m->file_descriptor_set.data, m->file_descriptor_set.len, "sluice.proto", 12));
    sluice__v1__get_info_response__free_unpacked(m, NULL);
    buf_done(&out);
}
END_TEST

START_TEST(encodes_models_status_and_cancel)
{
    const struct rpc_model models[] = {{.name = "a",
                                        .provider = "ollama",
                                        .n_deployments = 2,
                                        .n_available = 1,
                                        .memory_state = "resident",
                                        .need_source = "learned",
                                        .fits = "now",
                                        .upstream_model = "ua",
                                        .api_base = "http://127.0.0.1:1",
                                        .need_bytes = 31,
                                        .file_bytes = 32,
                                        .held_bytes = 33},
                                       {.name = "b", .provider = "mock", .n_deployments = 1}};
    const struct rpc_deployment deployments[] = {{"a",        "d1",
                                                  "ollama",   NULL,
                                                  "um",       "http://127.0.0.1:1",
                                                  2,          1,
                                                  true,       12,
                                                  "0.34.3",   3,
                                                  500,        "a\nlocal_only",
                                                  true,       7,
                                                  "x\ny",     "resident",
                                                  "computed", "now",
                                                  21,         22,
                                                  23},
                                                 {"a",   "d2", "openai", "no key", "", "", 1,     0,
                                                  false, 0,    "",       0,        0,  "", false, 0,
                                                  "",    "",   "",       "",       0,  0,  0}};
    const struct rpc_class classes[] = {{.name = "interactive", .n_queued = 1, .n_running = 2},
                                        {.name = "batch", .oldest_usec = 3}};
    const struct rpc_caller callers[] = {
        {.name = "uid 7", .n_queued = 4, .n_running = 5, .weight = 6, .idle_usec = 8}};
    const struct rpc_status status = {.uptime_usec = 5,
                                      .tokens_in = 14,
                                      .tokens_out = 15,
                                      .pieces_out = 16,
                                      .classes = classes,
                                      .n_classes = 2,
                                      .callers = callers,
                                      .n_callers = 1,
                                      .config_generation = 2,
                                      .pressure_level = 3,
                                      .some_permille = 100,
                                      .full_permille = 50,
                                      .pressure_source = "psi",
                                      .pressure_reason = "calm",
                                      .headroom_bytes = 51,
                                      .memory_bytes = 52,
                                      .is_draining = true,
                                      .n_connections = 4,
                                      .n_queued = 5,
                                      .n_running = 6,
                                      .n_tickets = 7,
                                      .n_completed = 8,
                                      .n_failed = 9,
                                      .n_cancelled = 10,
                                      .n_refused = 11,
                                      .n_reservations = 61,
                                      .reserved_bytes = 62,
                                      .n_loads = 63,
                                      .n_unloads = 64,
                                      .n_loads_stopped = 65,
                                      .n_unloads_stuck = 66,
                                      .n_quarantines = 67,
                                      .n_spilled_level = 68,
                                      .n_spilled_wait = 69,
                                      .n_spilled_room = 70,
                                      .deployments = deployments,
                                      .n_deployments = 2};
    struct buf out;

    buf_init(&out, 4096);
    ck_assert_int_eq(rpc_encode_models(models, 2, &out), 0);

    Sluice__V1__ListModelsResponse *m =
        sluice__v1__list_models_response__unpack(NULL, out.len, (const uint8_t *) buf_ptr(&out));

    ck_assert_uint_eq(m->n_models, 2);
    ck_assert_str_eq(m->models[0]->name, "a");
    ck_assert_uint_eq(m->models[0]->deployments, 2);
    ck_assert_uint_eq(m->models[0]->available_deployments, 1);
    ck_assert_str_eq(m->models[0]->memory_state, "resident");
    ck_assert_str_eq(m->models[0]->need_source, "learned");
    ck_assert_str_eq(m->models[0]->fits, "now");
    ck_assert_str_eq(m->models[0]->upstream_model, "ua");
    ck_assert_str_eq(m->models[0]->api_base, "http://127.0.0.1:1");
    ck_assert_uint_eq(m->models[0]->need_bytes, 31);
    ck_assert_uint_eq(m->models[0]->file_bytes, 32);
    ck_assert_uint_eq(m->models[0]->held_bytes, 33);
    ck_assert_str_eq(m->models[1]->provider, "mock");
    ck_assert_str_eq(m->models[1]->memory_state, "");
    sluice__v1__list_models_response__free_unpacked(m, NULL);

    buf_clear(&out);
    ck_assert_int_eq(rpc_encode_models(NULL, 0, &out), 0);
    ck_assert_uint_eq(out.len, 0);

    ck_assert_int_eq(rpc_encode_status(&status, &out), 0);

    Sluice__V1__StatusResponse *s =
        sluice__v1__status_response__unpack(NULL, out.len, (const uint8_t *) buf_ptr(&out));

    ck_assert_str_eq(s->version, SLUICE_VERSION);
    ck_assert_uint_eq(s->uptime_usec, 5);
    ck_assert_uint_eq(s->config_generation, 2);
    ck_assert_uint_eq(s->pressure_level, 3);
    ck_assert_str_eq(s->pressure_source, "psi");
    ck_assert_uint_eq(s->pressure_some_permille, 100);
    ck_assert_uint_eq(s->pressure_full_permille, 50);
    ck_assert_str_eq(s->pressure_reason, "calm");
    ck_assert_uint_eq(s->headroom_bytes, 51);
    ck_assert_uint_eq(s->memory_bytes, 52);
    ck_assert(s->draining);
    ck_assert_uint_eq(s->connections, 4);
    ck_assert_uint_eq(s->calls_queued, 5);
    ck_assert_uint_eq(s->calls_running, 6);
    ck_assert_uint_eq(s->tickets, 7);
    ck_assert_uint_eq(s->calls_completed, 8);
    ck_assert_uint_eq(s->calls_failed, 9);
    ck_assert_uint_eq(s->calls_cancelled, 10);
    ck_assert_uint_eq(s->calls_refused, 11);
    ck_assert_uint_eq(s->calls_spilled_level, 68);
    ck_assert_uint_eq(s->calls_spilled_wait, 69);
    ck_assert_uint_eq(s->calls_spilled_room, 70);
    ck_assert_uint_eq(s->tokens_in, 14);
    ck_assert_uint_eq(s->tokens_out, 15);
    ck_assert_uint_eq(s->pieces_out, 16);
    ck_assert_uint_eq(s->n_classes, 2);
    ck_assert_str_eq(s->classes[0]->name, "interactive");
    ck_assert_uint_eq(s->classes[0]->calls_queued, 1);
    ck_assert_uint_eq(s->classes[0]->calls_running, 2);
    ck_assert_uint_eq(s->classes[1]->oldest_usec, 3);
    ck_assert_uint_eq(s->n_callers, 1);
    ck_assert_str_eq(s->callers[0]->name, "uid 7");
    ck_assert_uint_eq(s->callers[0]->calls_queued, 4);
    ck_assert_uint_eq(s->callers[0]->calls_running, 5);
    ck_assert_uint_eq(s->callers[0]->weight, 6);
    ck_assert_uint_eq(s->callers[0]->idle_usec, 8);
    ck_assert_uint_eq(s->n_deployments, 2);
    ck_assert(s->deployments[0]->available && !s->deployments[1]->available);
    ck_assert_str_eq(s->deployments[1]->unavailable_reason, "no key");
    ck_assert_uint_eq(s->deployments[0]->slots, 2);
    ck_assert_uint_eq(s->deployments[0]->slots_in_use, 1);
    ck_assert_str_eq(s->deployments[0]->upstream_model, "um");
    ck_assert_str_eq(s->deployments[0]->api_base, "http://127.0.0.1:1");
    ck_assert(s->deployments[0]->loaded && !s->deployments[1]->loaded);
    ck_assert_uint_eq(s->deployments[0]->idle_usec, 12);
    ck_assert_str_eq(s->deployments[0]->server_version, "0.34.3");
    ck_assert_str_eq(s->deployments[1]->server_version, "");
    ck_assert_uint_eq(s->deployments[0]->order, 3);
    ck_assert_uint_eq(s->deployments[0]->weight_permille, 500);
    ck_assert_str_eq(s->deployments[0]->tags, "a\nlocal_only");
    ck_assert(s->deployments[0]->local_only && !s->deployments[1]->local_only);
    ck_assert_uint_eq(s->deployments[0]->paused_usec, 7);
    ck_assert_str_eq(s->deployments[0]->aliases, "x\ny");
    sluice__v1__status_response__free_unpacked(s, NULL);

    buf_clear(&out);
    ck_assert_int_eq(rpc_encode_cancel_response(true, &out), 0);
    ck_assert_str_is(buf_str(&out), "\x08\x01");
    buf_done(&out);
}
END_TEST
static void encode_once(void)
{
    const enum finish_reason reason = FINISH_STOP;
    const struct rpc_timings timings = {0};
    const struct rpc_model model = {.name = "a", .provider = "ollama", .n_deployments = 2};
    const struct rpc_deployment deployment = {"a",  "d1", "ollama", NULL, "um", "", 2,     1,
                                              true, 1,    "",       0,    0,    "", false, 0,
                                              "",   "",   "",       "",   0,    0,  0};
    const struct rpc_status status = {.pressure_source = "",
                                      .pressure_reason = "",
                                      .deployments = &deployment,
                                      .n_deployments = 1};
    const struct event events[] = {
        {.type = EVENT_STARTED, .started = {.model = STR_LIT("tiny"), .deployment = STR_LIT("d1")}},
        {.type = EVENT_TEXT, .text = {0, CHANNEL_ANSWER, STR_LIT("a"), STR_LIT("{}")}},
        {.type = EVENT_TOOL_CALL, .tool_call = {0, 0, STR_LIT("id"), STR_LIT("f"), STR_LIT("{}")}},
        {.type = EVENT_END, .end = {&reason, 1}},
    };
    struct rpc_stream s = {0};
    struct buf out;
    int r;

    buf_init(&out, 65536);
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        uint64_t seq = s.seq;

        r = rpc_encode_event(&s, &events[i], "id", &timings, &out);
        ck_assert(r == 0 || (r == -ENOMEM && s.seq == seq));
    }
    r = rpc_encode_error_detail(ERRCODE_INTERNAL, 0, STR_LIT("p"), STR_LIT("id"), &out);
    ck_assert(r == 0 || r == -ENOMEM);
    r = rpc_encode_models(&model, 1, &out);
    ck_assert(r == 0 || r == -ENOMEM);
    r = rpc_encode_status(&status, &out);
    ck_assert(r == 0 || r == -ENOMEM);
    buf_done(&out);
}

START_TEST(encoding_survives_failed_allocations)
{
    for_each_failed_allocation(encode_once);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, encodes_results);
    tcase_add_test(tc, encodes_a_stream);
    tcase_add_test(tc, each_channel_has_its_number);
    tcase_add_test(tc, done_without_usage_has_none);
    tcase_add_test(tc, failed_is_no_event);
    tcase_add_test(tc, strings_are_mended);
    tcase_add_test(tc, a_full_buffer_takes_nothing);
    tcase_add_test(tc, text_needs_no_allocation);
    tcase_add_test(tc, encodes_error_detail);
    tcase_add_test(tc, encodes_info);
    tcase_add_test(tc, encodes_models_status_and_cancel);
    tcase_add_test(tc, encoding_survives_failed_allocations);
}

TEST_MAIN("rpc_msg_answer", add_tests)
