/* libsluice's requests: what goes out is what was set, and limits hold. */
#include "support.h"

#include <math.h>

#include "libsluice_peer.h"

static struct peer_request g_request;

/* Starts req and returns the envelope's payload as the peer sees it. */
static struct frame_slice send_and_take(struct peer *p, sluice_request *req, const char *method)
{
    sluice_call *call;

    ck_assert_int_eq(sluice_call_start(p->client, req, &call), 0);
    ck_assert(peer_receive(p, &g_request));
    ck_assert(peer_is_method(&g_request, method));
    sluice_request_free(req);
    sluice_call_free(call);
    return g_request.envelope.payload;
}

static Sluice__V1__ChatRequest *take_chat(struct peer *p, sluice_request *req)
{
    struct frame_slice payload = send_and_take(p, req, "Chat");
    Sluice__V1__ChatRequest *msg = sluice__v1__chat_request__unpack(NULL, payload.len, payload.ptr);

    ck_assert_ptr_nonnull(msg);
    return msg;
}

static sluice_request *new_chat(void)
{
    sluice_request *req;

    ck_assert_int_eq(sluice_chat_new("model", &req), 0);
    return req;
}

START_TEST(every_value_of_a_chat_arrives)
{
    static const uint8_t picture[] = {0x89, 'P', 0, 'G'};
    struct peer p;

    peer_open(&p);

    sluice_request *req = new_chat();

    ck_assert_int_eq(sluice_request_add_message(req, SLUICE_ROLE_SYSTEM, "be brief", 8), 0);
    ck_assert_int_eq(sluice_request_add_message(req, SLUICE_ROLE_USER, "what is this", 12), 0);
    ck_assert_int_eq(sluice_request_add_image(req, picture, sizeof(picture), "image/png"), 0);
    ck_assert_int_eq(sluice_request_add_image_url(req, "http://127.0.0.1/x.png"), 0);
    ck_assert_int_eq(sluice_request_set_text(req, SLUICE_TEXT_MESSAGE_NAME, "ann", 3), 0);
    ck_assert_int_eq(sluice_request_add_message(req, SLUICE_ROLE_ASSISTANT, "", 0), 0);
    ck_assert_int_eq(sluice_request_set_text(req, SLUICE_TEXT_MESSAGE_THINKING, "hm", 2), 0);
    ck_assert_int_eq(sluice_request_add_tool_call(req, "c1", "look", "{\"x\":1}", 7), 0);
    ck_assert_int_eq(sluice_request_add_message(req, SLUICE_ROLE_TOOL, "a cat", 5), 0);
    ck_assert_int_eq(sluice_request_set_text(req, SLUICE_TEXT_MESSAGE_TOOL_CALL_ID, "c1", 2), 0);
    ck_assert_int_eq(sluice_request_set_text(req, SLUICE_TEXT_TOOLS_JSON, "[]", 2), 0);
    ck_assert_int_eq(sluice_request_set_text(req, SLUICE_TEXT_TOOL_CHOICE_JSON, "\"auto\"", 6), 0);
    ck_assert_int_eq(sluice_request_set_text(req, SLUICE_TEXT_RESPONSE_FORMAT_JSON, "{}", 2), 0);
    ck_assert_int_eq(sluice_request_set_text(req, SLUICE_TEXT_REASONING_EFFORT, "low", 3), 0);
    ck_assert_int_eq(sluice_request_set_text(req, SLUICE_TEXT_REQUEST_ID, "my.id_1-x", 9), 0);
    ck_assert_int_eq(sluice_request_set_int(req, SLUICE_INT_CLASS, SLUICE_CLASS_BATCH), 0);
    ck_assert_int_eq(sluice_request_set_int(req, SLUICE_INT_DEADLINE_USEC, 5000000), 0);

    Sluice__V1__ChatRequest *msg = take_chat(&p, req);

    ck_assert_str_eq(msg->model, "model");
    ck_assert_uint_eq(msg->n_messages, 4);
    ck_assert_int_eq(msg->messages[0]->role, SLUICE__V1__ROLE__ROLE_SYSTEM);
    ck_assert_str_eq(msg->messages[0]->text, "be brief");
    ck_assert_uint_eq(msg->messages[1]->n_images, 2);
    ck_assert_uint_eq(msg->messages[1]->images[0]->content.len, sizeof(picture));
    ck_assert_mem_eq(msg->messages[1]->images[0]->content.data, picture, sizeof(picture));
    ck_assert_str_eq(msg->messages[1]->images[0]->media_type, "image/png");
    ck_assert_str_eq(msg->messages[1]->images[1]->url, "http://127.0.0.1/x.png");
    ck_assert_str_eq(msg->messages[1]->name, "ann");
    ck_assert_str_eq(msg->messages[2]->thinking, "hm");
    ck_assert_str_eq(msg->messages[2]->tool_calls[0]->id, "c1");
    ck_assert_str_eq(msg->messages[2]->tool_calls[0]->name, "look");
    ck_assert_str_eq(msg->messages[2]->tool_calls[0]->arguments_json, "{\"x\":1}");
    ck_assert_str_eq(msg->messages[3]->tool_call_id, "c1");
    ck_assert_str_eq(msg->tools_json, "[]");
    ck_assert_str_eq(msg->tool_choice_json, "\"auto\"");
    ck_assert_str_eq(msg->response_format_json, "{}");
    ck_assert_str_eq(msg->reasoning_effort, "low");
    ck_assert_str_eq(msg->options->request_id, "my.id_1-x");
    ck_assert_int_eq(msg->options->class_, SLUICE__V1__CLASS__CLASS_BATCH);
    ck_assert_uint_eq(msg->options->deadline_usec, 5000000);
    sluice__v1__chat_request__free_unpacked(msg, NULL);
    peer_close(&p);
}
END_TEST

