/* libsluice's replies: they are read by field and by row, and what is not there is empty. */
#include "support.h"

#include "libsluice_peer.h"

static struct peer_request g_request;

static sluice_call *ask(struct peer *p, sluice_request *req, const ProtobufCMessage *reply)
{
    static uint8_t bytes[PEER_MAX_BYTES];
    sluice_call *call;
    struct frame_response res = {.payload = {bytes, peer_pack(reply, bytes)}};

    ck_assert_int_eq(sluice_call_start(p->client, req, &call), 0);
    sluice_request_free(req);
    ck_assert(peer_receive(p, &g_request));
    peer_send_response(p, g_request.header.stream_id, &res);
    ck_assert_int_eq(sluice_call_next(call), SLUICE_EVENT_REPLY);
    ck_assert_int_eq(sluice_call_next(call), 0);
    return call;
}

START_TEST(models_are_rows)
{
    char names[2][8] = {"small", "large"}, provider[] = "ollama";
    Sluice__V1__Model models[2], *list[2] = {&models[0], &models[1]};
    Sluice__V1__ListModelsResponse reply;
    sluice_request *req;
    struct peer p;

    peer_open(&p);
    sluice__v1__list_models_response__init(&reply);
    for (size_t i = 0; i < 2; i++) {
        sluice__v1__model__init(&models[i]);
        models[i].name = names[i];
        models[i].deployments = 2;
        models[i].available_deployments = (uint32_t) i;
        models[i].provider = provider;
        models[i].memory_state = models[i].upstream_model = names[i];
        models[i].need_bytes = 7 + i;
    }
    reply.n_models = 2;
    reply.models = list;
    ck_assert_int_eq(sluice_models_new(&req), 0);

    sluice_call *call = ask(&p, req, &reply.base);

    ck_assert_uint_eq(sluice_call_n_rows(call), 2);
    ck_assert_str_eq(sluice_call_row_text(call, 1, SLUICE_FIELD_MODEL), "large");
    ck_assert_str_eq(sluice_call_row_text(call, 0, SLUICE_FIELD_PROVIDER), "ollama");
    ck_assert_uint_eq(sluice_call_row_number(call, 1, SLUICE_FIELD_DEPLOYMENTS), 2);
    ck_assert_uint_eq(sluice_call_row_number(call, 1, SLUICE_FIELD_AVAILABLE_DEPLOYMENTS), 1);
    ck_assert_str_eq(sluice_call_row_text(call, 1, SLUICE_FIELD_MEMORY_STATE), "large");
    ck_assert_str_eq(sluice_call_row_text(call, 1, SLUICE_FIELD_UPSTREAM_MODEL), "large");
    ck_assert_str_eq(sluice_call_row_text(call, 1, SLUICE_FIELD_FITS), "");
    ck_assert_uint_eq(sluice_call_row_number(call, 1, SLUICE_FIELD_NEED_BYTES), 8);
    /* rows and fields that are not there, and of the wrong form */
    ck_assert_str_eq(sluice_call_row_text(call, 2, SLUICE_FIELD_MODEL), "");
    ck_assert_uint_eq(sluice_call_row_number(call, 2, SLUICE_FIELD_DEPLOYMENTS), 0);
    ck_assert_str_eq(sluice_call_row_text(call, 0, SLUICE_FIELD_DEPLOYMENTS), "");
    ck_assert_uint_eq(sluice_call_row_number(call, 0, SLUICE_FIELD_MODEL), 0);
    ck_assert_uint_eq(sluice_call_row_number(call, 0, 4711), 0);
    ck_assert_uint_eq(sluice_call_reply_number(call, SLUICE_FIELD_UPTIME_USEC), 0);
    ck_assert_str_eq(sluice_call_reply_text(call, SLUICE_FIELD_MODEL), "");
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

START_TEST(status_has_fields_and_rows)
{
    char version[] = "9.9.9", source[] = "psi", model[] = "m", id[] = "d", provider[] = "p",
         reason[] = "key", why[] = "calm";
    Sluice__V1__DeploymentStatus deployment, *list[1] = {&deployment};
    Sluice__V1__StatusResponse reply;
    sluice_request *req;
    struct peer p;

    peer_open(&p);
    sluice__v1__status_response__init(&reply);
    sluice__v1__deployment_status__init(&deployment);
    reply.version = version;
    reply.uptime_usec = UINT64_C(1) << 40;
    reply.pressure_level = 3;
    reply.pressure_source = source;
    reply.draining = 1;
    reply.config_generation = 2;
    reply.connections = 4;
    reply.calls_queued = 5;
    reply.calls_running = 6;
    reply.calls_completed = 7;
    reply.calls_failed = 8;
    reply.calls_cancelled = 9;
    reply.calls_refused = 10;
    reply.tickets = 11;
    reply.pressure_some_permille = 12;
    reply.pressure_full_permille = 13;
    reply.pressure_reason = why;
    reply.headroom_bytes = 14;
    reply.memory_bytes = 15;
    reply.n_deployments = 1;
    reply.deployments = list;
    deployment.model = model;
    deployment.id = id;
    deployment.provider = provider;
    deployment.slots = 2;
    deployment.slots_in_use = 1;
    deployment.available = 1;
    deployment.unavailable_reason = reason;
    ck_assert_int_eq(sluice_status_new(&req), 0);

    sluice_call *call = ask(&p, req, &reply.base);
    static const struct {
        int field;
        uint64_t value;
    } numbers[] = {{SLUICE_FIELD_UPTIME_USEC, UINT64_C(1) << 40},
                   {SLUICE_FIELD_PRESSURE_LEVEL, 3},
                   {SLUICE_FIELD_DRAINING, 1},
                   {SLUICE_FIELD_CONFIG_GENERATION, 2},
                   {SLUICE_FIELD_CONNECTIONS, 4},
                   {SLUICE_FIELD_CALLS_QUEUED, 5},
                   {SLUICE_FIELD_CALLS_RUNNING, 6},
                   {SLUICE_FIELD_CALLS_COMPLETED, 7},
                   {SLUICE_FIELD_CALLS_FAILED, 8},
                   {SLUICE_FIELD_CALLS_CANCELLED, 9},
                   {SLUICE_FIELD_CALLS_REFUSED, 10},
                   {SLUICE_FIELD_TICKETS, 11},
                   {SLUICE_FIELD_PRESSURE_SOME_PERMILLE, 12},
                   {SLUICE_FIELD_PRESSURE_FULL_PERMILLE, 13},
                   {SLUICE_FIELD_HEADROOM_BYTES, 14},
                   {SLUICE_FIELD_MEMORY_BYTES, 15},
                   {SLUICE_FIELD_API_LEVEL, 0}};

    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        ck_assert_uint_eq(sluice_call_reply_number(call, numbers[i].field), numbers[i].value);
    }
    ck_assert_str_eq(sluice_call_reply_text(call, SLUICE_FIELD_VERSION), "9.9.9");
    ck_assert_str_eq(sluice_call_reply_text(call, SLUICE_FIELD_PRESSURE_SOURCE), "psi");
    ck_assert_str_eq(sluice_call_reply_text(call, SLUICE_FIELD_PRESSURE_REASON), "calm");
    ck_assert_str_eq(sluice_call_row_text(call, 0, SLUICE_FIELD_MODEL), "m");
    ck_assert_str_eq(sluice_call_row_text(call, 0, SLUICE_FIELD_DEPLOYMENT), "d");
    ck_assert_str_eq(sluice_call_row_text(call, 0, SLUICE_FIELD_PROVIDER), "p");
    ck_assert_str_eq(sluice_call_row_text(call, 0, SLUICE_FIELD_UNAVAILABLE_REASON), "key");
    ck_assert_uint_eq(sluice_call_row_number(call, 0, SLUICE_FIELD_SLOTS), 2);
    ck_assert_uint_eq(sluice_call_row_number(call, 0, SLUICE_FIELD_SLOTS_IN_USE), 1);
    ck_assert_uint_eq(sluice_call_row_number(call, 0, SLUICE_FIELD_AVAILABLE), 1);
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

START_TEST(info_has_limits_features_and_descriptors)
{
    char version[] = "1.2.3", chat[] = "chat", embed[] = "embed", *features[] = {chat, embed};
    uint8_t descriptors[] = {1, 2, 3};
    Sluice__V1__GetInfoResponse reply;
    Sluice__V1__Limits limits;
    sluice_request *req;
    struct peer p;
    size_t n;

    peer_open(&p);
    sluice__v1__get_info_response__init(&reply);
    sluice__v1__limits__init(&limits);
    reply.version = version;
    reply.api_level = 1;
    reply.n_features = 2;
    reply.features = features;
    reply.file_descriptor_set = (ProtobufCBinaryData) {.len = 3, .data = descriptors};
    ck_assert_int_eq(sluice_info_new(&req), 0);

    sluice_call *call = ask(&p, req, &reply.base); /* without limits */

    ck_assert_uint_eq(sluice_call_reply_number(call, SLUICE_FIELD_MAX_CALLS), 0);
    ck_assert_str_eq(sluice_call_reply_text(call, SLUICE_FIELD_VERSION), "1.2.3");
    ck_assert_uint_eq(sluice_call_reply_number(call, SLUICE_FIELD_API_LEVEL), 1);
    ck_assert_uint_eq(sluice_call_n_rows(call), 2);
    ck_assert_str_eq(sluice_call_row_text(call, 1, SLUICE_FIELD_FEATURE), "embed");
    ck_assert_mem_eq(sluice_call_descriptor_set(call, &n), descriptors, 3);
    ck_assert_uint_eq(n, 3);
    sluice_call_free(call);

    reply.limits = &limits;
    limits.frame_bytes = 1;
    limits.calls_per_connection = 2;
    limits.output_high_water_bytes = 3;
    limits.stalled_reader_usec = 4;
    limits.messages = 5;
    limits.inputs = 6;
    ck_assert_int_eq(sluice_info_new(&req), 0);
    call = ask(&p, req, &reply.base);
    ck_assert_uint_eq(sluice_call_reply_number(call, SLUICE_FIELD_MAX_FRAME_BYTES), 1);
    ck_assert_uint_eq(sluice_call_reply_number(call, SLUICE_FIELD_MAX_CALLS), 2);
    ck_assert_uint_eq(sluice_call_reply_number(call, SLUICE_FIELD_HIGH_WATER_BYTES), 3);
    ck_assert_uint_eq(sluice_call_reply_number(call, SLUICE_FIELD_STALLED_READER_USEC), 4);
    ck_assert_uint_eq(sluice_call_reply_number(call, SLUICE_FIELD_MAX_MESSAGES), 5);
    ck_assert_uint_eq(sluice_call_reply_number(call, SLUICE_FIELD_MAX_INPUTS), 6);
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

START_TEST(cancel_by_id_is_a_request_of_its_own)
{
    Sluice__V1__CancelResponse reply;
    sluice_request *req;
    struct peer p;
    size_t n;

    peer_open(&p);
    sluice__v1__cancel_response__init(&reply);
    reply.found = 1;
    ck_assert_int_eq(sluice_cancel_new("some-id", &req), 0);

    sluice_call *call = ask(&p, req, &reply.base);

    ck_assert(peer_is_method(&g_request, "Cancel"));
    ck_assert_uint_eq(sluice_call_reply_number(call, SLUICE_FIELD_FOUND), 1);
    ck_assert_uint_eq(sluice_call_n_rows(call), 0);
    ck_assert_ptr_nonnull(sluice_call_descriptor_set(call, &n));
    ck_assert_uint_eq(n, 0);
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, models_are_rows);
    tcase_add_test(tc, status_has_fields_and_rows);
    tcase_add_test(tc, info_has_limits_features_and_descriptors);
    tcase_add_test(tc, cancel_by_id_is_a_request_of_its_own);
}

TEST_MAIN("libsluice_reply", add_tests)
