#pragma once
/*
 * What is logged, as the text that a reader of standard error gets. Owns nothing of the log but its
 * format, which it puts back; not for tests that look at standard error in another way.
 */
#include <stdio.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "support.h"

/* What act leaves on standard error, in JSON; as long as no other act is. */
static inline const char *written(void (*act)(void))
{
    static char text[16384];
    CLEANUP(fd_closep) int saved = dup(STDERR_FILENO);
    CLEANUP(fd_closep) int fd = memory_file("");

    (void) fflush(stderr);
    ck_assert_int_ge(dup2(fd, STDERR_FILENO), 0);
    log_setup(LOG_FORMAT_JSON, LOG_LEVEL_INFO, NULL);
    act();
    log_setup(LOG_FORMAT_TEXT, LOG_LEVEL_INFO, NULL);
    ck_assert_int_ge(dup2(saved, STDERR_FILENO), 0);
    ck_assert_int_ge(fdio_pread_text(fd, text, sizeof text), 0);
    return text;
}
