# find_package(sluice) gives sluice::client, the C library.
include(${CMAKE_CURRENT_LIST_DIR}/sluiceTargets.cmake)
