#pragma once
/*
 * What the neutral request carries as JSON text in OpenAI's words, whoever sent it: tools, the
 * choice among them, the form of the answer. Checked here for HTTP and RPC alike.
 *
 * All take a checked value that is there. 0; -EBADMSG with the problem, its param below the value
 * ("[2].function.name", or ""); -ENOMEM.
 */
#include "core/request.h"
#include "wire/problem.h"

/* OpenAI allows 128; agents with several MCP servers send more to local ones */
#define OPENAI_MAX_TOOLS 1024

/* *ret_is_plain: all of them are functions; other tools only a server of this dialect knows. */
int openai_check_tools(struct request *req, struct str tools, bool *ret_is_plain,
                       struct problem *problem) MUST_USE;
/* The predecessor of tools, and that of tool_choice. */
int openai_check_functions(struct request *req, struct str functions,
                           struct problem *problem) MUST_USE;
int openai_check_function_call(struct request *req, struct str call,
                               struct problem *problem) MUST_USE;
int openai_check_tool_choice(struct request *req, struct str choice,
                             struct problem *problem) MUST_USE;
/* *ret_is_text: it asks for nothing else than text. */
int openai_check_response_format(struct request *req, struct str format, bool *ret_is_text,
                                 struct problem *problem) MUST_USE;
