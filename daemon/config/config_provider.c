/*
 * The prefixes of LiteLLM's model names, one row each. A new OpenAI-compatible vendor is one row
 * here and nothing else.
 *
 * Bases and variables are LiteLLM's own (litellm/litellm_core_utils/get_llm_provider_logic.py and
 * litellm/llms/), so that a file that relies on them goes on working. A row without a base needs
 * api_base or one of its variables.
 */
#include "config/config_provider.h"

#include <stddef.h>
#include <string.h>

#include "base/macros.h"
#include "config/config_keys.h"

#define OLLAMA_BASE "http://localhost:11434"

static const struct config_provider providers[] = {
    /* prefix, provider, base, base variables, key variables, wants /v1, text */
    {"ollama", "ollama", OLLAMA_BASE, "OLLAMA_API_BASE", "", false, ""},
    {"ollama_chat", "ollama", OLLAMA_BASE, "OLLAMA_API_BASE", "", false, ""},

    /* servers of one's own */
    {"hosted_vllm", "openai", NULL, "HOSTED_VLLM_API_BASE", "HOSTED_VLLM_API_KEY", true, ""},
    {"llamafile", "openai", "http://127.0.0.1:8080/v1", "LLAMAFILE_API_BASE", "LLAMAFILE_API_KEY",
     true, ""},
    {"lm_studio", "openai", NULL, "LM_STUDIO_API_BASE", "LM_STUDIO_API_KEY", true, ""},
    {"docker_model_runner", "openai", NULL, "DOCKER_MODEL_RUNNER_API_BASE",
     "DOCKER_MODEL_RUNNER_API_KEY", false, ""},
    {"lemonade", "openai", "http://localhost:8000/api/v1", "LEMONADE_API_BASE", "LEMONADE_API_KEY",
     false, ""},
    {"xinference", "openai", "http://127.0.0.1:9997/v1", "XINFERENCE_API_BASE",
     "XINFERENCE_API_KEY", true, ""},
    {"litellm_proxy", "openai", NULL, "LITELLM_PROXY_API_BASE", "LITELLM_PROXY_API_KEY", false, ""},
    {"custom_openai", "openai", NULL, "", "", false, ""},
    {"openai_like", "openai", NULL, "OPENAI_LIKE_API_BASE", "OPENAI_LIKE_API_KEY", false, ""},

    /* vendors */
    {"openai", "openai", "https://api.openai.com/v1", "OPENAI_BASE_URL OPENAI_API_BASE",
     "OPENAI_API_KEY", false, ""},
    {"text-completion-openai", "openai", "https://api.openai.com/v1",
     "OPENAI_BASE_URL OPENAI_API_BASE", "OPENAI_API_KEY", false,
     "a chat request goes to chat/completions and is not turned into a completion"},
    {"openrouter", "openai", "https://openrouter.ai/api/v1", "OPENROUTER_API_BASE",
     "OPENROUTER_API_KEY OR_API_KEY", false, ""},
    {"groq", "openai", "https://api.groq.com/openai/v1", "GROQ_API_BASE", "GROQ_API_KEY", false,
     ""},
    {"mistral", "openai", "https://api.mistral.ai/v1", "MISTRAL_API_BASE", "MISTRAL_API_KEY", false,
     ""},
    {"codestral", "openai", "https://codestral.mistral.ai/v1", "CODESTRAL_API_BASE",
     "CODESTRAL_API_KEY", false, ""},
    {"deepseek", "openai", "https://api.deepseek.com/beta", "DEEPSEEK_API_BASE", "DEEPSEEK_API_KEY",
     false, ""},
    {"together_ai", "openai", "https://api.together.xyz/v1", "TOGETHER_AI_API_BASE",
     "TOGETHER_API_KEY TOGETHER_AI_API_KEY TOGETHERAI_API_KEY TOGETHER_AI_TOKEN", false, ""},
    {"fireworks_ai", "openai", "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_BASE",
     "FIREWORKS_API_KEY FIREWORKS_AI_API_KEY FIREWORKSAI_API_KEY FIREWORKS_AI_TOKEN", false, ""},
    {"deepinfra", "openai", "https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_BASE",
     "DEEPINFRA_API_KEY", false, ""},
    {"perplexity", "openai", "https://api.perplexity.ai", "PERPLEXITY_API_BASE",
     "PERPLEXITYAI_API_KEY PERPLEXITY_API_KEY", false, ""},
    {"nvidia_nim", "openai", "https://integrate.api.nvidia.com/v1", "NVIDIA_NIM_API_BASE",
     "NVIDIA_NIM_API_KEY", false, ""},
    {"cerebras", "openai", "https://api.cerebras.ai/v1", "CEREBRAS_API_BASE", "CEREBRAS_API_KEY",
     false, ""},
    {"sambanova", "openai", "https://api.sambanova.ai/v1", "SAMBANOVA_API_BASE",
     "SAMBANOVA_API_KEY", false, ""},
    {"xai", "openai", "https://api.x.ai/v1", "XAI_API_BASE", "XAI_API_KEY", false, ""},
    {"meta_llama", "openai", "https://api.llama.com/compat/v1", "LLAMA_API_BASE", "LLAMA_API_KEY",
     false, ""},
    {"moonshot", "openai", "https://api.moonshot.ai/v1", "MOONSHOT_API_BASE", "MOONSHOT_API_KEY",
     false, ""},

    /* known, and not served */
    {"vllm", NULL, NULL, "", "", false,
     "vLLM inside of LiteLLM's process; run it as a server and write hosted_vllm/MODEL with its "
     "api_base"},
    {"anthropic", NULL, NULL, "", "", false,
     "a wire format of its own; its OpenAI-compatible one is openai/MODEL with api_base "
     "https://api.anthropic.com/v1"},
    {"gemini", NULL, NULL, "", "", false,
     "a wire format of its own; its OpenAI-compatible one is openai/MODEL with api_base "
     "https://generativelanguage.googleapis.com/v1beta/openai"},
    {"azure", NULL, NULL, "", "", false,
     "URLs of its own; its OpenAI-compatible ones are openai/DEPLOYMENT with api_base "
     "https://RESOURCE.openai.azure.com/openai/v1"},
    {"azure_ai", NULL, NULL, "", "", false, "URLs and keys of its own"},
    {"vertex_ai", NULL, NULL, "", "", false, "a wire format and a log-in of its own"},
    {"bedrock", NULL, NULL, "", "", false, "a wire format and signatures of its own"},
    {"sagemaker", NULL, NULL, "", "", false, "a wire format and signatures of its own"},
    {"cohere", NULL, NULL, "", "", false, "a wire format of its own"},
    {"cohere_chat", NULL, NULL, "", "", false, "a wire format of its own"},
    {"huggingface", NULL, NULL, "", "", false,
     "a wire format of its own; a TGI server is openai/MODEL with its api_base and /v1"},
    {"replicate", NULL, NULL, "", "", false, "a wire format of its own"},
    {"watsonx", NULL, NULL, "", "", false, "a wire format and a log-in of its own"},
    {"triton", NULL, NULL, "", "", false, "a wire format of its own"},
};