START_TEST(every_sampling_value_arrives)
{
    struct peer p;

    peer_open(&p);

    sluice_request *req = new_chat();

    ck_assert_int_eq(sluice_request_add_message(req, SLUICE_ROLE_USER, "x", 1), 0);
    ck_assert_int_eq(sluice_request_set_double(req, SLUICE_DOUBLE_TEMPERATURE, 0), 0);
    ck_assert_int_eq(sluice_request_set_double(req, SLUICE_DOUBLE_TOP_P, 0.5), 0);
    ck_assert_int_eq(sluice_request_set_double(req, SLUICE_DOUBLE_MIN_P, 0.25), 0);
    ck_assert_int_eq(sluice_request_set_double(req, SLUICE_DOUBLE_FREQUENCY_PENALTY, -1), 0);
    ck_assert_int_eq(sluice_request_set_double(req, SLUICE_DOUBLE_PRESENCE_PENALTY, 2), 0);
    ck_assert_int_eq(sluice_request_set_int(req, SLUICE_INT_SEED, -7), 0);
    ck_assert_int_eq(sluice_request_set_int(req, SLUICE_INT_TOP_K, 0), 0);
    ck_assert_int_eq(sluice_request_set_int(req, SLUICE_INT_MAX_TOKENS, 99), 0);
    ck_assert_int_eq(sluice_request_set_int(req, SLUICE_INT_LOGPROBS, 1), 0);
    ck_assert_int_eq(sluice_request_set_int(req, SLUICE_INT_TOP_LOGPROBS, 5), 0);
    ck_assert_int_eq(sluice_request_add_stop(req, "###", 3), 0);
    ck_assert_int_eq(sluice_request_add_stop(req, "\n", 1), 0);
    ck_assert_int_eq(sluice_request_set_text(req, SLUICE_TEXT_EXTRA_JSON, "{\"a\":1}", 7), 0);

    Sluice__V1__ChatRequest *msg = take_chat(&p, req);
    const Sluice__V1__Sampling *s = msg->sampling;

    /* zero is a value, not "not set" */
    ck_assert_int_eq(s->temperature_opt_case, SLUICE__V1__SAMPLING__TEMPERATURE_OPT_TEMPERATURE);
    ck_assert_int_eq(s->top_k_opt_case, SLUICE__V1__SAMPLING__TOP_K_OPT_TOP_K);
    ck_assert(s->temperature == 0 && s->top_p == 0.5 && s->min_p == 0.25);
    ck_assert(s->frequency_penalty == -1 && s->presence_penalty == 2);
    ck_assert_int_eq(s->seed, -7);
    ck_assert_uint_eq(s->max_tokens, 99);
    ck_assert(s->logprobs);
    ck_assert_uint_eq(s->top_logprobs, 5);
    ck_assert_uint_eq(s->n_stop, 2);
    ck_assert_str_eq(s->stop[1], "\n");
    ck_assert_str_eq(s->extra_json, "{\"a\":1}");
    sluice__v1__chat_request__free_unpacked(msg, NULL);
    peer_close(&p);
}
END_TEST

