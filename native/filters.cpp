// Bindings of the filters kernels: statistics of a text that quality filters decide on.
#include "bindings.hpp"

namespace ownlm {

void bind_filters(nb::module_&) {}

}  // namespace ownlm
