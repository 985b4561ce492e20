# What is packaged, before it is: of the static library go what the compiler left for itself and what only a debugger reads.
# CPack strips programs and shared libraries by itself.
file(GLOB_RECURSE archives "${CPACK_TEMPORARY_DIRECTORY}/*.a")
foreach(archive ${archives})
  execute_process(COMMAND strip --strip-debug --remove-section=.comment --remove-section=.note --remove-section=.gnu.lto_*
                          --remove-section=.gnu.debuglto_* --strip-symbol=__gnu_lto_slim --strip-symbol=__gnu_lto_v1
                          --enable-deterministic-archives ${archive} COMMAND_ERROR_IS_FATAL ANY)
endforeach()