START_TEST(complete_and_embed_arrive)
{
    struct peer p;
    sluice_request *req;
    struct frame_slice payload;

    peer_open(&p);
    ck_assert_int_eq(sluice_complete_new("c", "once upon", 9, &req), 0);
    ck_assert_int_eq(sluice_request_set_text(req, SLUICE_TEXT_SUFFIX, "end", 3), 0);
    payload = send_and_take(&p, req, "Complete");

    Sluice__V1__CompleteRequest *complete =
        sluice__v1__complete_request__unpack(NULL, payload.len, payload.ptr);

    ck_assert_ptr_nonnull(complete);
    ck_assert_str_eq(complete->prompt, "once upon");
    ck_assert_str_eq(complete->suffix, "end");
    sluice__v1__complete_request__free_unpacked(complete, NULL);
    ck_assert(peer_receive(&p, &g_request) && peer_is_method(&g_request, "Cancel"));

    ck_assert_int_eq(sluice_embed_new("e", &req), 0);
    ck_assert_int_eq(sluice_request_add_input(req, "one", 3), 0);
    ck_assert_int_eq(sluice_request_add_input(req, "", 0), 0);
    ck_assert_int_eq(sluice_request_set_int(req, SLUICE_INT_DIMENSIONS, 64), 0);
    payload = send_and_take(&p, req, "Embed");

    Sluice__V1__EmbedRequest *embed =
        sluice__v1__embed_request__unpack(NULL, payload.len, payload.ptr);

    ck_assert_ptr_nonnull(embed);
    ck_assert_uint_eq(embed->n_inputs, 2);
    ck_assert_str_eq(embed->inputs[1], "");
    ck_assert_uint_eq(embed->dimensions, 64);
    sluice__v1__embed_request__free_unpacked(embed, NULL);
    peer_close(&p);
}
END_TEST

