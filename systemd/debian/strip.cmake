# What is packaged, before it is. Of programs and shared libraries, which CPack has stripped, goes what says which compiler
# made them; of the static library what the compiler left for itself, and what only a debugger reads.
file(GLOB_RECURSE files LIST_DIRECTORIES false "${CPACK_TEMPORARY_DIRECTORY}/*")
foreach(file ${files})
  if(IS_SYMLINK "${file}")
    continue()
  endif()
  file(READ "${file}" magic LIMIT 4 HEX)
  if(magic STREQUAL "7f454c46")
    execute_process(COMMAND strip --remove-section=.comment --remove-section=.note "${file}" COMMAND_ERROR_IS_FATAL ANY)
  elseif(file MATCHES "\\.a$")
    execute_process(COMMAND strip --strip-debug --remove-section=.comment --remove-section=.note --remove-section=.gnu.lto_*
                            --remove-section=.gnu.debuglto_* --strip-symbol=__gnu_lto_slim --strip-symbol=__gnu_lto_v1
                            --enable-deterministic-archives "${file}" COMMAND_ERROR_IS_FATAL ANY)
  endif()
endforeach()
