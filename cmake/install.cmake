# What `cmake --install` puts where: included by CMakeLists.txt once all targets are there.
#
# Programs, library and documents go below CMAKE_INSTALL_PREFIX as GNUInstallDirs says. The configuration does not: sluiced reads
# /etc/sluice/sluice.yaml, wherever it was installed itself. Units name the installed program by its path, so the prefix is chosen when
# configuring (-DCMAKE_INSTALL_PREFIX=/usr) and not by `cmake --install --prefix`. DESTDIR is honoured everywhere.
#
# tests/install/check_install.py knows the list of files; a new one is added there too.
include(CMakePackageConfigHelpers)

set(SLUICE_UNIT_DIR "" CACHE STRING "system units; empty: what systemd.pc says below this prefix, else PREFIX/lib/systemd/system")
set(SLUICE_USER_UNIT_DIR "" CACHE STRING "user units; empty: as above")
set(SLUICE_SYSUSERS_DIR "" CACHE STRING "sysusers.d; empty: as above")
set(SLUICE_CATALOG_DIR "" CACHE STRING "message catalogue of the journal; empty: as above")
set(SLUICE_POLKIT_DIR "" CACHE STRING "rules of polkit; empty: PREFIX/share/polkit-1/rules.d")
set(SLUICE_ZSH_DIR "" CACHE STRING "zsh completions; empty: where this system's zsh looks")
set(SLUICE_MAN AUTO CACHE STRING "manual pages: ON, OFF, or AUTO (where scdoc is found)")
set_property(CACHE SLUICE_MAN PROPERTY STRINGS AUTO ON OFF)

# sluice_systemd_dir(VARIABLE RESULT WORD FALLBACK): RESULT is the cache variable, or what systemd.pc calls WORD with our prefix for its own.
function(sluice_systemd_dir variable result word fallback)
    set(dir "${${variable}}")
    if(NOT dir)
        # a prefix of its own, such as /usr/local, is searched by systemd below lib/
        if(CMAKE_INSTALL_PREFIX STREQUAL "/usr")
            pkg_get_variable(dir systemd ${word})
        endif()
        if(NOT dir)
            set(dir ${CMAKE_INSTALL_PREFIX}/lib/${fallback})
        endif()
    endif()
    set(${result} ${dir} PARENT_SCOPE)
endfunction()
sluice_systemd_dir(SLUICE_UNIT_DIR unit_dir systemdsystemunitdir systemd/system)
sluice_systemd_dir(SLUICE_USER_UNIT_DIR user_unit_dir systemduserunitdir systemd/user)
sluice_systemd_dir(SLUICE_SYSUSERS_DIR sysusers_dir sysusersdir sysusers.d)
sluice_systemd_dir(SLUICE_CATALOG_DIR catalog_dir catalogdir systemd/catalog)

# ---------------------------------------------------------------- programs and library
install(TARGETS sluiced RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR})
install(TARGETS sluicectl RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS sluice EXPORT sluiceTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES clients/c/sluice.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

configure_file(clients/c/libsluice.pc.in ${CMAKE_BINARY_DIR}/install/libsluice.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/install/libsluice.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig
   )

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/sluice)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/install/sluiceConfigVersion.cmake
    COMPATIBILITY SameMinorVersion)
install(FILES cmake/sluiceConfig.cmake ${CMAKE_BINARY_DIR}/install/sluiceConfigVersion.cmake
    DESTINATION ${package_dir})
install(EXPORT sluiceTargets NAMESPACE sluice:: DESTINATION ${package_dir})

# ---------------------------------------------------------------- systemd
# Type=notify-reload tells `systemctl reload` when the new file is in use; systemd 252 (Debian 12) does not know it and would run a simple
# service instead.
if(SYSTEMD_VERSION VERSION_GREATER_EQUAL 253)
    set(SLUICE_UNIT_TYPE "Type=notify-reload")
else()
    set(SLUICE_UNIT_TYPE "Type=notify\nExecReload=sh -c \"kill -HUP $MAINPID\"") # a system without procps has no kill of its own