START_TEST(rerank_and_classify_arrive)
{
    struct peer p;
    sluice_request *req;
    sluice_call *call;
    struct frame_slice payload;

    peer_open(&p);
    ck_assert_int_eq(sluice_rerank_new("r", "what", 4, &req), 0);
    ck_assert_int_eq(sluice_call_start(p.client, req, &call), -EINVAL); /* no documents */
    ck_assert_int_eq(sluice_request_add_input(req, "one", 3), 0);
    ck_assert_int_eq(sluice_request_add_input(req, "two", 3), 0);
    ck_assert_int_eq(sluice_request_set_int(req, SLUICE_INT_TOP_N, 1), 0);
    ck_assert_int_eq(sluice_request_set_int(req, SLUICE_INT_TOP_N, -1), -EINVAL);
    ck_assert_int_eq(sluice_request_set_int(req, SLUICE_INT_CLASS, SLUICE_CLASS_BATCH), 0);
    ck_assert_int_eq(sluice_request_set_text(req, SLUICE_TEXT_EXTRA_JSON, "{}", 2), 0);
    ck_assert_int_eq(sluice_request_set_int(req, SLUICE_INT_DIMENSIONS, 1), -EINVAL);
    payload = send_and_take(&p, req, "Rerank");

    Sluice__V1__RerankRequest *rerank =
        sluice__v1__rerank_request__unpack(NULL, payload.len, payload.ptr);

    ck_assert_ptr_nonnull(rerank);
    ck_assert_str_eq(rerank->query, "what");
    ck_assert_uint_eq(rerank->n_documents, 2);
    ck_assert_str_eq(rerank->documents[1], "two");
    ck_assert_uint_eq(rerank->top_n, 1);
    ck_assert_str_eq(rerank->extra_json, "{}");
    ck_assert_int_eq(rerank->options->class_, SLUICE__V1__CLASS__CLASS_BATCH);
    sluice__v1__rerank_request__free_unpacked(rerank, NULL);
    ck_assert(peer_receive(&p, &g_request) && peer_is_method(&g_request, "Cancel"));

    ck_assert_int_eq(sluice_classify_new("c", &req), 0);
    ck_assert_int_eq(sluice_call_start(p.client, req, &call), -EINVAL);
    ck_assert_int_eq(sluice_request_add_input(req, "one", 3), 0);
    ck_assert_int_eq(sluice_request_set_int(req, SLUICE_INT_TOP_N, 1), -EINVAL);
    ck_assert_int_eq(sluice_request_set_text(req, SLUICE_TEXT_EXTRA_JSON, "{}", 2), 0);
    payload = send_and_take(&p, req, "Classify");

    Sluice__V1__ClassifyRequest *classify =
        sluice__v1__classify_request__unpack(NULL, payload.len, payload.ptr);

    ck_assert_ptr_nonnull(classify);
    ck_assert_uint_eq(classify->n_inputs, 1);
    ck_assert_str_eq(classify->extra_json, "{}");
    sluice__v1__classify_request__free_unpacked(classify, NULL);
    ck_assert_int_eq(sluice_rerank_new("r", "a\0b", 3, &req), -EILSEQ);
    peer_close(&p);
}
END_TEST

START_TEST(a_request_may_be_started_again_and_changed)
{
    struct peer p;
    sluice_call *calls[2];

    peer_open(&p);

    sluice_request *req = new_chat();

    ck_assert_int_eq(sluice_request_add_message(req, SLUICE_ROLE_USER, "1", 1), 0);
    ck_assert_int_eq(sluice_request_set_text(req, SLUICE_TEXT_REASONING_EFFORT, "high", 4), 0);
    ck_assert_int_eq(sluice_call_start(p.client, req, &calls[0]), 0);
    ck_assert_int_eq(sluice_request_add_message(req, SLUICE_ROLE_USER, "2", 1), 0);
    ck_assert_int_eq(sluice_request_set_text(req, SLUICE_TEXT_REASONING_EFFORT, NULL, 0), 0);
    ck_assert_int_eq(sluice_call_start(p.client, req, &calls[1]), 0);
    ck_assert_str_ne(sluice_call_request_id(calls[0]), sluice_call_request_id(calls[1]));
    sluice_request_free(req);

    for (size_t i = 0; i < 2; i++) {
        ck_assert(peer_receive(&p, &g_request));

        struct frame_slice payload = g_request.envelope.payload;
        Sluice__V1__ChatRequest *msg =
            sluice__v1__chat_request__unpack(NULL, payload.len, payload.ptr);

        ck_assert_ptr_nonnull(msg);
        ck_assert_uint_eq(msg->n_messages, i + 1);
        ck_assert_str_eq(msg->reasoning_effort, i == 0 ? "high" : "");
        sluice__v1__chat_request__free_unpacked(msg, NULL);
        sluice_call_free(calls[i]);
    }
    peer_close(&p);
}
END_TEST

