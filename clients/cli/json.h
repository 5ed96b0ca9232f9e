#pragma once
/* What --json prints. A program that runs out of memory in the middle of a document ends here: half
 * a document helps nobody. */
#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli.h"
#include "term.h"

/* Objects and arrays that are there or the program has ended. */
cJSON *json_object(void);
cJSON *json_array(void);
/* a member; NULL name: an item of an array */
cJSON *json_add_object(cJSON *object, const char *name);
cJSON *json_add_array(cJSON *object, const char *name);
void json_add_text(cJSON *object, const char *name, const char *text);
/* an array of what stands one a line in text */
void json_add_lines(cJSON *object, const char *name, const char *text);
void json_add_number(cJSON *object, const char *name, uint64_t value);
void json_add_bool(cJSON *object, const char *name, bool value);
/* an item, as short as it can be and still be that float */
void json_add_float(cJSON *array, float value);

/* any number, in the shortest form that reads back the same */
void json_add_double(cJSON *object, const char *name, double value);
/* JSON of others as it is, but on one line; null where it is no JSON */
void json_add_json(cJSON *object, const char *name, const char *bytes, size_t n);

/* One line on stdout, flushed; frees value. */
void json_print(cJSON *value);

/* The current event of a call that streams text, other than its failure. carry: what is left of a character that a piece of text cut; one for
 * each call. */
cJSON *json_event(const sluice_call *call, struct term_text *carry);

/* Members usage and timings of a DONE, and all of a FAILED's, into object. */
void json_add_done(cJSON *object, const sluice_call *call);
void json_add_failure(cJSON *object, const sluice_call *call);
