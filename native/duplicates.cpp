// Bindings of the duplicates kernels: signatures and comparisons that find duplicate texts.
#include "bindings.hpp"

namespace ownlm {

void bind_duplicates(nb::module_&) {}

}  // namespace ownlm
