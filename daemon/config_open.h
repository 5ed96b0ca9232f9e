#pragma once
/*
 * A configuration for the daemon: what is wrong with it goes to the log, and the first reason for
 * which it cannot be used to whoever asked.
 */
#include "config/config.h"
#include "wire/problem.h"

/*
 * Reads the file. NULL: it cannot be used; ret_problem->text is then the first reason, with the
 * file, line and column of its place, for people (ret_problem->code is left alone).
 */
struct config *config_open(const char *path, struct problem *ret_problem);