START_TEST(what_does_not_fit_the_kind_is_refused)
{
    sluice_request *models, *embed;
    sluice_request *chat = new_chat();
    struct peer p;
    sluice_call *call;

    peer_open(&p);
    ck_assert_int_eq(sluice_models_new(&models), 0);
    ck_assert_int_eq(sluice_embed_new("e", &embed), 0);
    ck_assert_int_eq(sluice_request_add_message(models, SLUICE_ROLE_USER, "x", 1), -EINVAL);
    ck_assert_int_eq(sluice_request_add_message(chat, 0, "x", 1), -EINVAL);
    ck_assert_int_eq(sluice_request_add_message(chat, 5, "x", 1), -EINVAL);
    ck_assert_int_eq(sluice_request_add_image(chat, "x", 1, NULL), -EINVAL); /* no message yet */
    ck_assert_int_eq(sluice_request_add_image_url(chat, "u"), -EINVAL);
    ck_assert_int_eq(sluice_request_set_text(chat, SLUICE_TEXT_MESSAGE_NAME, "n", 1), -EINVAL);
    ck_assert_int_eq(sluice_request_add_tool_call(chat, "i", "n", "{}", 2), -EINVAL);
    ck_assert_int_eq(sluice_request_add_input(chat, "x", 1), -EINVAL);
    ck_assert_int_eq(sluice_request_add_stop(embed, "x", 1), -EINVAL);
    ck_assert_int_eq(sluice_request_add_stop(chat, "", 0), -EINVAL);
    ck_assert_int_eq(sluice_request_set_text(embed, SLUICE_TEXT_SUFFIX, "x", 1), -EINVAL);
    ck_assert_int_eq(sluice_request_set_text(models, SLUICE_TEXT_REQUEST_ID, "x", 1), -EINVAL);
    ck_assert_int_eq(sluice_request_set_text(chat, 0, "x", 1), -EINVAL);
    ck_assert_int_eq(sluice_request_set_text(chat, 4711, "x", 1), -EINVAL);
    ck_assert_int_eq(sluice_request_set_double(embed, SLUICE_DOUBLE_TOP_P, 1), -EINVAL);
    ck_assert_int_eq(sluice_request_set_double(chat, SLUICE_DOUBLE_TOP_P, (double) NAN), -EINVAL);
    ck_assert_int_eq(sluice_request_set_double(chat, 0, 1), -EINVAL);
    ck_assert_int_eq(sluice_request_set_int(chat, SLUICE_INT_DIMENSIONS, 1), -EINVAL);
    ck_assert_int_eq(sluice_request_set_int(embed, SLUICE_INT_SEED, 1), -EINVAL);
    ck_assert_int_eq(sluice_request_set_int(chat, 0, 1), -EINVAL);
    ck_assert_int_eq(sluice_request_set_int(chat, 99, 1), -EINVAL);
    ck_assert_int_eq(sluice_request_set_int(chat, SLUICE_INT_CLASS, 0), -EINVAL);
    ck_assert_int_eq(sluice_request_set_int(chat, SLUICE_INT_CLASS, 4), -EINVAL);
    ck_assert_int_eq(sluice_request_set_int(chat, SLUICE_INT_MAX_TOKENS, -1), -EINVAL);
    ck_assert_int_eq(sluice_request_set_int(chat, SLUICE_INT_MAX_TOKENS, (int64_t) UINT32_MAX + 1),
                     -EINVAL);
    ck_assert_int_eq(sluice_request_set_int(chat, SLUICE_INT_TOP_LOGPROBS, 21), -EINVAL);
    ck_assert_int_eq(sluice_call_start(p.client, chat, &call), -EINVAL); /* no message */
    ck_assert_int_eq(sluice_call_start(p.client, embed, &call), -EINVAL);
    sluice_request_free(models);
    sluice_request_free(embed);
    sluice_request_free(chat);
    peer_close(&p);
}
END_TEST

