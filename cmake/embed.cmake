# cmake -DIN=file -DOUT=file.c -P embed.cmake: the bytes of IN as a C array (the FileDescriptorSet that GetInfo returns).
file(READ ${IN} hex HEX)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
file(WRITE ${OUT} "#include <stddef.h>\n#include \"sluice_fds.h\"\n"
    "const unsigned char sluice_fds[] = {${bytes}};\nconst size_t sluice_fds_bytes = sizeof sluice_fds;\n")
get_filename_component(dir ${OUT} DIRECTORY)
file(WRITE ${dir}/sluice_fds.h "#pragma once\n#include <stddef.h>\n"
    "extern const unsigned char sluice_fds[];\nextern const size_t sluice_fds_bytes;\n")
