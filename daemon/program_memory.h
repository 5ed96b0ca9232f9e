#pragma once
/*
 * What of the program's own files is in memory while it serves. Owns nothing; touches no page that
 * may be written.
 */
#include <link.h>
#include <stdbool.h>

/*
 * To be called once, when all is ready to serve.
 *
 * Lets go of what only the start needed of the libraries: tables of symbols and relocations that the
 * dynamic linker read, constructors, the first reading of a configuration, and the neighbours that
 * the kernel mapped with each of them, two thirds of what is resident by then. What is needed again
 * comes back from the page cache or the file.
 *
 * Then keeps what is there, and what comes back, where it is (mlock(2)): when memory runs out the
 * kernel drops program text first, and whoever has to read it back from disk comes too late to end
 * that. Not what is mapped from now on: what malloc has let go could not be given back (madvise(2)).
 * Without the right to (RLIMIT_MEMLOCK, the unit raises it) it goes on as it is.
 */
void program_memory_settle(void);

/*
 * May the pages of this object that nobody may write be dropped? Only those of a library: debuggers
 * have their breakpoints in the program, and the vDSO is not a file. And of none whose text the
 * dynamic linker has relocated (DT_TEXTREL, gABI chapter 5): the file does not have these pages.
 */
bool program_memory_may_drop(const struct dl_phdr_info *object);
