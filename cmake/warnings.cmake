# Warnings and sanitizers, the same for every target.
add_compile_options(-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2
                    -Wno-missing-field-initializers)
if(PMAP_WERROR)
  add_compile_options(-Werror)
endif()
if(PMAP_SANITIZE)
  add_compile_options(-fsanitize=${PMAP_SANITIZE} -fno-omit-frame-pointer -g)
  add_link_options(-fsanitize=${PMAP_SANITIZE})
elseif(CMAKE_BUILD_TYPE STREQUAL "Release")
  add_compile_options(-D_FORTIFY_SOURCE=2 -fstack-protector-strong)
  add_link_options(-Wl,-z,relro,-z,now)
endif()