START_TEST(texts_hold_no_nul_and_ids_are_clean)
{
    sluice_request *req = new_chat(), *other = NULL;
    static const char *const bad_ids[] = {"sp ace", "sl/ash", "uml\xc3\xa4ut", "new\nline"};
    char long_id[66];

    ck_assert_int_eq(sluice_request_add_message(req, SLUICE_ROLE_USER, "a\0b", 3), -EILSEQ);
    ck_assert_int_eq(sluice_request_set_text(req, SLUICE_TEXT_TOOLS_JSON, "[\0]", 3), -EILSEQ);
    ck_assert_int_eq(sluice_complete_new("m", "\0", 1, &other), -EILSEQ);
    for (size_t i = 0; i < ARRAY_LEN(bad_ids); i++) {
        ck_assert_int_eq(
            sluice_request_set_text(req, SLUICE_TEXT_REQUEST_ID, bad_ids[i], strlen(bad_ids[i])),
            -EINVAL);
        ck_assert_int_eq(sluice_cancel_new(bad_ids[i], &other), -EINVAL);
    }
    memset(long_id, 'x', sizeof(long_id));
    ck_assert_int_eq(sluice_request_set_text(req, SLUICE_TEXT_REQUEST_ID, long_id, 64), 0);
    ck_assert_int_eq(sluice_request_set_text(req, SLUICE_TEXT_REQUEST_ID, long_id, 65), -EINVAL);
    ck_assert_int_eq(sluice_request_set_text(req, SLUICE_TEXT_REQUEST_ID, "a\0b", 3), -EINVAL);
    ck_assert_int_eq(sluice_request_set_text(req, SLUICE_TEXT_REQUEST_ID, NULL, 0), 0);
    ck_assert_int_eq(sluice_cancel_new("", &other), -EINVAL);
    ck_assert_ptr_null(other);
    sluice_request_free(req);
}
END_TEST

START_TEST(requests_do_not_outgrow_a_frame)
{
    static char text[1 << 20];
    sluice_request *req = new_chat(), *other = NULL;
    struct peer p;
    sluice_call *call;
    int n = 0;

    memset(text, 'x', sizeof(text));
    peer_open(&p);
    while (sluice_request_add_message(req, SLUICE_ROLE_USER, text, 100000) == 0) {
        ck_assert_int_lt(n++, 100);
    }
    ck_assert_int_eq(n, 41);
    ck_assert_int_eq(sluice_request_add_message(req, SLUICE_ROLE_USER, text, 100000), -EMSGSIZE);
    ck_assert_int_eq(sluice_request_add_image(req, text, sizeof(text), NULL), -EMSGSIZE);
    ck_assert_int_eq(sluice_request_set_text(req, SLUICE_TEXT_TOOLS_JSON, text, sizeof(text)),
                     -EMSGSIZE);
    ck_assert_int_eq(sluice_request_set_text(req, SLUICE_TEXT_TOOLS_JSON, text, 1000), 0);
    ck_assert_int_eq(sluice_call_start(p.client, req, &call), 0);
    sluice_call_free(call);
    sluice_request_free(req);
    ck_assert_int_eq(sluice_complete_new("m", text, SIZE_MAX, &other), -EMSGSIZE);
    ck_assert_ptr_null(other);

    ck_assert_int_eq(sluice_embed_new("e", &req), 0);
    for (n = 0; sluice_request_add_input(req, "x", 1) == 0; n++) {
    }
    ck_assert_int_eq(n, 2048);
    ck_assert_int_eq(sluice_request_add_input(req, "x", 1), -E2BIG);
    sluice_request_free(req);
    req = new_chat();
    for (n = 0; sluice_request_add_stop(req, "x", 1) == 0; n++) {
    }
    ck_assert_int_eq(n, 16);
    for (n = 0; sluice_request_add_message(req, SLUICE_ROLE_USER, "x", 1) == 0; n++) {
    }
    ck_assert_int_eq(n, 4096);
    sluice_request_free(req);
    peer_close(&p);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, every_value_of_a_chat_arrives);
    tcase_add_test(tc, every_sampling_value_arrives);
    tcase_add_test(tc, complete_and_embed_arrive);
    tcase_add_test(tc, rerank_and_classify_arrive);
    tcase_add_test(tc, a_request_may_be_started_again_and_changed);
    tcase_add_test(tc, what_does_not_fit_the_kind_is_refused);
    tcase_add_test(tc, texts_hold_no_nul_and_ids_are_clean);
    tcase_add_test(tc, requests_do_not_outgrow_a_frame);
}

TEST_MAIN("libsluice_request", add_tests)
