// The border to JavaScript: arguments become pointers only after their lengths were checked, so that no wrong call can
// read or write outside an array. A file that adds functions has `void registerX(Napi::Env, Napi::Object exports)`,
// listed in addon.cpp; its functions begin with arguments(info) and engineOf.
#pragma once
#define NAPI_VERSION 8
#define NAPI_CPP_EXCEPTIONS 1
#include <napi.h>

#include <cmath>
#include <string>

#include "engine.h"

namespace bitlaw {

/** Reads the arguments of one call in order; each error names the argument. */
class Arguments {
 public:
  explicit Arguments(const Napi::CallbackInfo& info) : info_(info) {}

  Engine& engine() { return *next().As<Napi::External<Engine>>().Data(); }
  bool absent() { return info_[at_].IsNull() || info_[at_].IsUndefined() ? (at_++, true) : false; }
  double number(const char* name) {
    Napi::Value value = next();
    if (!value.IsNumber()) fail(name, "a number");
    return value.As<Napi::Number>().DoubleValue();
  }
  size_t count(const char* name) {
    double value = number(name);
    if (!(value >= 0 && value <= 9007199254740991.0 && value == std::floor(value))) fail(name, "a count");
    return static_cast<size_t>(value);
  }
  bool flag() { return next().ToBoolean().Value(); }
  std::string text(const char* name) {
    Napi::Value value = next();
    if (!value.IsString()) fail(name, "a string");
    return value.As<Napi::String>().Utf8Value();
  }
  /** A Float32Array of at least `length`. */
  float* floats(const char* name, size_t length) { return typed<float>(next(), name, length, napi_float32_array, "Float32Array"); }
  float* floatsOrNull(const char* name, size_t length) { return absent() ? nullptr : floats(name, length); }
  double* doublesOrNull(const char* name, size_t length) {
    return absent() ? nullptr : typed<double>(next(), name, length, napi_float64_array, "Float64Array");
  }
  int32_t* ints(const char* name, size_t length) { return typed<int32_t>(next(), name, length, napi_int32_array, "Int32Array"); }
  uint8_t* bytes(const char* name, size_t length) { return typed<uint8_t>(next(), name, length, napi_uint8_array, "Uint8Array"); }
  int8_t* signedBytes(const char* name, size_t length) { return typed<int8_t>(next(), name, length, napi_int8_array, "Int8Array"); }
  uint16_t* halves(const char* name, size_t length) { return typed<uint16_t>(next(), name, length, napi_uint16_array, "Uint16Array"); }
  /** A matrix: Float32Array, or Uint16Array of bf16 bits. */
  Source matrix(const char* name, size_t rows, size_t columns) { return matrix(next(), name, rows, columns); }
  Source matrix(Napi::Value value, const char* name, size_t rows, size_t columns) {
    bool half = value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == napi_uint16_array;
    const void* data = half ? static_cast<const void*>(typed<uint16_t>(value, name, rows * columns, napi_uint16_array, "Uint16Array"))
                            : typed<float>(value, name, rows * columns, napi_float32_array, "Float32Array or Uint16Array");
    return Source{data, half, columns, rows, columns};
  }
  float* floats(Napi::Value value, const char* name, size_t length) {
    return typed<float>(value, name, length, napi_float32_array, "Float32Array");
  }
  int32_t* ints(Napi::Value value, const char* name, size_t length) {
    return typed<int32_t>(value, name, length, napi_int32_array, "Int32Array");
  }
  Napi::Array list(const char* name) {
    Napi::Value value = next();
    if (!value.IsArray()) fail(name, "an array");
    return value.As<Napi::Array>();
  }
  [[noreturn]] void fail(const std::string& name, const std::string& expected) {
    throw Napi::TypeError::New(info_.Env(), name + " must be " + expected);
  }
  Napi::Value next() { return info_[at_++]; }

 private:
  template <class T>
  T* typed(Napi::Value value, const char* name, size_t length, napi_typedarray_type type, const char* expected) {
    if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type) fail(name, std::string("a ") + expected);
    Napi::TypedArray array = value.As<Napi::TypedArray>();
    if (array.ElementLength() < length)
      fail(name, "of length " + std::to_string(length) + " or more, but has " + std::to_string(array.ElementLength()));
    return reinterpret_cast<T*>(static_cast<uint8_t*>(array.ArrayBuffer().Data()) + array.ByteOffset());
  }

  const Napi::CallbackInfo& info_;
  size_t at_ = 0;
};

}  // namespace bitlaw
