// What the bindings share: Python strings as UTF-8 views, and arrays that own their memory.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdlib>
#include <vector>

#include "encode.hpp"

namespace nb = nanobind;

namespace ownlm {

inline Text utf8(PyObject* text) {
  Py_ssize_t size;
  const char* data = PyUnicode_AsUTF8AndSize(text, &size);  // UnicodeEncodeError on lone surrogates
  if (!data) throw nb::python_error();
  return {reinterpret_cast<const Byte*>(data), static_cast<size_t>(size)};
}

// The strings of a list, kept alive and unchanged (as a tuple) while the lock is released.
struct Texts {
  explicit Texts(nb::list list) : alive(nb::steal<nb::tuple>(PyList_AsTuple(list.ptr()))) {
    for (nb::handle item : alive) texts.push_back(utf8(item.ptr()));
  }
  nb::tuple alive;
  std::vector<Text> texts;
};

template <class T, class... Shape>
auto owned(T* data, Shape... shape) {
  nb::capsule owner(data, [](void* p) noexcept { std::free(p); });
  return nb::ndarray<nb::numpy, T>(data, {static_cast<size_t>(shape)...}, owner);
}

template <class T>
T* allocate(size_t count) {
  T* data = static_cast<T*>(std::malloc(std::max<size_t>(1, count) * sizeof(T)));
  if (!data) throw std::bad_alloc();
  return data;
}

// One function per source file of the module.
void bind_filters(nb::module_& module);
void bind_duplicates(nb::module_& module);
void bind_extract(nb::module_& module);
void bind_language(nb::module_& module);
void bind_contamination(nb::module_& module);

}  // namespace ownlm
