#pragma once
/*
 * What is wrong with something that a peer sent: the verdict of a decoder. Texts are for people and
 * fit a log line.
 */
#include <stdio.h>

#include "proto/errcode.h"

#define PROBLEM_TEXT_MAX  240
#define PROBLEM_PARAM_MAX 64

struct problem {
    enum errcode code;
    char text[PROBLEM_TEXT_MAX];
    char param[PROBLEM_PARAM_MAX]; /* the member that is wrong ("messages[2].role"), or "" */
};