const struct config_provider *config_provider_find(struct str prefix)
{
    for (size_t i = 0; i < ARRAY_LEN(providers); i++) {
        if (str_is(prefix, providers[i].prefix)) {
            return &providers[i];
        }
    }
    return NULL;
}

const struct config_provider *config_provider_next(const struct config_provider *p)
{
    for (p = p ? p + 1 : providers; p < providers + ARRAY_LEN(providers); p++) {
        if (p->provider) {
            return p;
        }
    }
    return NULL;
}

static bool has_digit_at(struct str s, size_t i)
{
    return s.len > i && s.ptr[i] >= '1' && s.ptr[i] <= '9';
}

const struct config_provider *config_provider_of_bare(struct str model)
{
    /*
     * gpt-4o but not gpt-oss or gpt-neox, which anybody may serve: a guess must not send prompts to
     * a vendor
     */
    bool is_gpt = str_has_prefix(model, "gpt-") && has_digit_at(model, strlen("gpt-"));
    /* o1, o3-mini, o4-mini-2025-04-16 */
    bool is_o = str_has_prefix(model, "o") && has_digit_at(model, 1) &&
                (model.len == 2 || model.ptr[2] == '-');

    if (is_gpt || is_o || str_has_prefix(model, "chatgpt-") || str_has_prefix(model, "ft:gpt-") ||
        str_has_prefix(model, "text-embedding-")) {
        return config_provider_find(STR_LIT("openai"));
    }
    return NULL;
}

const char *config_provider_suggest(const char *prefix)
{
    const char *best = NULL;
    size_t best_distance = (size_t) -1;

    for (size_t i = 0; i < ARRAY_LEN(providers); i++) {
        size_t distance = config_keys_distance(prefix, providers[i].prefix);

        if (config_keys_are_near(prefix, providers[i].prefix) && distance < best_distance) {
            best = providers[i].prefix;
            best_distance = distance;
        }
    }
    return best;
}