endif()
file(GLOB units RELATIVE ${CMAKE_SOURCE_DIR}/systemd CONFIGURE_DEPENDS
    systemd/*.socket systemd/*.service.in systemd/user/*.socket systemd/user/*.service.in)
foreach(unit ${units})
    string(REGEX REPLACE "\\.in$" "" name ${unit})
    configure_file(systemd/${unit} ${CMAKE_BINARY_DIR}/install/systemd/${name} @ONLY)
    if(unit MATCHES "^user/")
        install(FILES ${CMAKE_BINARY_DIR}/install/systemd/${name} DESTINATION ${user_unit_dir})
    else()
        install(FILES ${CMAKE_BINARY_DIR}/install/systemd/${name} DESTINATION ${unit_dir})
    endif()
endforeach()
install(FILES systemd/sluice.sysusers DESTINATION ${sysusers_dir} RENAME sluice.conf)
# polkit of Debian 12 (122) reads /etc and /usr/share only, that of Debian 13 (126) /usr/local/share as well: sluice.yaml(5)
set(polkit_dir ${SLUICE_POLKIT_DIR})
if(NOT polkit_dir)
    set(polkit_dir ${CMAKE_INSTALL_DATADIR}/polkit-1/rules.d)
endif()
install(FILES systemd/sluice.rules DESTINATION ${polkit_dir} RENAME 50-sluice.rules)
if(EXISTS ${CMAKE_SOURCE_DIR}/systemd/sluice.catalog)
    install(FILES systemd/sluice.catalog DESTINATION ${catalog_dir})
endif()

# ---------------------------------------------------------------- configuration
# The commented reference is the default: Ollama on this machine, no keys. An edited one is kept; a package's build (DESTDIR) has none.
install(CODE "
    if(NOT EXISTS \"\$ENV{DESTDIR}/etc/sluice/sluice.yaml\")
        file(INSTALL DESTINATION /etc/sluice TYPE FILE FILES ${CMAKE_SOURCE_DIR}/config/sluice.yaml)
    else()
        message(STATUS \"Kept: /etc/sluice/sluice.yaml\")
    endif()")
install(FILES config/sluice.yaml DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY config/examples/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples/config FILES_MATCHING PATTERN *.yaml)
install(FILES systemd/ollama.service.d/sluice.conf DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples/ollama.service.d)

# ---------------------------------------------------------------- documents
install(FILES LICENSE README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY clients/examples/c/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples/c)

file(GLOB pages CONFIGURE_DEPENDS docs/man/*.scd)
if(SLUICE_MAN AND pages)
    find_program(SCDOC scdoc)
    if(SCDOC)
        foreach(source ${pages})
            get_filename_component(page ${source} NAME_WLE) # sluiced.8.scd: sluiced.8
            string(REGEX REPLACE ".*\\." "" section ${page})
            set(out ${CMAKE_BINARY_DIR}/man/${page})
            add_custom_command(OUTPUT ${out} COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/man
                COMMAND ${SCDOC} <${source} >${out} DEPENDS ${source})
            list(APPEND built_pages ${out})
            install(FILES ${out} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
        endforeach()
        add_custom_target(man ALL DEPENDS ${built_pages})
        # `man sluice_connect` leads to libsluice(3), as that describes every exported function
        file(READ clients/c/libsluice.map symbols)
        string(REGEX MATCHALL "sluice_[a-z0-9_]+" symbols "${symbols}")
        foreach(symbol ${symbols})
            file(WRITE ${CMAKE_BINARY_DIR}/man/${symbol}.3 ".so man3/libsluice.3\n")
            install(FILES ${CMAKE_BINARY_DIR}/man/${symbol}.3 DESTINATION ${CMAKE_INSTALL_MANDIR}/man3)
        endforeach()
    elseif(NOT SLUICE_MAN STREQUAL "AUTO")
        message(FATAL_ERROR "SLUICE_MAN=${SLUICE_MAN}: the manual pages are made by scdoc, which is not here")
    endif()
endif()

# ---------------------------------------------------------------- completions, those that are there
set(completions ${CMAKE_SOURCE_DIR}/clients/cli/completions)
set(zsh_dir ${SLUICE_ZSH_DIR})
if(NOT zsh_dir)
    set(zsh_dir ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
    if(CMAKE_INSTALL_PREFIX STREQUAL "/usr" AND EXISTS /etc/debian_version)
        set(zsh_dir ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions) # Debian's zsh searches site-functions below /usr/local only
    endif()
endif()
if(EXISTS ${completions}/sluicectl.bash)
    install(FILES ${completions}/sluicectl.bash RENAME sluicectl
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
endif()
if(EXISTS ${completions}/_sluicectl)
    install(FILES ${completions}/_sluicectl DESTINATION ${zsh_dir})
endif()
if(EXISTS ${completions}/sluicectl.fish)
    install(FILES ${completions}/sluicectl.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
endif()
