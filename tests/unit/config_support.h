#pragma once
/*
 * What the tests of the configuration share: a file as text in, findings as the lines that people
 * see out.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "support.h"

/* A model_list that is fine, for files about something else. */
#define FINE "model_list: [{model_name: m, litellm_params: {model: ollama/m}}]\n"
/* One deployment with these parameters, the model included; params begins in line 3, column 22. */
#define ONE(params) "model_list:\n- model_name: m\n  litellm_params: {" params "}\n"

/* Variables that providers or the master key would be taken from. */
static inline void clean_environment(void)
{
    static const char *const names[] = {
        "OPENAI_API_KEY",       "OPENAI_BASE_URL", "OPENAI_API_BASE",     "OLLAMA_API_BASE",
        "HOSTED_VLLM_API_BASE", "GROQ_API_KEY",    "LITELLM_MASTER_KEY",  "SLUICE_TEST_A",
        "SLUICE_TEST_B",        "MISTRAL_API_KEY", "HOSTED_VLLM_API_KEY", "LITELLM_ENVIRONMENT",
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        (void) unsetenv(names[i]);
    }
}

static inline struct config *parse(const char *text)
{
    struct config *c = NULL;
    int r = config_parse(str_from(text), &c);

    ck_assert_ptr_nonnull(c);
    ck_assert_int_eq(r, config_is_fatal(c) ? -EBADMSG : 0);
    return c;
}

/* All findings as config_print_findings() writes them for the file "f". Freed by the caller. */
static inline char *print(const struct config *c, bool verbose)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);

    ck_assert_ptr_nonnull(out);
    config_print_findings(c, "f", verbose, out);
    (void) fclose(out);
    return text;
}

/* Does one of the lines of text begin like that? */
static inline bool has_line(const char *text, const char *line)
{
    const char *at = text;

    while (strncmp(at, line, strlen(line)) != 0) {
        at = strchr(at, '\n');
        if (!at) {
            return false;
        }
        at++;
    }
    return true;
}

/*
 * Parses, and expects `line` to be (the beginning of) one of the lines about the file; fatal or not
 * as told.
 */
static inline struct config *expect(const char *yaml, bool is_fatal, const char *line)
{
    struct config *c = parse(yaml);
    char *text = print(c, true);

    ck_assert_msg(has_line(text, line), "%s\nsays:\n%swithout:\n%s", yaml, text, line);
    ck_assert_msg(config_is_fatal(c) == is_fatal, "%s\nis %sfatal:\n%s", yaml,
                  is_fatal ? "not " : "", text);
    free(text);
    return c;
}
