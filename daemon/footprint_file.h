#pragma once
/*
 * Where learned footprints are kept between two lives of the daemon: one small file in the state
 * directory that the service manager names ($STATE_DIRECTORY); without one they are forgotten.
 */
#include "core/footprint.h"

#define FOOTPRINT_FILE "footprints"

/*
 * Reads it. A file that is missing says nothing; one that is damaged is left out, with a message.
 * Never fails: fs is usable.
 */
void footprint_file_read(struct footprints *fs);

/* Writes it, when something has changed, by way of another file and a rename. Trouble is told once. */
void footprint_file_write(struct footprints *fs);
